"""A picture with a heat map over it."""

import io

import numpy as np
import pytest
from PIL import Image

from antbee.heatmap import MAX_SIDE, OUTSIDE, overlay, shown, spread, to_png
from antbee.images import IMAGENET, central_square, to_array
from tests.conftest import noise

GREY = 100


def grey(width: int, height: int) -> Image.Image:
    """Make a picture of one grey, which fading leaves as it is."""
    return Image.new("RGB", (width, height), (GREY, GREY, GREY))


def one_hot(row: int, column: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """Make a map of 7 by 7 with a single strong part."""
    strength = np.zeros((7, 7), np.float32)
    strength[row, column] = 1
    return strength


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((3000, 2000), (1024, 683)),
        ((500, 375), (500, 375)),
        ((1, 1), (1, 1)),
        ((9000, 2), (1024, 1)),
    ],
)
def test_large_pictures_are_scaled_down(size: tuple[int, int], expected: tuple[int, int]) -> None:
    """The longer side is at most so long, the proportions stay, and nothing is enlarged."""
    picture, _ = shown(grey(*size), IMAGENET)

    assert picture.size == expected
    assert max(picture.size) <= MAX_SIDE


@pytest.mark.parametrize("size", [(3000, 2000), (640, 480), (333, 1001)])
@pytest.mark.parametrize("cell", [(1, 1), (3, 3), (5, 2)])  # not at an edge: flat there
def test_map_lies_where_the_network_looked(size: tuple[int, int], cell: tuple[int, int]) -> None:
    """A part's colour is strongest in the middle of what the network's input shows there.

    A bright spot is painted onto the picture where the colour is strongest, and must come out in
    the middle of that part of the network's input.
    """
    picture, square = shown(grey(*size), IMAGENET)
    heat = np.asarray(spread(one_hot(*cell), picture.size, square, Image.Resampling.BICUBIC))
    rows, columns = np.nonzero(heat == heat.max())
    y, x = rows.mean() + 0.5, columns.mean() + 0.5
    scale = size[0] / picture.width
    painted = Image.new("L", size)
    painted.paste(255, tuple(round(scale * side) + move for move in (-4, 4) for side in (x, y)))
    seen = to_array(painted.convert("RGB"))[0]
    seen -= seen.min()
    found = [(seen.sum(axis) * (np.arange(224) + 0.5)).sum() / seen.sum() for axis in (1, 0)]

    for where, index in zip(found, cell, strict=True):
        assert abs(where - (index + 0.5) * 32) < 2


def test_outside_of_what_was_seen_is_dimmed() -> None:
    """Without any strength the central square is the picture, and the rest is darker."""
    picture, square = shown(grey(400, 300), IMAGENET)
    pixels = np.asarray(overlay(picture, np.zeros((7, 7), np.float32), square))
    left, top, right, bottom = (round(side) for side in square)

    assert (pixels[top:bottom, left:right] == GREY).all()
    outside = pixels.copy()
    outside[top:bottom, left:right] = round(OUTSIDE * GREY)
    assert (outside == round(OUTSIDE * GREY)).all()


def test_stronger_hides_more_of_the_picture() -> None:
    """The more a part speaks for the label, the less is seen of the picture, down to a fifth."""
    _, square = shown(grey(256, 256), IMAGENET)
    strength = np.tile(np.linspace(0, 1, 7, dtype=np.float32), (7, 1))
    black, white = (
        np.asarray(overlay(Image.new("RGB", (256, 256), colour), strength, square)).astype(int)
        for colour in ("black", "white")
    )
    contrast = (white - black)[128, 40:232:28, 0]

    assert (np.diff(contrast) < 0).all()
    assert 255 / 5 <= contrast[-1] < 255 / 4


def test_colour_of_the_picture_gives_way() -> None:
    """A picture keeps its shapes but little of its colours, so that colours mean strength."""
    picture, square = shown(Image.new("RGB", (64, 64), (240, 200, 0)), IMAGENET)
    pixel = overlay(picture, np.zeros((7, 7), np.float32), square).getpixel((32, 32))

    assert isinstance(pixel, tuple)
    assert max(pixel) - min(pixel) < 80


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (2, 3)])
def test_odd_sizes_are_drawn(size: tuple[int, int]) -> None:
    """A picture of a single pixel or line is drawn like any other."""
    picture, square = shown(noise(*size), IMAGENET)
    drawn = Image.open(io.BytesIO(to_png(overlay(picture, one_hot(3, 3), square))))

    assert (drawn.format, drawn.mode, drawn.size) == ("PNG", "RGB", picture.size)


@pytest.mark.parametrize("size", [(500, 375), (224, 224), (10, 1000)])
def test_square_is_what_the_network_gets(size: tuple[int, int]) -> None:
    """The network's input is the central square, resampled."""
    picture = noise(*size)
    square = picture.resize((224, 224), Image.Resampling.BILINEAR, box=central_square(size))

    expected = np.asarray(square).transpose(2, 0, 1) / 255
    mean, std = (np.array(row)[:, None, None] for row in (IMAGENET.mean, IMAGENET.std))
    assert np.abs(to_array(picture) * std + mean - expected).max() < 1e-6


def test_nothing_of_the_client_s_file_is_passed_on() -> None:
    """A picture that came with a colour profile is answered without it."""
    picture = grey(8, 8)
    picture.info["icc_profile"] = b"anything" * 1000

    with Image.open(io.BytesIO(to_png(picture))) as image:
        assert "icc_profile" not in image.info
