"""Compare recipes by cross-validation on the training pictures; validation pictures stay unseen.

    python benchmarks/recipe.py --data data --weights FILE --try "--lr 0.01" --try "--freeze none"

A recipe is options of train.py. Each is trained on four fifths of the pictures and measured on the
rest, five times, in processes of one thread each, as many at once as there are cores. Prints a
table, then one JSON line: `top1` is of the last epoch, over all pictures, 0 to 1; `best_top1` of
each fold's best epoch, flattered by the choice; `loss` the last epoch's cross-entropy, in nats;
`spread` the standard deviation of a fold's `top1`; `seconds` that a training's epochs took.
"""

import argparse
import json
import os
import random
import shlex
import statistics
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from antbee.machine import cores
from training import COMMANDS, read_metrics, train

FOLDS: Final = 5
ROW: Final = (
    "{top1:10.1%}  {spread:13.1%}  {best_top1:10.1%}  {loss:5.3f}  {seconds:7.0f}  {recipe}"
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run every recipe on every fold, print the table and the JSON line, return the exit code."""
    parser = argparse.ArgumentParser(description="Compare recipes by cross-validation.")
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--weights", required=True, help="as train.py takes them")
    parser.add_argument("--try", dest="recipes", action="append", help='"" is the default')
    options = parser.parse_args(argv)
    os.environ["OMP_NUM_THREADS"] = "1"  # of the processes that train

    def measure(recipe: str, fold: Path) -> list[dict[str, Any]]:
        with tempfile.TemporaryDirectory() as out:
            command = [*COMMANDS["antbee"], "--weights", options.weights, *shlex.split(recipe)]
            train([*command, "--data", fold], Path(out))
            return read_metrics(Path(out))

    results = []
    print("top-1 last  fold's spread  best epoch   loss  seconds  recipe")
    with tempfile.TemporaryDirectory() as temporary, ThreadPoolExecutor(cores()) as pool:
        folds = [Path(temporary) / str(number) for number in range(FOLDS)]
        # Links to the training pictures; each fold has another part of them to validate on.
        for label in sorted((options.data / "train").glob("[!.]*/")):
            pictures = sorted(label.glob("[!.]*"))
            random.Random(0).shuffle(pictures)  # noqa: S311 - nothing secret
            for number, picture in enumerate(pictures):
                for fold in folds:
                    split = "val" if fold == folds[number % FOLDS] else "train"
                    link = fold / split / label.name / picture.name
                    link.parent.mkdir(parents=True, exist_ok=True)
                    link.symlink_to(picture.resolve())
        counts = [len(list(fold.glob("val/*/*"))) for fold in folds]
        for recipe in options.recipes or [""]:
            runs = list(pool.map(measure, [recipe] * FOLDS, folds))
            last = [run[-1]["val_top1"] for run in runs]
            best = [max(epoch["val_top1"] for epoch in run) for run in runs]
            result = {
                "recipe": recipe or "default",
                "top1": statistics.fmean(last, counts),
                "best_top1": statistics.fmean(best, counts),
                "loss": statistics.fmean([run[-1]["val_loss"] for run in runs], counts),
                "spread": statistics.stdev(last),
                "seconds": statistics.fmean(sum(one["seconds"] for one in run) for run in runs),
            }
            print(ROW.format(**result), flush=True)
            results.append(result)
    print("\n" + json.dumps({"folds": FOLDS, "runs": results}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
