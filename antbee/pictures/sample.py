"""Draws a small set of pictures that a network can learn from nothing within minutes, on a CPU.

The same arguments give the same bytes, in any process. `get_data.sh` calls this, and knows what
the two kinds of insect are called.
"""

import argparse
import io
import math
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from PIL import Image

from antbee.command import DONE, run
from antbee.pictures.drawing import OVERSAMPLING, Pose, draw_flyer, draw_walker
from antbee.pictures.scenery import cast_shadow, draw_ground, light, photograph
from antbee.pictures.staging import check_label, note_source, report, staged

COUNTS: Final = {"train": 40, "val": 20}
"""Pictures of each label."""

SIZES: Final = ((320, 240), (320, 256), (288, 288), (256, 320))
"""Of pictures, in pixels."""

Draw = Callable[[random.Random, tuple[int, int], Pose], Image.Image]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = _make_parser()
    options = parser.parse_args(argv)
    if options.walker == options.flyer:
        parser.error(f"both kinds cannot be called {options.walker}")
    kinds: dict[str, Draw] = {options.walker: draw_walker, options.flyer: draw_flyer}
    return run(lambda: draw_sample(options.folder, kinds, options.seed))


def draw_sample(folder: Path, kinds: dict[str, Draw], seed: int) -> int:
    """Fill a missing or empty folder with `train/<label>/` and `val/<label>/`.

    Args:
        folder: the folder.
        kinds: what to draw for each label.
        seed: another one gives other pictures.

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
        note_source(stage, f"a drawn sample set, seed {seed}")
    report(folder)
    return DONE


def draw_picture(rng: random.Random, draw: Draw) -> bytes:
    """Draw one insect on some ground in some light; return a JPEG file."""
    size = rng.choice(SIZES)
    picture = draw_ground(rng, size)
    large = (size[0] * OVERSAMPLING, size[1] * OVERSAMPLING)
    insect = draw(rng, large, _strike_pose(rng, large)).resize(size, Image.Resampling.BOX)
    cast_shadow(rng, picture, insect)
    picture.paste(insect, mask=insect)
    file = io.BytesIO()
    photograph(rng, light(rng, picture)).save(file, "JPEG", quality=82)
    return file.getvalue()


def _strike_pose(rng: random.Random, size: tuple[int, int]) -> Pose:
    return Pose(
        middle=(size[0] * rng.uniform(0.42, 0.58), size[1] * rng.uniform(0.42, 0.58)),
        reach=min(size) * rng.uniform(0.36, 0.47),
        heading=rng.uniform(0, math.tau),
        squash=rng.uniform(0.8, 1),
    )


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m antbee.pictures.sample", description=__doc__)
    parser.add_argument("folder", type=Path, help="a missing or empty folder")
    parser.add_argument(
        "--walker", required=True, type=check_label, help="label of the wingless kind"
    )
    parser.add_argument(
        "--flyer", required=True, type=check_label, help="label of the striped, winged kind"
    )
    parser.add_argument("--seed", type=int, default=0, help="another one draws other pictures (0)")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
