"""Draws what is around an insect: the ground, clutter, light and the camera's faults.

Pillow and a `random.Random` only: the same generator gives the same pixels. Knows nothing of
insects and labels; every kind of scene goes with every kind of insect.
"""

import math
import random
from collections.abc import Callable
from typing import Final

from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageOps

from antbee.pictures.drawing import Colour, Point, mix, oval, shift

Size = tuple[int, int]

_GREENS: Final = ((58, 104, 40), (96, 140, 52), (132, 160, 72), (44, 82, 46), (110, 128, 60))
_PETALS: Final = ((236, 196, 52), (228, 132, 168), (240, 236, 228), (176, 132, 204), (222, 96, 62))
_SANDS: Final = ((206, 178, 132), (188, 152, 108), (216, 196, 160), (164, 132, 100))
_BARKS: Final = ((112, 88, 66), (136, 112, 90), (92, 70, 52), (146, 128, 108))
_DYES: Final = ((48, 96, 178), (186, 52, 48), (226, 178, 44), (70, 130, 90), (64, 56, 60))
_STONES: Final = ((150, 148, 144), (120, 118, 116), (176, 170, 160), (138, 128, 116))

_SHADED: Final = 0.4
"""Share of pictures on which something outside casts a shadow."""


def draw_ground(rng: random.Random, size: Size) -> Image.Image:
    """Draw one of the grounds, with up to a handful of clutter on it."""
    ground = rng.choice(_GROUNDS)(rng, size)
    for _ in range(rng.randint(0, 5)):
        rng.choice(_CLUTTER)(rng, ground)
    # A lens so near its subject leaves what is behind it out of focus.
    return ground.filter(ImageFilter.GaussianBlur(rng.uniform(0.5, 1.5)))


def cast_shadow(rng: random.Random, picture: Image.Image, layer: Image.Image) -> None:
    """Darken the picture where the layer keeps the light from it."""
    away = round(min(picture.size) * rng.uniform(0.012, 0.05))
    left, top = rng.choice((-away, away)), -away
    box = (left, top, left + picture.width, top + picture.height)
    shade = layer.getchannel("A").point([level // 2 for level in range(256)]).crop(box)
    picture.paste((16, 14, 18), mask=shade.filter(ImageFilter.GaussianBlur(away)))


def light(rng: random.Random, picture: Image.Image) -> Image.Image:
    """Vary brightness, contrast and warmth, and let something outside cast a soft shadow."""
    if rng.random() < _SHADED:
        picture.paste((18, 18, 26), mask=_dapple(rng, picture.size))
    warmth, level, contrast = rng.uniform(-0.1, 0.1), rng.uniform(0.78, 1.18), rng.uniform(0.8, 1.1)
    tables = [
        [_exposed(value, level * gain, contrast) for value in range(256)]
        for gain in (1 + warmth, 1.0, 1 - warmth)
    ]
    return picture.point(tables[0] + tables[1] + tables[2])


def photograph(rng: random.Random, picture: Image.Image) -> Image.Image:
    """Add a camera's faults: a little blur, a little grain."""
    blurred = picture.filter(ImageFilter.GaussianBlur(rng.uniform(0, 0.9)))
    grain = Image.frombytes("L", picture.size, rng.randbytes(picture.width * picture.height))
    grainy = ImageChops.soft_light(blurred, Image.merge("RGB", (grain, grain, grain)))
    return Image.blend(blurred, grainy, rng.uniform(0.05, 0.2))


def _exposed(value: int, level: float, contrast: float) -> int:
    return max(0, min(255, round(128 + (value * level - 128) * contrast)))


def _dapple(rng: random.Random, size: Size) -> Image.Image:
    # Blurred so much that a quarter of the size will do.
    small = Image.new("L", (size[0] // 4, size[1] // 4))
    draw = ImageDraw.Draw(small)
    for _ in range(rng.randint(2, 5)):
        middle = (rng.uniform(0, small.width), rng.uniform(0, small.height))
        extent = (rng.uniform(0.1, 0.35) * small.width, rng.uniform(0.1, 0.35) * small.height)
        draw.polygon(oval(middle, extent), fill=rng.randint(50, 110))
    return small.filter(ImageFilter.GaussianBlur(rng.uniform(1, 3))).resize(size)


def _noise(rng: random.Random, size: Size, cells: Size) -> Image.Image:
    coarse = Image.frombytes("L", cells, rng.randbytes(cells[0] * cells[1]))
    return coarse.resize(size, Image.Resampling.BICUBIC)


def _cloudy(rng: random.Random, size: Size) -> Image.Image:
    rough = Image.blend(_noise(rng, size, (5, 4)), _noise(rng, size, (17, 13)), 0.4)
    return Image.blend(rough, _noise(rng, size, (90, 70)), 0.2)


def _tinted(rng: random.Random, texture: Image.Image, colours: tuple[Colour, ...]) -> Image.Image:
    base = shift(rng, rng.choice(colours), 14)
    other = shift(rng, rng.choice(colours), 14)
    dark, bright = mix(base, (20, 18, 16), 0.35), mix(other, (255, 250, 240), 0.25)
    return ImageOps.colorize(texture, dark, bright, mid=mix(base, other, 0.5))


def _leaf(rng: random.Random, size: Size) -> Image.Image:
    ground = _tinted(rng, _cloudy(rng, size), _GREENS)
    vein, angle = mix(rng.choice(_GREENS), (226, 236, 170), 0.6), rng.uniform(0, math.pi)
    draw, gap, far = ImageDraw.Draw(ground), size[0] * rng.uniform(0.1, 0.18), size[0] * 1.3
    middle = (size[0] * rng.uniform(0.2, 0.8), size[1] * rng.uniform(0.2, 0.8))
    draw.line((_ray(middle, angle, -far), _ray(middle, angle, far)), vein, 4)
    for index in range(-8, 9):
        root = _ray(middle, angle, gap * index)
        for lean in (-0.9, 0.9):
            draw.line((root, _ray(root, angle + lean, far)), vein, 2)
    return ground


def _sand(rng: random.Random, size: Size) -> Image.Image:
    grains = _noise(rng, size, (size[0] // 2, size[1] // 2))
    ground = _tinted(rng, Image.blend(_cloudy(rng, size), grains, 0.4), _SANDS)
    for _ in range(rng.randint(10, 40)):
        _pebble(rng, ground, largest=0.02)
    return ground


def _cloth(rng: random.Random, size: Size) -> Image.Image:
    wide = _square_around(size)
    dye, check = shift(rng, rng.choice(_DYES), 20), rng.randint(25, 55)
    weave = Image.blend(_cloudy(rng, wide), _noise(rng, wide, (wide[0] // 2, wide[1] // 2)), 0.3)
    ground = _tinted(rng, weave, ((236, 232, 224),))
    for upright in (True, False):
        stripes = Image.new("L", wide)
        for start in range(0, wide[0], 2 * check):
            end = start + check
            box = (start, 0, end, wide[1]) if upright else (0, start, wide[0], end)
            ImageDraw.Draw(stripes).rectangle(box, fill=130)
        ground.paste(dye, mask=stripes)
    return _turned(rng, ground, size)


def _petals(rng: random.Random, size: Size) -> Image.Image:
    ground = _tinted(rng, _cloudy(rng, size), _GREENS).filter(ImageFilter.GaussianBlur(3))
    colour, count = shift(rng, rng.choice(_PETALS), 14), rng.randint(7, 12)
    middle = (size[0] * rng.uniform(0.1, 0.9), size[1] * rng.uniform(0.1, 0.9))
    length, turn = size[0] * rng.uniform(0.45, 0.65), rng.uniform(0, math.tau)
    for index in range(count):
        angle = turn + math.tau * index / count + rng.uniform(-0.1, 0.1)
        tint = mix(colour, (80, 40, 40), rng.uniform(0, 0.2))
        _petal(ground, (_ray(middle, angle, length * 0.6), length, angle), tint)
    disc = shift(rng, rng.choice(((196, 142, 40), (112, 76, 36), (150, 160, 60))), 16)
    draw, radius = ImageDraw.Draw(ground), size[0] * rng.uniform(0.06, 0.12)
    draw.polygon(oval(middle, (radius, radius)), fill=disc)
    for _ in range(160):
        spot = _ray(middle, rng.uniform(0, math.tau), radius * math.sqrt(rng.random()))
        draw.polygon(oval(spot, (2, 2)), fill=shift(rng, disc, 40))
    return ground


def _bark(rng: random.Random, size: Size) -> Image.Image:
    wide = _square_around(size)
    grain = Image.blend(_noise(rng, wide, (7, 60)), _noise(rng, wide, (24, 200)), 0.4)
    ground = _tinted(rng, Image.blend(grain, _noise(rng, wide, (9, 9)), 0.3), _BARKS)
    draw, crack = ImageDraw.Draw(ground), mix(rng.choice(_BARKS), (20, 16, 14), 0.7)
    for _ in range(rng.randint(6, 14)):
        x, y = rng.uniform(0, wide[0]), rng.uniform(0, wide[1])
        steps = [(x + index * 15, y + rng.uniform(-5, 5)) for index in range(rng.randint(4, 12))]
        draw.line(steps, crack, rng.randint(2, 4), joint="curve")
    return _turned(rng, ground, size)


def _meadow(rng: random.Random, size: Size) -> Image.Image:
    ground = _tinted(rng, _cloudy(rng, size), _GREENS)
    for _ in range(rng.randint(20, 40)):
        _blade(rng, ground, shift(rng, rng.choice((*_GREENS, (190, 176, 104))), 20))
    for _ in range(rng.randint(0, 6)):
        middle = (rng.uniform(0, size[0]), rng.uniform(0, size[1]))
        radius = size[0] * rng.uniform(0.02, 0.06)
        bloom = shift(rng, rng.choice(_PETALS), 20)
        ImageDraw.Draw(ground).polygon(oval(middle, (radius, radius)), fill=bloom)
    return ground.filter(ImageFilter.GaussianBlur(rng.uniform(1.5, 4)))


def _paving(rng: random.Random, size: Size) -> Image.Image:
    rough = Image.blend(_cloudy(rng, size), _noise(rng, size, (size[0] // 2, size[1] // 2)), 0.35)
    ground = _tinted(rng, rough, _STONES)
    middle = (size[0] * rng.uniform(0.2, 0.8), size[1] * rng.uniform(0.2, 0.8))
    draw, angle, joint = ImageDraw.Draw(ground), rng.uniform(0, math.pi), (74, 70, 64)
    for turn in (0, math.pi / 2):
        ends = (_ray(middle, angle + turn, -size[0]), _ray(middle, angle + turn, size[0]))
        draw.line(ends, joint, rng.randint(4, 8))
    return ground


def _pebble(rng: random.Random, ground: Image.Image, largest: float = 0.05) -> None:
    radius = ground.width * rng.uniform(0.3, 1) * largest
    x, y = rng.uniform(0, ground.width), rng.uniform(0, ground.height)
    colour, flat = shift(rng, rng.choice((*_STONES, *_BARKS)), 20), rng.uniform(0.6, 1)
    draw = ImageDraw.Draw(ground)
    for lift, share in ((0.25, 0.75), (0, 0), (-0.25, -0.35)):
        size = radius * (1 - abs(share) * 0.4)
        tone = mix(colour, (255, 250, 240) if share < 0 else (24, 20, 18), abs(share))
        middle = (x + radius * lift * 0.6, y + radius * lift)
        draw.polygon(oval(middle, (size, size * flat), narrow=0.2), fill=tone)


def _twig(rng: random.Random, ground: Image.Image) -> None:
    start = (rng.uniform(0, ground.width), rng.uniform(0, ground.height))
    angle, step = rng.uniform(0, math.tau), ground.width * rng.uniform(0.04, 0.1)
    joints = [start]
    for _ in range(rng.randint(3, 6)):
        angle += rng.uniform(-0.3, 0.3)
        joints.append(_ray(joints[-1], angle, step))
    colour, width = shift(rng, rng.choice(_BARKS), 20), rng.randint(3, 7)
    draw = ImageDraw.Draw(ground)
    draw.line(joints, mix(colour, (20, 16, 14), 0.5), width, joint="curve")
    draw.line([(x - 1, y - 1) for x, y in joints], colour, width - 2, joint="curve")


def _fallen_petal(rng: random.Random, ground: Image.Image) -> None:
    middle = (rng.uniform(0, ground.width), rng.uniform(0, ground.height))
    length = ground.width * rng.uniform(0.08, 0.2)
    colour = shift(rng, rng.choice((*_PETALS, *_GREENS)), 20)
    _petal(ground, (middle, length, rng.uniform(0, math.tau)), colour)


def _droplet(rng: random.Random, ground: Image.Image) -> None:
    radius = ground.width * rng.uniform(0.012, 0.03)
    x, y = rng.uniform(0, ground.width), rng.uniform(0, ground.height)
    drop = Image.new("L", ground.size)
    ImageDraw.Draw(drop).polygon(oval((x, y), (radius, radius)), fill=90)
    ground.paste((30, 40, 36), mask=drop)
    glint = oval((x - radius * 0.35, y - radius * 0.35), (radius * 0.25, radius * 0.25))
    ImageDraw.Draw(ground).polygon(glint, fill=(250, 252, 252))


def _blade(rng: random.Random, ground: Image.Image, colour: Colour) -> None:
    root = (rng.uniform(-0.2, 1.2) * ground.width, ground.height * rng.uniform(0.9, 1.1))
    angle, width = rng.uniform(-2.4, -0.8), ground.width * rng.uniform(0.008, 0.025)
    bend, length = rng.uniform(-0.3, 0.3), ground.height * rng.uniform(0.5, 1.3)
    waist, tip = _ray(root, angle, length * 0.5), _ray(root, angle + bend, length)
    outline = [(root[0] - width, root[1]), waist, tip, (waist[0] + width, waist[1])]
    ImageDraw.Draw(ground).polygon([*outline, (root[0] + width, root[1])], fill=colour)


def _petal(ground: Image.Image, place: tuple[Point, float, float], colour: Colour) -> None:
    middle, length, angle = place
    rim = oval((0, 0), (length * 0.5, length * 0.19), narrow=0.35)
    cos, sin = math.cos(angle), math.sin(angle)
    outline = [(middle[0] + x * cos - y * sin, middle[1] + x * sin + y * cos) for x, y in rim]
    draw = ImageDraw.Draw(ground)
    draw.polygon([(x + 2, y + 3) for x, y in outline], fill=mix(colour, (24, 30, 20), 0.6))
    draw.polygon(outline, fill=colour)
    ends = (_ray(middle, angle, -length * 0.42), _ray(middle, angle, length * 0.4))
    draw.line(ends, mix(colour, (90, 60, 50), 0.25), 2)


def _square_around(size: Size) -> Size:
    # Whichever way it is turned, it covers the picture.
    side = math.ceil(math.hypot(*size))
    return side, side


def _turned(rng: random.Random, wide: Image.Image, size: Size) -> Image.Image:
    turned = wide.rotate(rng.uniform(0, 180), Image.Resampling.BILINEAR)
    left, top = (wide.width - size[0]) // 2, (wide.height - size[1]) // 2
    return turned.crop((left, top, left + size[0], top + size[1]))


def _ray(start: Point, angle: float, length: float) -> Point:
    return start[0] + math.cos(angle) * length, start[1] + math.sin(angle) * length


_GROUNDS: Final[tuple[Callable[[random.Random, Size], Image.Image], ...]] = (
    _leaf,
    _sand,
    _cloth,
    _petals,
    _bark,
    _meadow,
    _paving,
)
_CLUTTER: Final[tuple[Callable[[random.Random, Image.Image], None], ...]] = (
    _pebble,
    _twig,
    _fallen_petal,
    _droplet,
)
