"""Train by the recipe of PyTorch's transfer-learning tutorial and by train.py, side by side.

    python benchmarks/training.py --data data --weights FILE

Both begin with the same weights and see the same pictures, each seed in a process of its own, one
after the other. Before each comes a process of one epoch that is not measured, so that libraries
and pictures are in the system's memory, however long the one before took. Options of both, such as
`--epochs`, are handed on. Prints a table, then one JSON line: `top1`, the share of the validation
pictures that the best epoch gets right, 0 to 1; `epoch`, that one, counted from 1; `seconds` from
the start of the process to the best checkpoint on the disk, and `total_seconds` to its end;
`pictures_per_second` that it trains on, in the median of the second half of the epochs; `peak_mb`,
the largest resident size of the training process, in MiB; the recipe's four loading processes come
on top.

    python benchmarks/training.py --weights FILE --try "--lr 0.01" --try "--freeze none"

compares recipes instead, each of them options of train.py, by cross-validation on the training
pictures; validation pictures stay unseen. Each is trained on four fifths of the pictures and
measured on the rest, five times, in processes of one thread each, as many at once as there are
cores. `top1` is of the last epoch, over all pictures, 0 to 1; `best_top1` of each fold's best
epoch, flattered by the choice; `loss` the last epoch's cross-entropy, in nats; `spread` the
standard deviation of a fold's `top1`; `seconds` that a training's epochs took.
"""

import argparse
import json
import os
import random
import shlex
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from antbee.machine import cores

HERE: Final = Path(__file__).resolve().parent
COMMANDS: Final[dict[str, list[Any]]] = {
    "tutorial": [HERE / "tutorial.py"],
    "antbee": [HERE.parent / "train.py", "--bento", "no"],
}
FOLDS: Final = 5
FOLDS_ROW: Final = (
    "{top1:10.1%}  {spread:13.1%}  {best_top1:10.1%}  {loss:5.3f}  {seconds:7.0f}  {recipe}"
)
ROW: Final = (
    "{who:9} {seed:5} {top1:10.1%} {epoch:6} {seconds:10.0f} {total_seconds:8.0f} "
    "{pictures_per_second:11.1f} {peak_mb:9.0f}"
)


def main(argv: Sequence[str] | None = None) -> int:
    """Train by both, print the table and the JSON line, and return the exit code."""
    parser = argparse.ArgumentParser(description="The tutorial's recipe against train.py.")
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--weights", required=True, help="a ResNet-18 state dict")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--try", dest="recipes", action="append", help='"" is the default')
    options, more = parser.parse_known_args(argv)
    if options.recipes:
        return cross_validate(options, more)

    print("           seed  best top-1  epoch  to best s  total s  pictures/s  peak MiB")
    runs = []
    for seed in map(int, options.seeds.split(",")):
        for who, program in COMMANDS.items():
            command = [*program, "--data", options.data, "--weights", options.weights, *more]
            command += ["--seed", seed]
            with tempfile.TemporaryDirectory() as folder:
                train([*command, "--epochs", 1], Path(folder))
            with tempfile.TemporaryDirectory() as folder:
                began = time.time()
                peak = train(command, Path(folder))
                ended = time.time()
                saved = next(Path(folder).rglob("best.pt")).stat().st_mtime
                epochs = read_metrics(Path(folder))
            # As train.py decides between epochs that are equally right; the recipe keeps the first.
            top = max(epochs, key=lambda one: (one["val_top1"], -one.get("val_loss", 0.0)))
            speeds = [one["pictures_per_second"] for one in epochs]
            run = {
                "who": who,
                "seed": seed,
                "top1": top["val_top1"],
                "epoch": top["epoch"],
                "seconds": saved - began,
                "total_seconds": ended - began,
                "pictures_per_second": statistics.median(speeds[len(speeds) // 2 :]),
                "peak_mb": peak,
            }
            print(ROW.format(**run), flush=True)
            runs.append(run)

    means = {}
    for who in COMMANDS:
        own = [run for run in runs if run["who"] == who]
        numbers = [name for name in own[0] if name not in {"who", "seed"}]
        means[who] = {name: statistics.fmean(run[name] for run in own) for name in numbers}
    ours, theirs = means["antbee"], means["tutorial"]
    print(
        f"\nantbee is {100 * (ours['top1'] - theirs['top1']):+.1f} points, takes "
        f"1/{theirs['seconds'] / ours['seconds']:.1f} of the time to the best checkpoint "
        f"(1/{theirs['total_seconds'] / ours['total_seconds']:.1f} to the end), and trains on "
        f"{ours['pictures_per_second'] / theirs['pictures_per_second']:.1f} times as many "
        "pictures a second"
    )
    print("\n" + json.dumps({"means": means, "runs": runs}))
    return 0


def cross_validate(options: argparse.Namespace, more: Sequence[str]) -> int:
    """Run every recipe on every fold, print the table and the JSON line, return the exit code."""
    os.environ["OMP_NUM_THREADS"] = "1"  # of the processes that train

    def measure(recipe: str, fold: Path) -> list[dict[str, Any]]:
        with tempfile.TemporaryDirectory() as out:
            command = [*COMMANDS["antbee"], "--weights", options.weights, *shlex.split(recipe)]
            train([*command, *more, "--data", fold], Path(out))
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
        for recipe in options.recipes:
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
            print(FOLDS_ROW.format(**result), flush=True)
            results.append(result)
    print("\n" + json.dumps({"folds": FOLDS, "runs": results}))
    return 0


def train(program: Sequence[object], folder: Path) -> float:
    """Run a Python program that trains into a folder; return its peak resident size in MiB.

    Raises:
        SystemExit: it failed; with what it printed.
    """
    command = [sys.executable, *map(str, program), "--out", str(folder)]
    log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT)
    where = [(os.POSIX_SPAWN_DUP2, log, 1), (os.POSIX_SPAWN_DUP2, log, 2)]
    process = os.posix_spawn(command[0], command, os.environ, file_actions=where)
    _, status, usage = os.wait4(process, 0)
    os.close(log)
    if status != 0:
        raise SystemExit(f"{command} failed:\n" + (folder / "log").read_text())
    # Linux counts in KiB, macOS in bytes.
    return usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """Read a line for each epoch of the run that is somewhere in a folder."""
    lines = next(folder.rglob("metrics.jsonl")).read_text().splitlines()
    return [json.loads(line) for line in lines]


if __name__ == "__main__":
    raise SystemExit(main())
