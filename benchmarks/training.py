"""Train by train.py and by its peers, side by side, from the same weights and pictures.

    make trainers
    python benchmarks/training.py --data data --weights FILE

The peers are the programs in `trainers/`, each of which says where its recipe is from: fastai,
timm, Ultralytics and PyTorch's tutorial. They run in `.venv-trainers`; what is not installed there
is left out, and said. Ours runs in this virtual environment. Each seed is a process of its own, one
after the other; before the first comes one of one epoch that is not measured, so that libraries and
pictures are in the system's memory.

The number of epochs in a documentation is for its own pictures: fastai's quick start has 1, timm's
example 30, Ultralytics' 100. `--epochs` is what those three get, 10 as train.py has;
`--epochs documented` gives each its own.

Prints a table, then one JSON line: `best_top1` and `last_top1`, the share of the validation
pictures that the best and the last epoch get right, 0 to 1; `epoch`, the best one, counted from 1;
`seconds` from the start of the process to the best checkpoint on the disk, `total_seconds` to its
end, and `cpu_seconds` of all its processes; `pictures_per_second` that it trains on, in the median
of the second half of the epochs (Ultralytics' have validation in them); `peak_mb`, megabytes of all
its processes, once what they share. `differences` are ours less the peer's top-1, in
points, for each seed.

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
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from antbee.machine import cores
from usage import measure

HERE: Final = Path(__file__).resolve().parent
TRAIN: Final = (sys.executable, HERE.parent / "train.py", "--bento", "no")
PYTHON: Final = HERE.parent / ".venv-trainers" / "bin" / "python"
PEERS: Final = {
    "fastai": ("fastai", "fastai_tune.py"),
    "timm": ("timm", "timm_train.py"),
    "ultralytics": ("ultralytics", "ultralytics_classify.py"),
    "tutorial": ("torchvision", "tutorial.py"),
}
"""What each is installed as, and its program."""
OURS: Final = "antbee"
DOCUMENTED: Final = "documented"
FOLDS: Final = 5
FOLDS_ROW: Final = (
    "{top1:10.1%}  {spread:13.1%}  {best_top1:10.1%}  {loss:5.3f}  {seconds:7.0f}  {recipe}"
)
TITLE: Final = (
    "             seed  best top-1  epoch  last top-1  to best s  total s  CPU s  pictures/s  "
    "peak MB"
)
ROW: Final = (
    "{who:11} {seed:>5} {best_top1:11.1%} {epoch:6.3g} {last_top1:11.1%} {seconds:10.1f} "
    "{total_seconds:8.1f} {cpu_seconds:6.0f} {pictures_per_second:11.1f} {peak_mb:9.0f}"
)


def main(argv: Sequence[str] | None = None) -> int:
    """Train by all, print the table and the JSON line, and return the exit code."""
    parser = argparse.ArgumentParser(description="train.py beside its peers.")
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--weights", required=True, help="a ResNet-18 state dict")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--peers", default=",".join(PEERS), help="which of them (%(default)s)")
    parser.add_argument(
        "--epochs", default="10", help=f"of fastai, timm, Ultralytics; {DOCUMENTED}"
    )
    parser.add_argument("--try", dest="recipes", action="append", help='"" is the default')
    options, more = parser.parse_known_args(argv)
    if options.recipes:
        return cross_validate(options, more)

    commands = {OURS: [*TRAIN, *more]}
    for name in options.peers.split(","):
        package, program = PEERS[name]
        if is_installed(package):
            limit = [] if options.epochs == DOCUMENTED else ["--epochs", options.epochs]
            commands[name] = [PYTHON, HERE / "trainers" / program]
            commands[name] += [] if name == "tutorial" else limit
        else:
            print(f"{name} is left out: {package} is not in .venv-trainers (make trainers)")
    shared = ["--data", options.data, "--weights", options.weights]
    for command in commands.values():
        train([*command, *shared, "--seed", 0, "--epochs", 1])

    print(TITLE)
    runs: dict[str, list[dict[str, Any]]] = {who: [] for who in commands}
    for seed in options.seeds.split(","):
        for who, command in commands.items():
            run = train([*command, *shared, "--seed", seed])
            print(ROW.format(who=who, seed=seed, **run), flush=True)
            runs[who].append(run)
    means = {
        who: {name: statistics.fmean(run[name] for run in own) for name in own[0]}
        for who, own in runs.items()
    }
    for who, mean in means.items():
        print(ROW.format(who=who, seed="mean", **mean))
    differences = {}
    for who in commands:
        if who != OURS:
            differences[who] = compare(runs[OURS], runs[who])
            print(describe(who, differences[who], means[OURS], means[who]))
    print("\n" + json.dumps({"means": means, "differences": differences, "runs": runs}))
    return 0


def is_installed(package: str) -> bool:
    """Tell whether the peers' virtual environment has a package."""
    search = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({package!r}) is None)"
    try:
        return subprocess.run([PYTHON, "-c", search], check=False).returncode == 0  # noqa: S603
    except OSError:
        return False


def train(command: Sequence[object]) -> dict[str, Any]:
    """Train once, in a folder that is then thrown away; return what the module says of a run.

    Raises:
        SystemExit: it failed; with what it printed.
    """
    with tempfile.TemporaryDirectory() as temporary:
        folder, log = Path(temporary, "out"), Path(temporary, "log")
        folder.mkdir()
        used = measure([*command, "--out", folder], log)
        saved = next(folder.rglob("best.pt")).stat().st_mtime
        epochs = read_metrics(folder)
    # As train.py decides between epochs that are equally right; peers keep the first.
    top = max(epochs, key=lambda one: (one["val_top1"], -one.get("val_loss", 0.0)))
    speeds = [one["pictures_per_second"] for one in epochs]
    return {
        "best_top1": top["val_top1"],
        "epoch": top["epoch"],
        "last_top1": epochs[-1]["val_top1"],
        "seconds": saved - used.began,
        "total_seconds": used.seconds,
        "cpu_seconds": used.cpu_seconds,
        "pictures_per_second": statistics.median(speeds[len(speeds) // 2 :]),
        "peak_mb": used.peak_mb,
    }


def compare(
    ours: Sequence[dict[str, Any]], theirs: Sequence[dict[str, Any]]
) -> dict[str, list[float]]:
    """Differences of top-1 in points, ours less theirs, of the best and of the last epochs."""
    return {
        name: [100 * (one[name] - other[name]) for one, other in zip(ours, theirs, strict=True)]
        for name in ("best_top1", "last_top1")
    }


def describe(
    who: str,
    differences: dict[str, list[float]],
    ours: dict[str, float],
    theirs: dict[str, float],
) -> str:
    """Say in a line how ours compares with a peer."""
    points = [
        f"{statistics.fmean(row):+.1f} ({', '.join(f'{one:+.1f}' for one in row)})"
        for row in differences.values()
    ]
    return (
        f"antbee less {who}: best {points[0]} points, last {points[1]}; "
        f"{ours['seconds'] / theirs['seconds']:.2f} of its time to the best checkpoint, "
        f"{ours['total_seconds'] / theirs['total_seconds']:.2f} to the end, "
        f"{ours['cpu_seconds'] / theirs['cpu_seconds']:.2f} of its processor time"
    )


def cross_validate(options: argparse.Namespace, more: Sequence[str]) -> int:
    """Run every recipe on every fold, print the table and the JSON line, return the exit code."""
    os.environ["OMP_NUM_THREADS"] = "1"  # of the processes that train

    def validate(recipe: str, fold: Path) -> list[dict[str, Any]]:
        with tempfile.TemporaryDirectory() as out:
            command = [*TRAIN, "--weights", options.weights, *shlex.split(recipe), *more]
            measure([*command, "--data", fold, "--out", out], Path(out, "log"))
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
            runs = list(pool.map(validate, [recipe] * FOLDS, folds))
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


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """Read a line for each epoch of the run that is somewhere in a folder."""
    lines = next(folder.rglob("metrics.jsonl")).read_text().splitlines()
    return [json.loads(line) for line in lines]


if __name__ == "__main__":
    raise SystemExit(main())
