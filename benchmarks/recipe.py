"""Compare recipes by cross-validation on the training pictures; validation pictures stay unseen.

    python benchmarks/recipe.py --data data --weights FILE --try "--lr 0.01" --try features.VIEWS=4

A recipe is what differs from the default: options of train.py, and constants of antbee.training.
Every recipe is trained on all folds but one and measured on that one, by train.py, in processes of
one thread each, as many at once as there are cores. Prints a table, then one JSON line: `top1` is
of the last epoch, over all pictures, 0 to 1; `best_top1` of each fold's best epoch, flattered by
the choice; `loss` the last epoch's cross-entropy, in nats; `spread` the standard deviation of a
fold's `top1`; `seconds` of a training, their mean.
"""

import argparse
import importlib
import json
import os
import random
import re
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from antbee.machine import cores

CONSTANT: Final = re.compile(r"([a-z_.]+)\.([A-Z_]+)=(.*)")
ROW: Final = (
    "{top1:10.1%}  {spread:13.1%}  {best_top1:10.1%}  {loss:5.3f}  {seconds:7.0f}  {recipe}"
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run every recipe on every fold, print the table and the JSON line, return the exit code."""
    words = sys.argv[1:] if argv is None else list(argv)
    if words[:1] == ["--train"]:
        return train(words[1:])
    parser = argparse.ArgumentParser(description="Compare recipes by cross-validation.")
    add = parser.add_argument
    add("--data", type=Path, default=Path("data"))
    add("--weights", required=True, help="as train.py takes them")
    add("--folds", type=int, default=5)
    add("--seeds", default="0", type=lambda text: text.split(","), help="of train.py: 0,1,2")
    add("--try", dest="recipes", action="append", metavar="RECIPE", help='"" is the default')
    options = parser.parse_args(words)

    results = []
    print("top-1 last  fold's spread  best epoch   loss  seconds  recipe")
    with tempfile.TemporaryDirectory() as temporary:
        folds = make_folds(options.data, Path(temporary), options.folds)
        for recipe in options.recipes or [""]:
            jobs = [(recipe, one, seed, options.weights) for one in folds for seed in options.seeds]
            with ThreadPoolExecutor(cores()) as pool:
                runs, seconds = zip(*pool.map(start, jobs), strict=True)
            pictures = [len(list(fold.glob("val/*/*"))) for _, fold, _, _ in jobs]
            last = [run[-1]["val_top1"] for run in runs]
            best = [max(epoch["val_top1"] for epoch in run) for run in runs]
            result = {
                "recipe": recipe or "default",
                "top1": statistics.fmean(last, pictures),
                "best_top1": statistics.fmean(best, pictures),
                "loss": statistics.fmean([run[-1]["val_loss"] for run in runs], pictures),
                "spread": statistics.stdev(last),
                "seconds": statistics.fmean(seconds),
            }
            print(ROW.format(**result), flush=True)
            results.append(result)
    print("\n" + json.dumps({"folds": options.folds, "runs": results}))
    return 0


def make_folds(data: Path, target: Path, count: int) -> list[Path]:
    """Link the training pictures into `count` data sets, each with another part to validate on."""
    folders = [target / str(fold) for fold in range(count)]
    for label in sorted((data / "train").glob("[!.]*/")):
        pictures = sorted(label.glob("[!.]*"))
        random.Random(0).shuffle(pictures)  # noqa: S311 - nothing secret
        for number, picture in enumerate(pictures):
            for fold, folder in enumerate(folders):
                split = "val" if number % count == fold else "train"
                link = folder / split / label.name / picture.name
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(picture.resolve())
    return folders


def start(job: tuple[str, Path, str, str]) -> tuple[list[dict[str, Any]], float]:
    """Train in a process of its own; return the lines of metrics.jsonl, and the seconds it took."""
    recipe, data, seed, weights = job
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as out:
        fixed = ["--data", str(data), "--weights", weights, "--seed", seed, "--out", out]
        done = subprocess.run(  # noqa: S603 - this file
            [sys.executable, __file__, "--train", *shlex.split(recipe), *fixed],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise SystemExit(f"training failed with {recipe!r}:\n{done.stderr}")
        lines = next(Path(out).glob("*/metrics.jsonl")).read_text().splitlines()
    return [json.loads(line) for line in lines], time.monotonic() - began


def train(words: list[str]) -> int:
    """Train by a recipe, in this process, and write no report."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    given = []
    for word in words:
        if found := CONSTANT.fullmatch(word):
            module, constant, value = found.groups()
            owner = importlib.import_module(f"antbee.training.{module}")
            if not hasattr(owner, constant):
                raise SystemExit(f"there is no antbee.training.{module}.{constant}")
            setattr(owner, constant, json.loads(value))
        else:
            given.append(word)
    report = importlib.import_module("antbee.training.report.write")
    setattr(report, "try_report", lambda *_: None)  # noqa: B010
    code: int = importlib.import_module("train").main([*given, "--bento", "no"])
    return code


if __name__ == "__main__":
    raise SystemExit(main())
