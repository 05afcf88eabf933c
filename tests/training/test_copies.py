"""Pictures that are nearly the same."""

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from antbee.training.copies import SIMILAR, find_copies, thumbnail
from antbee.training.data import Copies, Picture, Split
from tests.conftest import encode

Pictures = Mapping[str, Mapping[str, Image.Image]]
"""By split, and by `label/name`."""


def scene(seed: int) -> Image.Image:
    """Draw what has as much detail as a photograph."""
    cells = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), np.uint8)
    return Image.fromarray(cells).resize((320, 240), Image.Resampling.BICUBIC)


def find(pictures: Pictures) -> list[Copies]:
    """Look for copies; every file has contents of its own, but for those of the same picture."""
    labels = sorted({name.partition("/")[0] for split in pictures.values() for name in split})
    used: dict[str, Split] = {}
    sums: dict[Path, str] = {}
    thumbnails: dict[Path, bytes] = {}
    for split, images in pictures.items():
        own = {Path(split, name): image for name, image in images.items()}
        found = [Picture(path, labels.index(path.parts[1])) for path in own]
        used[split] = Split(labels, found, Path(split))
        sums |= {path: str(id(image)) for path, image in own.items()}
        thumbnails |= {path: thumbnail(image) for path, image in own.items()}
    return find_copies(used, sums, thumbnails)


def saved(image: Image.Image, quality: int = 40) -> Image.Image:
    """Save a picture as a JPEG and open that."""
    return Image.open(io.BytesIO(encode(image, quality=quality)))


def test_copies_in_another_split_are_found() -> None:
    """Saved anew, made smaller or cut a little, a copy is named with its original, and no other."""
    train = {f"ant/{number}": scene(number) for number in range(20)}
    copies = {
        "3": saved(scene(3)),
        "4": saved(scene(4).resize((160, 120))),
        "5": saved(scene(5).crop((16, 12, 304, 228))),
        "6": saved(scene(6).crop((0, 0, 288, 216))),
    }
    val = {f"ant/{number}": image for number, image in copies.items()} | {"ant/99": scene(99)}

    pairs = find({"train": train, "val": val})

    assert {(pair.picture.path.name, pair.other.path.name) for pair in pairs} == {
        (number, number) for number in copies
    }
    assert {pair.picture.path.parts[0] for pair in pairs} == {"train"}
    assert all(SIMILAR <= pair.similarity < 1 for pair in pairs)


def test_a_copy_under_another_label_is_found() -> None:
    """Within a split copies of the same label only weigh double, and are passed over."""
    train = {"ant/0": scene(0), "ant/1": saved(scene(0)), "bee/0": saved(scene(0), 60)}

    pairs = find({"train": train, "val": {}})

    assert {pair.other.path for pair in pairs} == {Path("train/bee/0")}
    assert {pair.picture.path for pair in pairs} == {Path("train/ant/0"), Path("train/ant/1")}


def test_the_same_file_is_wholly_similar() -> None:
    """Similarity 1 says that the files are the same."""
    image = scene(0)

    (pair,) = find({"train": {"ant/0": image}, "val": {"ant/0": image}})

    assert pair.similarity == 1


def test_there_are_no_more_pairs_than_pictures() -> None:
    """Of a film's frames each is named with one of the others, not with all."""
    frames = {f"ant/{number}": saved(scene(0), 50 + number) for number in range(20)}

    pairs = find({"train": frames, "val": frames})

    assert len(pairs) <= 2 * len(frames)
    named = {end.path for pair in pairs for end in (pair.picture, pair.other)}
    assert len(named) == 2 * len(frames)


def test_what_is_drawn_on_the_same_paper_is_not_the_same() -> None:
    """An even background does not make different things similar, nor an empty page all the same."""
    pictures = {}
    for number in range(20):
        page = Image.new("RGB", (200, 200), "white")
        small = scene(number).resize((60, 60))
        page.paste(small, (70, 70))
        pictures[f"ant/{number}"] = page
    empty = {f"bee/{number}": Image.new("RGB", (9, 9), (number, 0, 0)) for number in range(300)}

    assert (
        find({"train": pictures | empty, "val": {"bee/x": Image.new("RGB", (9, 9), "white")}}) == []
    )


def test_nothing_is_like_nothing() -> None:
    """A set without pictures has no copies."""
    assert find({"train": {}, "val": {}}) == []
