"""Folders of tiny pictures, drawn in no time."""

import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path

from PIL import Image

from tests.conftest import encode


def fill(folder: Path, counts: Mapping[str, int]) -> Path:
    """Draw so many pictures of 4 by 4 pixels in each of the folder's folders, no two alike."""
    colours = _colours()
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        for number in range(count):
            tiny = Image.new("RGB", (4, 4), next(colours))
            (folder / name / f"{number}.png").write_bytes(encode(tiny, "PNG"))
    return folder


def _colours() -> Iterator[tuple[int, int, int]]:
    for number in itertools.count():
        yield number % 256, number // 256, 128
