"""Pictures of every kind, and any number of labels, through training's own reading."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from antbee.ahead import open_pool
from antbee.images import IMAGENET, to_array
from antbee.training.batches import val_batches
from antbee.training.check import check_pictures
from tests.conftest import encode, noise
from tests.training.conftest import make_data, random_start
from tests.training.folders import fill
from train import main

SEEN = noise(40, 30)
"""What a person sees of all the pictures that can be seen."""

quick = pytest.mark.usefixtures("tiny", "no_report")


def rotated() -> bytes:
    """Store it on its side, as a camera does that was held upright."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return encode(SEEN.transpose(Image.Transpose.ROTATE_90), "PNG", exif=exif)


def transparent() -> bytes:
    """Store it with the page showing through where it is white."""
    alpha = Image.new("L", SEEN.size, 255)
    alpha.paste(0, (0, 0, 10, 10))
    picture = SEEN.copy()
    picture.putalpha(alpha)
    return encode(picture, "PNG")


def on_white() -> Image.Image:
    """Return what a person sees of the transparent one."""
    page = SEEN.copy()
    page.paste((255, 255, 255), (0, 0, 10, 10))
    return page


def deep() -> bytes:
    """Store its grey shades in 16 bits each."""
    grey = np.asarray(SEEN.convert("L")).astype(np.uint16) * 257
    return encode(Image.fromarray(grey), "PNG")


def animated(format_: str) -> bytes:
    """Store it as the first of two frames."""
    frames = [Image.new("RGB", SEEN.size, "red")]
    return encode(SEEN, format_, save_all=True, append_images=frames, lossless=True)


@pytest.mark.parametrize(
    ("make", "seen"),
    [
        (rotated, SEEN),
        (transparent, on_white()),
        (deep, SEEN.convert("L").convert("RGB")),
        (lambda: animated("PNG"), SEEN),
        (lambda: animated("WEBP"), SEEN),
    ],
    ids=["rotated", "transparent", "16-bit", "animated PNG", "animated WebP"],
)
def test_a_picture_is_what_a_person_sees(
    tmp_path: Path, make: Callable[[], bytes], seen: Image.Image
) -> None:
    """Whatever it is stored as, the network is shown what a person would be."""
    data = fill(tmp_path, {"train/a": 1, "train/b": 1, "val/b": 1})
    (data / "val/a").mkdir()
    (data / "val/a/odd").write_bytes(make())

    pictures = check_pictures(data)
    with open_pool() as pool:
        ((pixels, _),) = val_batches(pool, pictures.val[:1], [[0]], IMAGENET)

    assert pictures.sizes[2] == seen.size
    assert np.array_equal(to_array(seen), pixels[0].numpy())


def odd_pictures() -> dict[str, bytes]:
    """Make pictures that can be read, for all that is odd in them."""
    return {
        "1x1.png": encode(noise(1, 1), "PNG"),
        "thin.png": encode(noise(1, 3000), "PNG"),
        "flat.bmp": encode(noise(3000, 1), "BMP"),
        "rotated.png": rotated(),
        "transparent.png": transparent(),
        "deep.png": deep(),
        "cmyk.jpg": encode(SEEN.convert("CMYK")),
        "animated.gif": encode(
            SEEN, "GIF", save_all=True, append_images=[Image.new("RGB", SEEN.size)]
        ),
        "animated.webp": animated("WEBP"),
        "animated.png": animated("PNG"),
        "without an ending": encode(SEEN),
        "wrong.png": encode(noise(50, 40)),
    }


def bad_pictures() -> dict[str, tuple[bytes, str]]:
    """Make files that are left out, and say why they are."""
    whole = encode(noise(200, 150))
    huge = encode(Image.new("RGB", (64, 64)), "BMP").replace(
        struct.pack("<II", 64, 64), struct.pack("<II", 60_000, 60_000)
    )
    return {
        "cut.jpg": (whole[: len(whole) // 2], "the picture is broken or cut short"),
        "empty.jpg": (b"", "this is not a JPEG"),
        "Thumbs.db": (b"\xd0\xcf\x11\xe0", "this is not a JPEG"),
        "huge.bmp": (huge, "the picture is 60000 by 60000 pixels; at most 50 megapixels"),
    }


@quick
def test_odd_pictures_are_trained_on_and_bad_ones_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run with all of them comes to its end, and has named those that it left out, and why."""
    data = make_data(tmp_path / "data", train=2, val=1)
    odd, bad = odd_pictures(), bad_pictures()
    for split in ("train", "val"):
        for name, contents in (odd | {name: bad[name][0] for name in bad}).items():
            (data / split / "circle" / name).write_bytes(contents)

    code = main(random_start(data, tmp_path / "out", "--epochs", "1"))

    said = capsys.readouterr().err
    assert code == 0, said
    assert f"left out {2 * len(bad)} of {2 * len(odd) + 2 * len(bad) + 6} files" in said
    for name, (_, reason) in bad.items():
        (line,) = [line for line in said.splitlines() if f"train/circle/{name}" in line]
        assert line.startswith("left out 2 files that end in ")
        assert reason in line


@quick
def test_many_labels_are_trained_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run with twenty labels comes to its end, and warned of their few pictures at its start."""
    labels = [f"label{number:02}" for number in range(20)]
    data = fill(
        tmp_path / "data", {f"{split}/{label}": 1 for split in ("train", "val") for label in labels}
    )

    code = main(random_start(data, tmp_path / "out", "--epochs", "1"))

    lines = capsys.readouterr().err.splitlines()
    warned, began = (
        next(index for index, line in enumerate(lines) if line.startswith(start))
        for start in ("warning: fewer than 10 pictures to learn from: label00 1, ", "training on ")
    )
    assert code == 0
    assert warned < began
