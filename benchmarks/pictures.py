"""What is measured with: the packed model that a bento names, and the pictures that are sent."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import bentoml
from bentoml.exceptions import BentoMLException
from PIL import Image

TYPICAL: Final = 500 * 404
"""Pixels of the picture that stands for one of many alike; the nearest to it is taken."""


def find_model(tag: str) -> Path:
    """Find the packed model that a bento serves.

    Raises:
        SystemExit: there is no such bento, or its model is gone.
    """
    try:
        name = str(bentoml.bentos.get(tag).info.args["model"])
        return Path(bentoml.models.get(name).path)
    except (BentoMLException, KeyError) as error:
        raise SystemExit(f"error: no bento {tag}: run save_to_bento.py first ({error})") from error


def find_mixed(data: Path) -> list[Path]:
    """List the validation photographs in an order that is shuffled, and always the same.

    Raises:
        SystemExit: there are none.
    """
    pictures = sorted((data / "val").glob("*/[!.]*.jp*g"))
    if not pictures:
        raise SystemExit(f"error: no JPEG in {data}/val/<label>/: run get_data.sh first")
    random.Random(0).shuffle(pictures)  # noqa: S311 - an order, not a secret
    return pictures


def nearest(pictures: Sequence[Path], pixels: int = TYPICAL) -> Path:
    """Pick the picture whose number of pixels is nearest."""
    distances = {}
    for path in pictures:
        with Image.open(path) as image:
            distances[path] = abs(image.width * image.height - pixels)
    return min(pictures, key=distances.__getitem__)


def enlarge(source: Path, target: Path, megapixels: float) -> Path:
    """Write a picture of so many megapixels, 4 to 3, as a camera would: JPEG, quality 90."""
    height = round((megapixels * 1e6 * 3 / 4) ** 0.5)
    with Image.open(source) as image:
        large = image.convert("RGB").resize((height * 4 // 3, height), Image.Resampling.BICUBIC)
    large.save(target, quality=90)
    return target
