"""Which parts of a picture speak for which label, and the picture that shows it.

Class activation maps, after Zhou et al. 2016, "Learning Deep Features for Discriminative
Localization" (arXiv:1512.04150), section 2: the network's last features, weighted as its last layer
weighs their means. No gradients, so every runtime can do it. Pillow and NumPy only.
"""

import io
from typing import Final

import numpy as np
from PIL import Image, ImageColor, ImageEnhance

from antbee.artifact import HEAD, PackedModel
from antbee.errors import ModelError
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
_CHANNELS: Final = [
    np.interp(np.linspace(0, len(COLOURS) - 1, _LEVELS), range(len(COLOURS)), channel)
    for channel in zip(*map(ImageColor.getrgb, COLOURS), strict=True)
]
_PALETTE: Final = np.stack(_CHANNELS, 1).round().astype(np.uint8).tobytes()
"""Red, green and blue of every strength, one after the other."""
_OPACITY: Final = [
    round(OPAQUE * (_LEVELS - 1) * (level / (_LEVELS - 1)) ** RISE) for level in range(_LEVELS)
]
_DIMMED: Final = [round(OUTSIDE * level) for level in range(_LEVELS)] * 3

Box = tuple[float, float, float, float]
"""Left, top, right and bottom, in pixels."""


def load_head(model: PackedModel) -> Floats | None:
    """Read the last layer's weights, float32 [classes, channels]; None where none were packed.

    Raises:
        ModelError: the file is missing or damaged, or is not what its name says.
    """
    if HEAD not in model.files:
        return None
    path = model.path(HEAD)
    try:
        head = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ModelError(f"{path} is not an array: pack the model again") from error
    if head.ndim != 2 or len(head) != len(model.labels) or head.dtype != np.float32:  # noqa: PLR2004
        raise ModelError(f"{path} does not fit the model's labels: pack the model again")
    return np.asarray(head, np.float32)


def activation_maps(features: Floats, head: Floats) -> Floats:
    """Weigh one picture's features by every label's weights.

    Args:
        features: float32 [channels, h, w].
        head: float32 [classes, channels].

    Returns:
        float32 [classes, h, w]. The mean of a label's map is its logit, less the last layer's bias.
    """
    return np.tensordot(head, features, axes=1)


def strength(maps: Floats, label: int) -> Floats:
    """How strongly each part speaks for a label: float32 [h, w], 0 to 1.

    1 is the strongest that anything in this picture speaks for any label, so the maps of two labels
    can be compared, and a label that hardly anything speaks for has a faint map. What speaks
    against the label is 0.

    Args:
        maps: float32 [classes, h, w].
        label: its index.
    """
    strongest = max(float(maps.max()), np.finfo(np.float32).tiny)
    return np.asarray(maps[label].clip(0) / strongest, np.float32)


def displayed(
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


def overlay(picture: Image.Image, strengths: Floats, square: Box) -> Image.Image:
    """Lay a map over the part of a picture that the network saw, and dim the rest.

    Args:
        picture: RGB.
        strengths: float32 [h, w], 0 to 1.
        square: where the map belongs.
    """
    heat = spread(strengths, picture.size, square, Image.Resampling.BICUBIC)
    seen = spread(np.ones((1, 1), np.float32), picture.size, square, Image.Resampling.NEAREST)
    faded = ImageEnhance.Color(picture).enhance(FADED)
    result = Image.composite(faded, faded.point(_DIMMED), seen)
    opacity = heat.point(_OPACITY)
    heat.putpalette(_PALETTE)
    result.paste(heat.convert("RGB"), mask=opacity)
    return result


def spread(
    strengths: Floats, size: tuple[int, int], square: Box, method: Image.Resampling
) -> Image.Image:
    """Interpolate a map over its square of a picture: 8 bits of grey, black outside the square.

    As in the paper, each number stands for its own part of what the network saw: an even grid.
    """
    left, top, right, bottom = square
    across, down = strengths.shape[1] / (right - left), strengths.shape[0] / (bottom - top)
    to_map = (across, 0, -left * across, 0, down, -top * down)
    levels = Image.fromarray(strengths * (_LEVELS - 1))
    return levels.transform(size, Image.Transform.AFFINE, to_map, method).convert("L")


def to_png(picture: Image.Image) -> bytes:
    """Encode a picture, and nothing that came with it."""
    buffer = io.BytesIO()
    # Pillow would write the colour profile of the file that the picture came from: any bytes.
    picture.save(buffer, "PNG", compress_level=FASTEST, icc_profile=None)
    return buffer.getvalue()
