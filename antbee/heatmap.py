"""A picture with a heat map over it. Pillow and NumPy only; knows nothing of networks' weights."""

import io
from typing import Final

import numpy as np
from PIL import Image, ImageColor, ImageEnhance

from antbee.images import Preprocessing, central_square
from antbee.predictor import Floats

MAX_SIDE: Final = 1024
"""The longer side of what is served, in pixels; a larger picture is scaled down."""
COLOURS: Final = ("#0d0887", "#6a00a8", "#b12a90", "#e16462", "#fca636", "#f0f921")
"""From no strength to the full: every fifth of matplotlib's `plasma` (CC0). Its lightness rises
evenly, so it reads the same in grey and for the colour-blind; few pictures have its colours."""
OPAQUE: Final = 0.8
"""How much of the strongest colour hides the picture."""
RISE: Final = 0.7
"""The power of its strength with which a colour hides the picture; below 1, faint ones show too."""
FADED: Final = 0.3
"""How much colour the picture keeps, so that what is coloured is the map: a yellow flower under a
yellow map shows neither."""
OUTSIDE: Final = 0.6
"""How bright the part that the network did not see is left."""
FASTEST: Final = 1
"""Of zlib's levels: on photos a third of the default's time, for files a tenth larger."""
_LEVELS: Final = 256

Box = tuple[float, float, float, float]
"""Left, top, right and bottom, in pixels."""


def shown(
    picture: Image.Image, preprocessing: Preprocessing, most: int = MAX_SIDE
) -> tuple[Image.Image, Box]:
    """Scale a picture down to what is shown, and say where in it the network looks.

    Args:
        picture: RGB and upright.
        preprocessing: how the network was trained.
        most: the longer side, in pixels; a smaller picture stays as it is.
    """
    scale = min(1.0, most / max(picture.size))
    width, height = (max(1, round(scale * side)) for side in picture.size)
    left, top, right, bottom = central_square(picture.size, preprocessing)
    # Each axis by its own factor: whole pixels do not keep the proportions to the last digit.
    across, down = width / picture.width, height / picture.height
    small = picture.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=2)
    return small, (left * across, top * down, right * across, bottom * down)


def overlay(picture: Image.Image, strength: Floats, square: Box) -> Image.Image:
    """Lay a map over the part of a picture that the network saw, and dim the rest.

    Args:
        picture: RGB.
        strength: float32 [h, w], 0 to 1.
        square: where the map belongs.
    """
    heat = spread(strength, picture.size, square, Image.Resampling.BICUBIC)
    seen = spread(np.ones((1, 1), np.float32), picture.size, square, Image.Resampling.NEAREST)
    faded = ImageEnhance.Color(picture).enhance(FADED)
    result = Image.composite(faded, faded.point(_DIMMED), seen)
    result.paste(_coloured(heat), mask=heat.point(_OPACITY))
    return result


def spread(
    strength: Floats, size: tuple[int, int], square: Box, method: Image.Resampling
) -> Image.Image:
    """Interpolate a map over its square of a picture: 8 bits of grey, black outside the square.

    As in the paper, each number stands for its own part of what the network saw: an even grid.
    """
    left, top, right, bottom = square
    across, down = strength.shape[1] / (right - left), strength.shape[0] / (bottom - top)
    to_map = (across, 0, -left * across, 0, down, -top * down)
    levels = Image.fromarray(strength * (_LEVELS - 1))
    return levels.transform(size, Image.Transform.AFFINE, to_map, method).convert("L")


def _coloured(heat: Image.Image) -> Image.Image:
    colours = heat.copy()
    colours.putpalette(_PALETTE)
    return colours.convert("RGB")


def _palette() -> bytes:
    rows = np.array([ImageColor.getrgb(colour) for colour in COLOURS])
    places = np.linspace(0, len(rows) - 1, _LEVELS)
    columns = [np.interp(places, range(len(rows)), channel) for channel in rows.T]
    return np.stack(columns, 1).round().astype(np.uint8).tobytes()


def to_png(picture: Image.Image) -> bytes:
    """Encode a picture, and nothing that came with it."""
    buffer = io.BytesIO()
    # Pillow would write the colour profile of the file that the picture came from: any bytes.
    picture.save(buffer, "PNG", compress_level=FASTEST, icc_profile=None)
    return buffer.getvalue()


_PALETTE: Final = _palette()
_OPACITY: Final = [
    round(OPAQUE * (_LEVELS - 1) * (level / (_LEVELS - 1)) ** RISE) for level in range(_LEVELS)
]
_DIMMED: Final = [round(OUTSIDE * level) for level in range(_LEVELS)] * 3
