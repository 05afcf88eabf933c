"""Broken pictures: files of every format that is read, changed at random or cut short.

The same seed and the same pictures give the same bytes. Knows nothing of HTTP.
"""

import io
import itertools
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image, ImageCms

SIDES: Final = (320, 64, 17, 1)
"""Pixels of the longer side of what is broken: small enough that thousands are quick to send."""
EDGES: Final = (
    *(b"\x00\x00\x00\x00", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x80\x00\x00\x00"),
    *(b"\xff\xff\xff\x7f", b"\x00\x00\x00\x80", b"\x00\x00\xff\xff", b"\x01\x00\x00\x00"),
)
"""Lengths and sizes at which programs go wrong, in either order of bytes."""
NAMES: Final = (b"IDAT", b"IHDR", b"PLTE", b"tRNS", b"VP8", b"ANIM", b"ANMF", b"ALPH", b"\xff")
"""What a length stands before or behind: names of chunks, and the mark of a JPEG's segments."""
CHANGES: Final = (
    *("flip", "flip", "set", "set", "delete", "duplicate", "zero", "insert", "length", "header"),
)
HEADER: Final = 64
"""Bytes in which a file says what it is, how large and in how many colours."""

_PROFILE: Final = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
_ICC: Final = {"icc_profile": _PROFILE[:24] + bytes(12) + _PROFILE[36:]}  # without today's date
_EXIF: Final = {"exif": Image.Exif()}
_EXIF["exif"].update({0x0112: 6, 0x010F: "a camera"})  # turned by a quarter
_FRAMES: Final = {"save_all": True, "duration": 50}
KINDS: Final[dict[str, list[tuple[str, dict[str, Any]]]]] = {
    "JPEG": [
        *(("RGB", {}), ("L", {}), ("CMYK", {}), ("RGB", {"progressive": True})),
        ("RGB", {"subsampling": 0, **_EXIF, **_ICC}),
        ("RGB", {"restart_marker_blocks": 2, "comment": b"an ant" * 20}),
    ],
    "PNG": [
        *((mode, {}) for mode in ("RGB", "L", "P", "RGBA", "LA", "1", "I;16")),
        *(("RGB", _FRAMES), ("P", {"transparency": 0})),
    ],
    "WEBP": [
        *(("RGB", {}), ("RGB", {"lossless": True}), ("RGBA", {}), ("RGB", _FRAMES)),
        *(("RGBA", {"lossless": True}), ("RGB", {**_EXIF, **_ICC})),
    ],
    "GIF": [
        *(("P", {}), ("P", {"transparency": 0}), ("P", {"interlace": 0}), ("RGB", _FRAMES)),
        ("P", {"comment": b"a bee" * 20}),
    ],
    "BMP": [(mode, {}) for mode in ("RGB", "L", "P", "1", "RGBA")],
}
"""The modes that each format has, and how each is saved."""


def find_pictures(data: Path | None) -> list[Image.Image]:
    """Load three photographs of a folder's `val`, or draw three pictures where there is none."""
    paths = sorted((data / "val").glob("*/[!.]*.jp*g")) if data is not None else []
    if paths:
        chosen = random.Random(0).sample(paths, 3)  # noqa: S311 - no secret
        return [Image.open(path).convert("RGB") for path in chosen]
    # Smooth random colours: nothing that compresses to almost nothing.
    cells = np.random.default_rng(0).integers(0, 256, (3, 30, 40, 3), np.uint8)
    return [Image.fromarray(one).resize((400, 300), Image.Resampling.BICUBIC) for one in cells]


def originals(pictures: Sequence[Image.Image]) -> dict[str, list[bytes]]:
    """Encode pictures in several sizes and in every kind of each format; whole files."""
    files: dict[str, list[bytes]] = {name: [] for name in KINDS}
    for picture, side in itertools.product(pictures, SIDES):
        scale = side / max(picture.size)
        small = picture.resize([max(1, round(length * scale)) for length in picture.size])
        grey, alpha = small.convert("L"), small.convert("RGBA")
        alpha.putalpha(grey)
        modes = {"RGB": small, "L": grey, "RGBA": alpha, "P": small.quantize(64)}
        modes |= {"LA": alpha.convert("LA"), "I;16": grey.convert("I;16")}
        modes |= {mode: small.convert(mode) for mode in ("CMYK", "1")}
        for name, kinds in KINDS.items():
            for mode, options in kinds:
                file = io.BytesIO()
                more = {"append_images": [small.rotate(90)]} if options is _FRAMES else {}
                modes[mode].save(file, name, **options, **more)
                files[name].append(file.getvalue())
    return files


def mutated(rng: random.Random, files: Sequence[bytes]) -> bytes:
    """Take one of the files and break it, in one place or in some."""
    data = bytearray(rng.choice(files))
    for _ in range(rng.choice((1, 1, 2, 5, 20))):
        _break(rng, data)
    if rng.random() < 1 / 8:
        other = rng.choice(files)
        return bytes(data[: rng.randrange(len(data) + 1)]) + other[rng.randrange(len(other)) :]
    return bytes(data)


def cut(files: Sequence[bytes]) -> Iterator[bytes]:
    """Cut each file at every percent of its length, from nothing to all but the last."""
    for data, percent in itertools.product(files, range(100)):
        yield data[: len(data) * percent // 100]


def _break(rng: random.Random, data: bytearray) -> None:
    change = rng.choice(CHANGES)
    if change == "length":
        name = rng.choice(NAMES)
        found = data.find(name, rng.randrange(len(data) // 2 + 1))
        if found >= 0:
            # PNG has the length before the name, RIFF and JPEG after it.
            before = name[1:2].isupper() and data[:1] == b"\x89"
            start = max(found - 4, 0) if before else found + len(name) + (name == b"\xff")
            edge = rng.choice(EDGES)[: 2 if name == b"\xff" else 4]
            data[start : start + len(edge)] = edge
            return
    if change in ("length", "header"):
        edge = rng.choice(EDGES)[: rng.choice((2, 4))]
        start = rng.randrange(min(len(data), HEADER) + 1)
        data[start : start + len(edge)] = edge
        return
    # Anywhere, and as often in the header, where it matters more.
    start = rng.randrange(max(1, rng.choice((len(data), min(len(data), HEADER)))))
    if change == "flip" and data:
        data[start] ^= 1 << rng.randrange(8)
    elif change == "set" and data:
        data[start] = rng.choice((0, 0x7F, 0x80, 0xFF, rng.randrange(256)))
    elif change == "insert":
        data[start:start] = rng.randbytes(rng.randrange(1, 200))
    else:
        some = slice(start, start + rng.randrange(1, 200))
        times = rng.choice((2, 2, 51)) if change == "duplicate" else 0
        data[some] = bytes(len(data[some])) if change == "zero" else data[some] * times
