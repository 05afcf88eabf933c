"""Train on pictures of which one label has an eighth, in several ways, and compare.

    python benchmarks/unequal.py --data data --weights FILE --try= --try=--balance

Each way is options of train.py, and is measured on the validation pictures, or with `--folds 3` by
cross-validation on the training pictures: on each third in turn, of which nothing is cut, after
training on the rest, of which an eighth of one label is left. The labels take turns in being cut,
seed by seed. Other options are handed on to train.py. All numbers are of the last epoch, which
nobody chose.

Prints a table, then one JSON line, in the mean of all trainings: `top1`, `balanced` (the mean of
the labels' recalls), `small` and `large` (the recall of the label that was cut, and of the others),
0 to 1; `spread`, the standard deviation of a training's `balanced`; `before` and `after`, the
expected calibration error, 0 to 1, at temperature 1 and cross-validated at the one that packing
fits. Those whose names end in `_unequal` are the same where the small label is as rare among the
pictures measured as it was among those trained on: every picture of the others counts eight times.
There `confidence` is the mean probability of answers of the small label and `precision` how many
of those are right, 0 to 1.
"""

import argparse
import json
import random
import shlex
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch

from antbee.calibration import calibrate, softmax
from antbee.images import Preprocessing, configure_pillow
from antbee.machine import keep_memory
from antbee.training.checkpoint import load_checkpoint
from antbee.training.data import find_pictures
from antbee.training.folder import LAST
from antbee.training.network import restore_model
from antbee.training.report.measure import Answers, answer
from sizes import train_here

CUT: Final = 8
NAMES: Final = (
    "top1", "balanced", "spread", "small", "large", "before", "after",
    "top1_unequal", "before_unequal", "after_unequal", "confidence", "precision",
)  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Train in every way, print the table and the JSON line, and return the exit code."""
    parser = argparse.ArgumentParser(description="Ways to train on unequal labels, compared.")
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--weights", required=True, help="a ResNet-18 state dict")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--folds", type=int, default=0, help="0 for the validation pictures")
    parser.add_argument("--try", dest="recipes", action="append", required=True)
    options, more = parser.parse_known_args(argv)
    configure_pillow()
    keep_memory()

    results = []
    print("  ".join((*(f"{name:>9.9}" for name in NAMES), "recipe")))
    for recipe in options.recipes:
        runs = []
        for seed in map(int, options.seeds.split(",")):
            with tempfile.TemporaryDirectory() as temporary:
                for data in folds(options, seed, Path(temporary)):
                    given = ["--weights", options.weights, "--data", data, "--seed", seed]
                    run = train_here([*given, *shlex.split(recipe), *more], data / "runs")
                    runs.append(measure(run / LAST, data, seed))
                    print(json.dumps(runs[-1]), file=sys.stderr, flush=True)
        result = {name: statistics.fmean(run[name] for run in runs) for name in runs[0]}
        result["spread"] = statistics.stdev(run["balanced"] for run in runs)
        print(
            "  ".join((*(f"{result[name]:9.1%}" for name in NAMES), recipe or "default")),
            flush=True,
        )
        results.append({"recipe": recipe or "default", **result, "runs": runs})
    print("\n" + json.dumps(results))
    return 0


def folds(options: argparse.Namespace, seed: int, folder: Path) -> Iterator[Path]:
    """Yield folders of links: an eighth of one label to train on, and others to measure on."""
    train_on, measure_on = (
        find_pictures(options.data / split).by_label() for split in ("train", "val")
    )
    small = list(train_on)[seed % len(train_on)]
    for number in range(options.folds or 1):
        target = folder / f"data{number}"
        for label, pictures in train_on.items():
            paths = [picture.path for picture in pictures]
            random.Random(seed).shuffle(paths)  # noqa: S311 - nothing secret
            held = [picture.path for picture in measure_on[label]]
            if options.folds:
                held = paths[number :: options.folds]
                paths = [path for path in paths if path not in held]
            for split, links in (
                ("train", paths[: len(paths) // CUT] if label == small else paths),
                ("val", held),
            ):
                (target / split / label).mkdir(parents=True)
                for path in links:
                    (target / split / label / path.name).symlink_to(path.resolve())
        yield target


def measure(path: Path, data: Path, seed: int) -> dict[str, float]:
    """Ask a checkpoint's network about the pictures to measure on."""
    checkpoint = load_checkpoint(path)
    network = restore_model(checkpoint).eval()
    preprocessing = Preprocessing.of_size(checkpoint.arguments["size"])
    val = find_pictures(data / "val").pictures
    answers = answer(network, val, torch.device("cpu"), preprocessing)
    small = seed % len(checkpoint.labels)
    right = answers.labels == answers.truth
    recalls = [right[answers.truth == label].mean() for label in range(len(checkpoint.labels))]
    often = np.repeat(np.arange(len(val)), np.where(answers.truth == small, 1, CUT))
    unequal = Answers([val[index] for index in often], answers.logits[often])
    # At the temperature that is fitted on pictures that come so.
    probabilities = softmax(unequal.logits, unequal.calibration.temperature)
    said = unequal.labels == small
    calibration = calibrate(answers.logits, answers.truth)
    return {
        "top1": float(right.mean()),
        "balanced": statistics.fmean(recalls),
        "small": float(recalls[small]),
        "large": statistics.fmean(recalls[:small] + recalls[small + 1 :]),
        "before": calibration.ece_before or 0.0,
        "after": calibration.ece_cross_validated or 0.0,
        "top1_unequal": float((unequal.labels == unequal.truth).mean()),
        "before_unequal": unequal.calibration.ece_before or 0.0,
        "after_unequal": unequal.calibration.ece_after or 0.0,
        "confidence": float(probabilities[said, small].mean()) if said.any() else 0.0,
        "precision": float((unequal.truth[said] == small).mean()) if said.any() else 0.0,
    }


if __name__ == "__main__":
    raise SystemExit(main())
