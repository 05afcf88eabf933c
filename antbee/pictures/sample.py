"""Draws a small set of pictures that a network can learn from nothing within minutes, on a CPU.

Two kinds of insect, seen from above, on grounds that tell nothing of the kind. The same arguments
give the same bytes, in any process. `get_data.sh` calls this, and knows what the kinds are called.
"""

import argparse
import io
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from PIL import Image, ImageChops, ImageDraw, ImageEnhance, ImageFilter, ImageOps

from antbee.command import DONE, run
from antbee.pictures.get import SOURCE, check_label, report, staged

COUNTS: Final = {"train": 40, "val": 20}  # pictures of each label
SIZES: Final = ((320, 240), (320, 256), (288, 288), (256, 320))  # of pictures, in pixels

Colour = tuple[int, ...]
Draw = Callable[[random.Random], Image.Image]

_BOARD: Final = 640  # pixels: side of the square on which an insect is drawn, heading right
_GROUND: Final = 420  # pixels: side of a square that covers any of SIZES, turned by any angle

_CHITIN: Final = ((34, 26, 24), (58, 28, 20), (96, 38, 22), (132, 58, 28), (84, 62, 44))
_AMBER: Final = ((238, 176, 40), (226, 148, 30), (244, 198, 84), (206, 138, 52))
_GREENS: Final = ((58, 104, 40), (96, 140, 52), (132, 160, 72), (44, 82, 46), (110, 128, 60))
_PETALS: Final = ((236, 196, 52), (228, 132, 168), (240, 236, 228), (118, 122, 204), (222, 96, 62))
_TINTS: Final = {  # of each ground
    "leaf": _GREENS,
    "sand": ((206, 178, 132), (188, 152, 108), (216, 196, 160), (164, 132, 100)),
    "cloth": ((214, 210, 202), (206, 198, 184)),
    "flower": _GREENS,
    "bark": ((112, 88, 66), (136, 112, 90), (92, 70, 52), (146, 128, 108)),
    "paving": ((150, 148, 144), (120, 118, 116), (176, 170, 160), (138, 128, 116)),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m antbee.pictures.sample", description=__doc__)
    parser.add_argument("folder", type=Path, help="a missing or empty folder")
    parser.add_argument(
        "--walker", required=True, type=check_label, help="label of the wingless kind"
    )
    parser.add_argument(
        "--flyer", required=True, type=check_label, help="label of the striped, winged kind"
    )
    parser.add_argument("--seed", type=int, default=0, help="another one draws other pictures (0)")
    options = parser.parse_args(argv)
    if options.walker == options.flyer:
        parser.error(f"both kinds cannot be called {options.walker}")
    kinds: dict[str, Draw] = {options.walker: draw_walker, options.flyer: draw_flyer}
    return run(lambda: draw_sample(options.folder, kinds, options.seed))


def draw_sample(folder: Path, kinds: dict[str, Draw], seed: int) -> int:
    """Fill a missing or empty folder with `train/<label>/` and `val/<label>/`.

    `kinds` has what to draw for each label.

    Raises:
        DataError: the folder cannot be filled.
    """
    with staged(folder) as stage:
        for split, count in COUNTS.items():
            for kind, (label, draw) in enumerate(kinds.items()):
                place = stage / split / label
                place.mkdir(parents=True)
                for number in range(count):
                    # The label has no part in it: by any other name, the same picture.
                    rng = random.Random(f"{seed}/{split}/{kind}/{number}")  # noqa: S311 - no secret
                    (place / f"{number:03}.jpg").write_bytes(draw_picture(rng, draw))
        (stage / SOURCE).write_text(f"a drawn sample set, seed {seed}\n", encoding="utf-8")
    report(folder)
    return DONE


def draw_picture(rng: random.Random, draw: Draw) -> bytes:
    """Draw one insect on some ground in some light; return a JPEG file."""
    size = rng.choice(SIZES)
    picture = draw_ground(rng, size)

    length, squash = min(size) * rng.uniform(1.0, 1.3), rng.uniform(0.8, 1)
    insect = draw(rng).resize((round(length), round(length * squash)), Image.Resampling.BOX)
    insect = insect.rotate(rng.uniform(0, 360), Image.Resampling.BICUBIC, expand=True)
    x = round(size[0] * rng.uniform(0.42, 0.58)) - insect.width // 2
    y = round(size[1] * rng.uniform(0.42, 0.58)) - insect.height // 2
    away = rng.randint(3, 14)
    shadow = insect.getchannel("A").point([level // 2 for level in range(256)])
    shadow = shadow.filter(ImageFilter.BoxBlur(away))
    picture.paste((16, 14, 18), (x + rng.choice((-away, away)), y + away), shadow)
    picture.paste(insect, (x, y), insect)

    # Light and camera: brightness, contrast, warmth, a little blur, a little grain.
    picture = ImageEnhance.Brightness(picture).enhance(rng.uniform(0.78, 1.18))
    picture = ImageEnhance.Contrast(picture).enhance(rng.uniform(0.8, 1.1))
    warmth = Image.new("RGB", size, rng.choice(((255, 170, 80), (80, 150, 255))))
    picture = Image.blend(picture, warmth, rng.uniform(0, 0.12))
    picture = picture.filter(ImageFilter.GaussianBlur(rng.uniform(0, 0.9)))
    grain = Image.frombytes("L", size, rng.randbytes(size[0] * size[1])).convert("RGB")
    grainy, file = ImageChops.soft_light(picture, grain), io.BytesIO()
    Image.blend(picture, grainy, rng.uniform(0.05, 0.2)).save(file, "JPEG", quality=82)
    return file.getvalue()


def draw_walker(rng: random.Random) -> Image.Image:
    """Draw a wingless insect: glossy segments, a thin waist, elbowed antennae, long legs."""
    insect = Image.new("RGBA", (_BOARD, _BOARD))
    pen, y, bend = ImageDraw.Draw(insect), _BOARD / 2, rng.uniform(-20, 20)
    front = _shift(rng, rng.choice(_CHITIN), 8)
    rear = rng.choice((front, *_CHITIN[:2]))
    for side in (-1, 1):
        for hip, knee, foot in ((380, 435, 472), (343, 343, 315), (306, 246, 140)):
            step, reach = rng.uniform(-14, 14), side * rng.uniform(90, 110)
            joints = (hip, y, knee + step, y + reach, foot + 2 * step, y + 1.6 * reach)
            pen.line((*joints, foot + 3 * step, y + 1.9 * reach), front, 11, "curve")
        elbow = (rng.uniform(515, 545), y + side * rng.uniform(60, 92))
        tip = (elbow[0] + rng.uniform(50, 80), elbow[1] - side * rng.uniform(-10, 40))
        pen.line((480, y, *elbow, *tip), front, 9, "curve")
    for x, length, width in ((265, 17, 14), (306, 34, 22), (352, 36, 26), (385, 32, 28)):
        pen.ellipse(_oval(x, y, length, width), front)
    pen.ellipse(_oval(179, y + bend, 84, 58), rear)
    pen.ellipse(_oval(450, y - bend / 2, 46, 43), front)
    for side in (-1, 1):
        pen.ellipse(_oval(466, y - bend / 2 + side * 33, 11, 8), (12, 10, 10))
    return _rounded(insect)


def draw_flyer(rng: random.Random) -> Image.Image:
    """Draw a winged insect: fuzzy thorax, banded abdomen, two pairs of translucent wings."""
    insect = Image.new("RGBA", (_BOARD, _BOARD))
    pen, y, bend = ImageDraw.Draw(insect), _BOARD / 2, rng.uniform(-16, 16)
    dark = rng.choice(_CHITIN[:2])
    amber, fur = (_shift(rng, rng.choice(_AMBER), 12) for _ in range(2))
    for side in (-1, 1):
        for hip, foot in ((412, 472), (375, 343), (343, 223)):
            reach = side * rng.uniform(98, 132)
            joints = (hip, y, (hip + foot) / 2, y + 0.72 * reach, foot, y + reach)
            pen.line(joints, dark, 12, "curve")
        tip = (rng.uniform(530, 555), y + side * rng.uniform(35, 65))
        pen.line((475, y, 504, y + side * 28, *tip), dark, 8, "curve")

    # Each band lies on the one before, a step further back: they curve with the abdomen.
    abdomen, bands = Image.new("L", insect.size), Image.new("RGB", insect.size)
    width, step = rng.uniform(60, 72), rng.choice((22, 26))
    ImageDraw.Draw(abdomen).ellipse(_oval(224, y + bend, 115, width), 255)
    for index in range(12):
        box = _oval(224 - step * index, y + bend, 115, width + 30)
        ImageDraw.Draw(bands).ellipse(box, amber if index % 2 else dark)
    insect.paste(bands, mask=abdomen)
    pen.ellipse(_oval(453, y, 37, 48), dark)
    pen.ellipse(_oval(375, y, 58, 58), dark)
    insect = _rounded(insect)
    pen = ImageDraw.Draw(insect)
    for _ in range(400):
        ahead, aside = rng.gauss(0, 28), rng.gauss(0, 28)
        hair = (375 + ahead, y + aside, 375 + 1.3 * ahead, y + 1.3 * aside)
        pen.line(hair, _shift(rng, fur, 30), 3)

    # The wings of one side point back and are turned about their roots; then their mirror images.
    spread, vein = rng.uniform(28, 70), (120, 104, 84)
    for root, length, width, angle in ((352, 76, 38, spread * 0.7), (389, 115, 46, spread)):
        wing = Image.new("RGBA", insect.size)
        pen, aside = ImageDraw.Draw(wing), y + 36
        pen.ellipse(_oval(root - length, aside, length, width), (230, 232, 230, 125), vein, 4)
        for lean in (-0.5, -0.15, 0.2, 0.5):
            pen.line((root, aside, root - 1.8 * length, aside + width * lean), vein, 3)
        wing = wing.rotate(angle, center=(root, aside))
        insect.alpha_composite(wing)
        insect.alpha_composite(ImageOps.flip(wing))
    return insect


def draw_ground(rng: random.Random, size: tuple[int, int]) -> Image.Image:
    """Draw one of the grounds, with litter on it, turned by any angle."""
    kind = rng.choice(tuple(_TINTS))
    noise = Image.new("L", (_GROUND, _GROUND), 128)
    for cells, share in ((5, 0.5), (17, 0.3), (200, 0.15)):
        grain = (max(2, cells // 8), cells) if kind == "bark" else (cells, cells)
        coarse = Image.frombytes("L", grain, rng.randbytes(grain[0] * grain[1]))
        noise = Image.blend(noise, coarse.resize(noise.size, Image.Resampling.BICUBIC), share)
    tint = _shift(rng, rng.choice(_TINTS[kind]), 14)
    ground = ImageOps.colorize(noise, (24, 20, 16), (255, 250, 240), tint)

    pen = ImageDraw.Draw(ground)
    middle = _GROUND // 2
    x, y = (middle + rng.randint(-80, 80) for _ in range(2))
    match kind:
        case "leaf":  # its veins
            vein, gap = _shift(rng, (168, 190, 120), 20), rng.randint(36, 60)
            pen.line((0, y, _GROUND, y), vein, 4)
            for root in range(-_GROUND, _GROUND, gap):
                for side in (-1, 1):
                    pen.line((root, y, root + _GROUND, y + side * 1.2 * _GROUND), vein, 2)
        case "cloth":  # checked
            stripes, check = Image.new("L", ground.size), rng.randint(25, 55)
            for start in range(0, _GROUND, 2 * check):
                ImageDraw.Draw(stripes).rectangle((start, 0, start + check, _GROUND), 130)
            dye = _shift(rng, rng.choice(_PETALS), 20)
            ground.paste(dye, mask=stripes)
            ground.paste(dye, mask=stripes.rotate(90))
        case "flower":
            count, length, tint = rng.randint(6, 12), rng.uniform(75, 105), rng.choice(_PETALS)
            for index in range(count):
                petal = Image.new("RGBA", ground.size)
                oval = _oval(middle + length, middle, length, rng.uniform(24, 40))
                ImageDraw.Draw(petal).ellipse(oval, _shift(rng, tint, 12), (110, 90, 80))
                petal = petal.rotate(360 * index / count, translate=(x - middle, y - middle))
                ground.paste(petal, mask=petal)
            pen.ellipse(_oval(x, y, 34, 34), _shift(rng, (160, 116, 44), 30))
        case "bark":  # its cracks
            for _ in range(rng.randint(8, 18)):
                start, end, y = (rng.randint(0, _GROUND) for _ in range(3))
                crack = [(along, y + rng.randint(-5, 5)) for along in range(start, end, 15)]
                pen.line(crack, (46, 38, 30), 3, "curve")
        case "paving":  # its joints
            pen.line((x, 0, x, _GROUND), (74, 70, 64), 6)
            pen.line((0, y, _GROUND, y), (74, 70, 64), 6)
    # Litter: petals and scraps of leaf, each with its shadow.
    for _ in range(rng.randint(30, 60) if kind == "sand" else rng.randint(0, 6)):
        x, y, length, width = (rng.randint(1, most) for most in (_GROUND, _GROUND, 12, 12))
        colour = _shift(rng, rng.choice(_PETALS + _GREENS), 20)
        pen.ellipse(_oval(x + 2, y + 2, length, width), (40, 36, 30))
        pen.ellipse(_oval(x, y, length, width), colour)
    ground = ground.rotate(rng.uniform(0, 360))
    left, top = middle - size[0] // 2, middle - size[1] // 2
    ground = ground.crop((left, top, left + size[0], top + size[1]))
    # A lens so near its subject leaves what is behind it out of focus.
    return ground.filter(ImageFilter.GaussianBlur(rng.uniform(0.5, 1.5)))


def _rounded(insect: Image.Image) -> Image.Image:
    # What is round is brightest along its middle, and shines a little on one side.
    alpha = insect.getchannel("A")
    depth = alpha.filter(ImageFilter.BoxBlur(22))
    shine = ImageChops.subtract(depth, ImageChops.offset(depth, -8, 24))
    body = ImageChops.multiply(insect.convert("RGB"), depth.convert("RGB"))
    body.paste((255, 250, 235), mask=ImageChops.multiply(shine, alpha))
    body.putalpha(alpha)
    return body


def _oval(x: float, y: float, length: float, width: float) -> tuple[float, float, float, float]:
    # The box of an ellipse, from its middle and half its extent.
    return x - length, y - width, x + length, y + width


def _shift(rng: random.Random, colour: Colour, spread: int) -> Colour:
    return tuple(min(255, max(0, level + rng.randint(-spread, spread))) for level in colour)


if __name__ == "__main__":
    raise SystemExit(main())
