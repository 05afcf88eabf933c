"""How well pictures of none of the labels are told, and how often a true one is refused.

    python benchmarks/typicality.py --model FOLDER --others FOLDER --data FOLDER

`--others` holds photographs of other things, one of each kind, their names beginning with WordNet's
numbers as in ImageNet. Half of them, by kind, make the bank and the other half is told; twice, with
the halves exchanged, and twice again with other halves. Insects, or other animals, are counted for
themselves. What is drawn here is drawn otherwise than what the bank has. Without `--data`, four
kinds of the photographs' own animals are the labels. As in packing, the boundary is float32's, and
every runtime's vectors are told by it.

Prints a table, then one JSON line, in per cent: the area under the ROC curve (AUROC), other things
that are taken for known where 95 % of the true pictures are (FPR95), and what is refused.
"""

import argparse
import io
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from antbee.artifact import POOLED, read_model
from antbee.command import progress_bar, say, table
from antbee.errors import ImageError
from antbee.images import IMAGENET, configure_pillow, read_array, read_picture
from antbee.packing.bank import read_bank
from antbee.predictor import Predictor, load_predictor
from antbee.typicality import UNKNOWN_BELOW, Scores, Vectors, cross_scores, fit, typicality

INSECTS: Final = ("n02165105", "n02281787")
"""From tiger beetle to lycaenid: what looks like ants and bees."""
ALL_ANIMALS: Final = ("n01440764", "n02655020")
"""From tench to puffer: what looks like animals."""
ANIMALS: Final = {
    "dog": ("n02085620", "n02113978"),
    "bird": ("n01514668", "n01622779"),
    "reptile": ("n01629819", "n01756291"),
    "beast of prey": ("n02114367", "n02138441"),
}
SPLITS: Final = 100
DRAWN: Final = 60
"""Pictures of each kind that is drawn here."""
SIDE: Final = 300

RUNTIMES_TOLD: Final = ("onnx", "int8")
"""The first one's vectors are what the boundary is fitted to."""

Flags = NDArray[np.bool_]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit code."""
    parser = argparse.ArgumentParser(description="How well other things are told.")
    add = parser.add_argument
    add("--model", type=Path, required=True, help="a packed model's folder")
    add("--others", type=Path, required=True, help="photographs of other things")
    add("--data", type=Path, help="pictures of labels, in train/ and val/")
    options = parser.parse_args(argv)
    configure_pillow()
    model = read_model(options.model)
    if model.pooled is None:
        parser.error(f"nothing was frozen in {options.model}")
    drawn_bank = read_bank(model.pooled).drawn
    paths = sorted(options.others.rglob("*.jpg"))
    numbers = np.array([path.name.partition("_")[0] for path in paths])
    result: dict[str, Any] = {}
    mine = np.any([between(numbers, *ends) for ends in ANIMALS.values()], 0)
    free, alike = (np.ones(len(paths), bool), INSECTS) if options.data else (~mine, ALL_ANIMALS)
    near = between(numbers[free], *alike)
    inside = bank = np.empty((0, 0), np.float32)
    for runtime in RUNTIMES_TOLD:
        predictor = load_predictor(model, runtime)
        others = pool(predictor, map(read_picture, paths), len(paths))
        if options.data:
            train, val = (of_folder(predictor, options.data / one) for one in ("train", "val"))
        else:
            train, val = others[mine][::2], others[mine][1::2]
        if runtime == RUNTIMES_TOLD[0]:
            inside, bank = train, others[free]
        drawn = {
            kind.__name__: pool(predictor, draw(kind), DRAWN)
            for kind in (noise, colours, page, shapes)
        }
        result[runtime] = {
            "groups": tell(inside, bank, val, others[free], near, drawn_bank, drawn),
            "true_refused": promise(inside, bank, val, drawn_bank),
        }
    groups = next(iter(result.values()))["groups"]
    columns = [f"{name} {what}" for name in result for what in ("AUROC", "FPR95", "refused")]
    rows = [
        (name, *(f"{one:.1f}" for found in result.values() for one in found["groups"][name]))
        for name in groups
    ]
    say(table(("", *columns), rows))
    for runtime, found in result.items():
        say(f"{runtime}: true pictures refused, %: {found['true_refused']}")
    print(json.dumps(result))
    return 0


def between(numbers: NDArray[np.str_], first: str, last: str) -> Flags:
    """Say which of WordNet's numbers lie between two, both of them included."""
    return np.array([first <= number <= last for number in numbers.tolist()])


def of_folder(predictor: Predictor, folder: Path) -> Vectors:
    """Take the vectors of all pictures in a folder and below it."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return pool(predictor, map(read_picture, paths), len(paths))


def pool(predictor: Predictor, files: Iterable[bytes], count: int) -> Vectors:
    """Take the vectors of files, [N, channels]; what is no picture is left out."""
    found = []
    with progress_bar("looking", count) as bar:
        for data in files:
            bar.update(1)
            try:
                array = read_array(data, IMAGENET)
            except ImageError as error:
                say(f"left out: {error}")
                continue
            found.append(predictor.outputs(array[np.newaxis], (POOLED,))[0][0])
    return np.stack(found)


def tell(
    train: Vectors,
    bank: Vectors,
    val: Vectors,
    others: Vectors,
    near: Flags,
    drawn_bank: Vectors,
    drawn: dict[str, Vectors],
) -> dict[str, list[float]]:
    """Tell each group of other things from the validation pictures; means over four halves.

    `bank` and `others` are of the same pictures: half of the first is learned from, and the other
    half of the second is told.
    """
    found: dict[str, list[tuple[float, float, float]]] = {}
    for half in halves(len(others), 2):
        boundary = fit(train, bank[half], drawn_bank)
        known = boundary.scores(val)
        groups = {
            "photographs": others[~half & ~near],
            "look-alikes": others[~half & near],
            **drawn,
        }
        for name, vectors in groups.items():
            found.setdefault(name, []).append(judged(known, boundary.scores(vectors)))
    return {name: np.mean(rows, 0).tolist() for name, rows in found.items()}


def halves(count: int, times: int) -> Iterable[Flags]:
    """Divide so many at random, and give both halves; so many times."""
    generator = np.random.default_rng(0)
    for _ in range(times):
        half = generator.permutation(count) < count // 2
        yield half
        yield ~half


def judged(known: Scores, others: Scores) -> tuple[float, float, float]:
    """AUROC, FPR95, and the share of the others that is refused, in per cent."""
    lower = (others[:, np.newaxis] < known).mean() + (others[:, np.newaxis] == known).mean() / 2
    taken = (others >= np.quantile(known, 0.05)).mean()
    reference = np.sort(known).tolist()
    refused = np.mean([typicality(one, reference) <= UNKNOWN_BELOW for one in others.tolist()])
    return 100 * float(lower), 100 * float(taken), 100 * float(refused)


def promise(
    train: Vectors, bank: Vectors, val: Vectors, drawn_bank: Vectors
) -> dict[str, list[float]]:
    """Say how many true pictures are refused, in per cent, by other true pictures.

    Returns:
        `split`: of a third of the validation pictures by the rest, the mean and the 5th and 95th
        hundredth over `SPLITS` such divisions; `by_training`: of all by cross-fitted training ones.
    """
    scores = fit(train, bank, drawn_bank).scores(val)
    generator = np.random.default_rng(0)
    shares = []
    for _ in range(SPLITS):
        mixed = generator.permutation(scores)
        third = len(mixed) // 3
        reference, new = np.sort(mixed[third:]).tolist(), mixed[:third].tolist()
        shares.append(100 * np.mean([typicality(one, reference) <= UNKNOWN_BELOW for one in new]))
    crossed = np.sort(cross_scores(train, bank, drawn_bank)).tolist()
    by_training = np.mean([typicality(one, crossed) <= UNKNOWN_BELOW for one in scores.tolist()])
    ends = np.quantile(shares, [0.05, 0.95]).tolist()
    return {"split": [float(np.mean(shares)), *ends], "by_training": [100 * float(by_training)]}


def draw(kind: Callable[[np.random.Generator], Image.Image]) -> Iterable[bytes]:
    """Draw pictures of a kind, as JPEG files."""
    for number in range(DRAWN):
        file = io.BytesIO()
        kind(np.random.default_rng([7, number])).save(file, "JPEG", quality=85)
        yield file.getvalue()


def noise(rng: np.random.Generator) -> Image.Image:
    """Draw independent pixels around some grey."""
    pixels = rng.normal(rng.uniform(60, 200), rng.uniform(15, 80), (SIDE, SIDE, 3))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def colours(rng: np.random.Generator) -> Image.Image:
    """Draw one colour, or two that run into each other from one side to the other."""
    ends = rng.integers(0, 256, (2, 3))
    ends[1] = ends[rng.integers(2)]
    share = np.linspace(0, 1, SIDE)[:, np.newaxis, np.newaxis]
    return Image.fromarray(
        np.broadcast_to(ends[0] * (1 - share) + ends[1] * share, (SIDE, SIDE, 3)).astype(np.uint8)
    )


def page(rng: np.random.Generator) -> Image.Image:
    """Draw lines of figures and capitals in one or two columns, as of a bill or a book."""
    picture = Image.new("RGB", (SIDE, SIDE), "white")
    size, columns = int(rng.integers(8, 20)), int(rng.integers(1, 3))
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(size)
    for left in range(8, SIDE, SIDE // columns):
        for y in range(8, SIDE - 8, int(size * 1.5)):
            text = "".join(rng.choice(list("ABCDEFGHIKLMNOPRSTUVW0123456789   ,."), 40))
            pen.text((left, y), text[: int(SIDE / columns / size * 1.4)], "black", font)
    return picture


def shapes(rng: np.random.Generator) -> Image.Image:
    """Draw stars and rings on a ground of another colour."""
    inks = [tuple(one) for one in rng.integers(0, 256, (4, 3)).tolist()]
    picture = Image.new("RGB", (SIDE, SIDE), inks[0])
    pen = ImageDraw.Draw(picture)
    for ink in inks[1:]:
        x, y, radius = rng.uniform(60, 240), rng.uniform(60, 240), rng.uniform(20, 90)
        if rng.random() < 0.5:  # noqa: PLR2004 - a half
            box = (x - radius, y - radius, x + radius, y + radius)
            pen.ellipse(box, outline=ink, width=int(rng.integers(3, 18)))
            continue
        turns = np.arange(10) * np.pi / 5
        reach = np.where(np.arange(10) % 2, 0.4, 1) * radius
        points = np.column_stack([x + reach * np.cos(turns), y + reach * np.sin(turns)])
        pen.polygon([(float(one), float(other)) for one, other in points], ink)
    return picture


if __name__ == "__main__":
    raise SystemExit(main())
