"""What those who wish a server ill send: broken pictures, and files of every other kind."""

import io
import random

import pytest
from PIL import Image

from antbee.images import decode_image
from hostile.files import BOMBS, mutated, originals, other_formats, polyglots

FILES = originals()


def test_what_is_broken_was_whole() -> None:
    """Every file that is mutated or cut is a picture that is read."""
    assert all(decode_image(data) for several in FILES.values() for data in several)


def test_a_mutation_changes_the_file() -> None:
    """Hardly any mutated file is what it was."""
    files = FILES["PNG"]
    generator = random.Random(0)  # noqa: S311 - no secret
    changed = [mutated(generator, files) not in files for _ in range(100)]

    assert sum(changed) > 90


def test_there_are_many_of_each_kind() -> None:
    """Formats that are not allowed, and files that are two things, come by name."""
    whole = {name: several[0] for name, several in FILES.items()}

    assert {"TIFF", "SVG", "PSD", "PDF", "EPS", "HEIC", "ICO"} <= other_formats().keys()
    assert {"JPEG and ZIP", "GIF and JavaScript", "PNG and HTML"} <= polyglots(whole).keys()


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("GIF of 4,225 MP", (65_000, 65_000)),
        ("WebP of 268 MP", (16_383, 16_383)),
        ("JPEG of 50 MP, no pixels", (5_000, 10_000)),
        ("BMP of 50 MP, no pixels", (10_000, 5_000)),
        ("BMP of 50 MP, one run", (10_000, 5_000)),
        ("PNG of 50 MP, no pixels", (10_000, 5_000)),
    ],
)
def test_a_bomb_is_small_and_says_that_it_is_large(
    name: str, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its header is one that Pillow believes."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    data = BOMBS[name]()
    with Image.open(io.BytesIO(data)) as image:
        assert image.size == size
    assert len(data) < 10_000
