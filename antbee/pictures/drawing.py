"""Draws two kinds of insect, seen from above, at any place, size and angle of a picture.

Pillow and a `random.Random` only: the same generator gives the same pixels. Knows nothing of
labels, files and backgrounds (`scenery`).
"""

import itertools
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from PIL import Image, ImageChops, ImageDraw, ImageFilter

Colour = tuple[int, int, int]
Point = tuple[float, float]

OVERSAMPLING: Final = 2
"""Everything is drawn this much larger and reduced once, which smooths the edges."""

_CHITIN: Final = ((34, 26, 24), (58, 28, 20), (96, 38, 22), (132, 58, 28), (84, 62, 44))
_AMBER: Final = ((238, 176, 40), (226, 148, 30), (244, 198, 84), (206, 138, 52))
_FUR: Final = ((196, 148, 74), (218, 178, 96), (166, 118, 60), (206, 160, 60))
_DARK: Final = ((26, 22, 20), (44, 32, 24), (58, 40, 26))


@dataclass(frozen=True)
class Pose:
    """Where an insect is: its middle and half its length in pixels, its heading in radians."""

    middle: Point
    reach: float
    heading: float
    squash: float
    """Width over true width, up to 1: how obliquely the insect is seen."""

    def place(self, point: Point) -> Point:
        """Turn the insect's coordinates (x ahead, y to its side, reach = 1) into pixels."""
        x, y = point[0] * self.reach, point[1] * self.reach * self.squash
        cos, sin = math.cos(self.heading), math.sin(self.heading)
        return self.middle[0] + x * cos - y * sin, self.middle[1] + x * sin + y * cos


class Pen:
    """A transparent layer and the strokes that build an insect on it."""

    def __init__(self, size: tuple[int, int], pose: Pose) -> None:
        self.layer = Image.new("RGBA", size)
        self._pose = pose
        self._draw = ImageDraw.Draw(self.layer)
        self._light, self._shade = Image.new("L", size), Image.new("L", size)

    def shape(self, points: Sequence[Point], colour: Colour) -> None:
        """Fill a closed outline."""
        self._draw.polygon([self._pose.place(point) for point in points], fill=colour)

    def limb(self, points: Sequence[Point], width: float, colour: Colour) -> None:
        """Draw a jointed limb that tapers to half its width at the tip."""
        for index, (start, end) in enumerate(itertools.pairwise(points)):
            pixels = width * self._pose.reach * (1 - 0.5 * index / len(points))
            line = [self._pose.place(start), self._pose.place(end)]
            self._draw.line(line, fill=colour, width=max(2, round(pixels)))
            self._dot(line[0], pixels / 2, colour)

    def hair(self, start: Point, end: Point, colour: Colour) -> None:
        """Draw one hair."""
        line = [self._pose.place(start), self._pose.place(end)]
        self._draw.line(line, fill=colour, width=max(1, round(self._pose.reach / 70)))

    def glaze(self, points: Sequence[Point], colour: Colour, opacity: int) -> None:
        """Lay a translucent shape over what is there."""
        film = Image.new("RGBA", self.layer.size, (*colour, 0))
        outline = [self._pose.place(point) for point in points]
        ImageDraw.Draw(film).polygon(outline, fill=(*colour, opacity))
        self.layer.alpha_composite(film)

    def swell(self, middle: Point, size: Point, gloss: int) -> None:
        """Make an oval look round: light from above its axis, shade below."""
        (x, y), (length, width) = middle, size
        lit = oval((x + length * 0.1, y - width * 0.3), (length * 0.6, width * 0.35))
        dim = oval((x - length * 0.1, y + width * 0.7), (length * 0.9, width * 0.35))
        place = self._pose.place
        ImageDraw.Draw(self._light).polygon([place(point) for point in lit], fill=gloss)
        ImageDraw.Draw(self._shade).polygon([place(point) for point in dim], fill=120)

    def round_off(self) -> None:
        """Apply the light and shade gathered by `swell`, softened and kept on the body."""
        body = self.layer.getchannel("A")
        soft = ImageFilter.GaussianBlur(self._pose.reach * 0.035)
        for mask, colour in ((self._shade, (0, 0, 0)), (self._light, (255, 250, 235))):
            clipped = ImageChops.multiply(mask.filter(soft), body)
            self.layer.paste((*colour, 255), mask=clipped)

    def _dot(self, middle: Point, radius: float, colour: Colour) -> None:
        (x, y) = middle
        self._draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)


def draw_walker(rng: random.Random, size: tuple[int, int], pose: Pose) -> Image.Image:
    """Draw a wingless insect: three glossy segments, a thin waist, elbowed antennae, long legs."""
    pen = Pen(size, pose)
    front = shift(rng, rng.choice(_CHITIN), 8)
    rear = shift(rng, rng.choice((front, _CHITIN[0], _CHITIN[1])), 4)
    legs = mix(front, (20, 14, 12), 0.35)
    for side in (-1, 1):
        _walker_legs(rng, pen, side, legs)
        _elbowed_antenna(rng, pen, side, legs)
    bend = rng.uniform(-0.09, 0.09)
    segments = (
        ((-0.62, bend * 2), (0.36, 0.25), rear),
        ((-0.24, bend * 0.6), (0.075, 0.07), front),
        ((-0.06, 0.0), (0.14, 0.095), front),
        ((0.14, 0.0), (0.15, 0.105), front),
        ((0.27, 0.0), (0.14, 0.125), front),
        ((0.57, -bend * 0.5), (0.2, 0.19), front),
    )
    for middle, extent, colour in segments:
        pen.shape(oval(middle, extent, narrow=0.12), colour)
        pen.swell(middle, extent, 150)
    _gaster_rings(pen, bend, rear)
    _eyes(pen, (0.63, -bend * 0.5), (0.045, 0.035), 0.145)
    pen.round_off()
    return pen.layer


def draw_flyer(rng: random.Random, size: tuple[int, int], pose: Pose) -> Image.Image:
    """Draw a winged insect: fuzzy thorax, banded abdomen, two pairs of translucent wings."""
    pen = Pen(size, pose)
    dark, fur = rng.choice(_DARK), shift(rng, rng.choice(_FUR), 14)
    bend = rng.uniform(-0.07, 0.07)
    for side in (-1, 1):
        _flyer_legs(rng, pen, side, dark)
        _short_antenna(rng, pen, side, dark)
    _abdomen(rng, pen, bend, dark)
    pen.shape(oval((0.58, 0.0), (0.16, 0.21)), dark)
    pen.swell((0.58, 0.0), (0.16, 0.21), 60)
    _eyes(pen, (0.61, 0.0), (0.1, 0.07), 0.15)
    pen.shape(oval((0.24, 0.0), (0.25, 0.25)), mix(fur, dark, 0.55))
    pen.swell((0.24, 0.0), (0.25, 0.25), 70)
    pen.round_off()
    _fuzz(rng, pen, (0.24, 0.0), (0.24, 0.25), fur)
    _wings(rng, pen)
    return pen.layer


def oval(middle: Point, size: Point, narrow: float = 0.0) -> list[Point]:
    """Outline an ellipse; `narrow` draws its rear end to a point, egg-like."""
    return [_rim(middle, size, math.tau * step / 40, narrow) for step in range(40)]


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """Mix two colours; `share` is the second's part, 0 to 1."""
    red, green, blue = (
        round(one + (two - one) * share) for one, two in zip(first, second, strict=True)
    )
    return red, green, blue


def shift(rng: random.Random, colour: Colour, spread: int) -> Colour:
    """Vary a colour by up to `spread` in each channel."""
    red, green, blue = (
        min(255, max(0, channel + rng.randint(-spread, spread))) for channel in colour
    )
    return red, green, blue


def _rim(middle: Point, size: Point, angle: float, narrow: float) -> Point:
    along = math.cos(angle)
    across = math.sin(angle) * (1 + narrow * along)
    return middle[0] + size[0] * along, middle[1] + size[1] * across


def _walker_legs(rng: random.Random, pen: Pen, side: int, colour: Colour) -> None:
    gait = rng.uniform(-0.06, 0.06)
    hips = ((0.26, 0.5, 0.66), (0.1, 0.1, -0.02), (-0.06, -0.32, -0.78))
    for hip, knee, foot in hips:
        gait = -gait
        reach = rng.uniform(0.9, 1.1)
        joints = (
            (hip, side * 0.07),
            (knee + gait, side * 0.42 * reach),
            (foot + gait * 2, side * 0.66 * reach),
            (foot + gait * 2 + 0.14 * math.copysign(1, foot), side * 0.8 * reach),
        )
        pen.limb(joints, 0.052, colour)


def _elbowed_antenna(rng: random.Random, pen: Pen, side: int, colour: Colour) -> None:
    elbow = (rng.uniform(0.86, 0.98), side * rng.uniform(0.26, 0.4))
    tip = (elbow[0] + rng.uniform(0.26, 0.36), elbow[1] * rng.uniform(0.5, 1.1))
    pen.limb(((0.7, side * 0.07), elbow, tip), 0.042, colour)


def _gaster_rings(pen: Pen, bend: float, colour: Colour) -> None:
    for x in (-0.44, -0.58, -0.72, -0.84):
        line = _band((-0.62, bend * 2), (0.36, 0.25), (x, x + 0.018))
        pen.shape(line, mix(colour, (214, 176, 140), 0.22))


def _flyer_legs(rng: random.Random, pen: Pen, side: int, colour: Colour) -> None:
    for hip, foot in ((0.4, 0.66), (0.24, 0.1), (0.1, -0.42)):
        reach = rng.uniform(0.85, 1.15)
        knee = ((hip + foot) / 2, side * 0.36 * reach)
        joints = ((hip, side * 0.1), knee, (foot, side * 0.5 * reach))
        pen.limb(joints, 0.055, colour)


def _short_antenna(rng: random.Random, pen: Pen, side: int, colour: Colour) -> None:
    bend = rng.uniform(0.08, 0.16)
    tip = (rng.uniform(0.92, 1.02), side * (bend + rng.uniform(0.06, 0.14)))
    pen.limb(((0.7, side * 0.05), (0.8, side * bend), tip), 0.034, colour)


def _abdomen(rng: random.Random, pen: Pen, bend: float, dark: Colour) -> None:
    middle, extent = (-0.42, bend), (0.5, rng.uniform(0.26, 0.31))
    amber = shift(rng, rng.choice(_AMBER), 12)
    pen.shape(oval(middle, extent, narrow=0.2), dark)
    stripes = rng.randint(4, 5)
    step = 0.9 / stripes
    for index in range(stripes):
        start = -0.02 - index * step
        pen.shape(_band(middle, extent, (start - step * 0.55, start), narrow=0.2), amber)
    pen.swell(middle, extent, 90)
    _fuzz(rng, pen, (-0.1, bend), (0.12, 0.26), amber)


def _fuzz(rng: random.Random, pen: Pen, middle: Point, size: Point, colour: Colour) -> None:
    for _ in range(260):
        angle, depth = rng.uniform(0, math.tau), math.sqrt(rng.uniform(0.01, 1))
        root = _rim(middle, (size[0] * depth, size[1] * depth), angle, 0)
        longer = depth + rng.uniform(0.1, 0.26)
        tip = _rim(middle, (size[0] * longer, size[1] * longer), angle + 0.12, 0)
        pen.hair(root, tip, mix(shift(rng, colour, 26), (60, 40, 20), rng.uniform(0, 0.35)))


def _wings(rng: random.Random, pen: Pen) -> None:
    film = rng.choice(((236, 240, 244), (226, 222, 206), (214, 228, 238)))
    spread = rng.uniform(0.5, 1.25)
    for side in (-1, 1):
        opening = spread + rng.uniform(-0.08, 0.08)
        for root, length, width, angle in (
            ((0.14, 0.16), 0.66, 0.17, opening * 0.7),
            ((0.3, 0.16), 1.0, 0.2, opening),
        ):
            _wing(pen, (root[0], side * root[1]), (length, width), side * angle, film)


def _wing(pen: Pen, root: Point, size: Point, angle: float, film: Colour) -> None:
    cos, sin = -math.cos(angle), math.sin(angle)

    def turn(along: float, across: float) -> Point:
        return root[0] + along * cos - across * sin, root[1] + along * sin + across * cos

    length, width = size
    blade = [
        turn(length * (1 - math.cos(t)) / 2, width * math.sin(t) * (1 - 0.45 * math.cos(t)))
        for t in (math.tau * step / 40 for step in range(40))
    ]
    pen.glaze(blade, film, 118)
    for lean in (-0.5, -0.15, 0.2, 0.5):
        pen.hair(root, turn(length * 0.9, width * lean), (120, 104, 84))
    for start, end in itertools.pairwise(blade):
        pen.hair(start, end, (126, 110, 90))


def _eyes(pen: Pen, middle: Point, size: Point, apart: float) -> None:
    for side in (-1, 1):
        pen.shape(oval((middle[0], middle[1] + side * apart), size), (12, 10, 10))


def _band(middle: Point, size: Point, ends: Point, narrow: float = 0.12) -> list[Point]:
    angles = [math.acos(max(-1, min(1, (x - middle[0]) / size[0]))) for x in sorted(ends)]
    steps = [angles[0] + (angles[1] - angles[0]) * step / 8 for step in range(9)]
    upper = [_rim(middle, size, angle, narrow) for angle in steps]
    return upper + [_rim(middle, size, -angle, narrow) for angle in reversed(steps)]
