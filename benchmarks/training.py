"""Train by the recipe of PyTorch's transfer-learning tutorial and by train.py, side by side.

    python benchmarks/training.py --data data --weights FILE

Both begin with the same weights and see the same pictures, each seed in a process of its own, one
after the other. Before each comes a process of one epoch that is not measured, so that libraries
and pictures are in the system's memory, however long the one before took. Prints a table, then one
JSON line. Peak memory is that of the training process alone; the recipe's four loading processes
come on top.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final

HERE: Final = Path(__file__).resolve().parent
COMMANDS: Final[dict[str, list[Any]]] = {
    "tutorial": [HERE / "tutorial.py"],
    "antbee": [HERE.parent / "train.py", "--bento", "no"],
}


@dataclass
class Result:
    """What one training came to.

    Attributes:
        who: `tutorial` or `antbee`.
        seed: of the training.
        top1: share of the validation pictures that the best epoch gets right, 0 to 1.
        epoch: the best one, counted from 1.
        seconds: from the start of the process to the best checkpoint on the disk.
        total_seconds: to the end of the process.
        pictures_per_second: that it trains on, in the median of the second half of the epochs.
        peak_mb: largest resident size, in MiB.
    """

    who: str
    seed: int
    top1: float
    epoch: int
    seconds: float
    total_seconds: float
    pictures_per_second: float
    peak_mb: float


def main(argv: Sequence[str] | None = None) -> int:
    """Train by both, print the table and the JSON line, and return the exit code."""
    options = parse(argv)
    print("           seed  best top-1  epoch  to best s  total s  pictures/s  peak MiB")
    results = []
    for seed in map(int, options.seeds.split(",")):
        for who in COMMANDS:
            results.append(train(who, options, seed))
            print(row(results[-1]), flush=True)
    means = {who: mean([one for one in results if one.who == who]) for who in COMMANDS}
    print("\n" + compare(means))
    print("\n" + json.dumps({"means": means, "runs": [asdict(one) for one in results]}))
    return 0


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="The tutorial's recipe against train.py.")
    add = parser.add_argument
    add("--data", type=Path, default=Path("data"))
    add("--weights", type=Path, required=True, help="a whole or partial ResNet-18 state dict")
    add("--seeds", default="0,1,2")
    add("--epochs", help="of both (what each has by default)")
    return parser.parse_args(argv)


def train(who: str, options: argparse.Namespace, seed: int) -> Result:
    """Train in a process of its own, and measure it."""
    command = [*COMMANDS[who], "--seed", seed, "--data", options.data, "--weights", options.weights]
    with tempfile.TemporaryDirectory() as folder:
        run([*command, "--epochs", 1], Path(folder))
    if options.epochs:
        command += ["--epochs", options.epochs]
    with tempfile.TemporaryDirectory() as folder:
        began = time.time()
        peak = run(command, Path(folder))
        ended = time.time()
        best = next(Path(folder).rglob("best.pt"))
        metrics = read_metrics(best.parent)
        # As train.py decides between epochs that are equally right; the recipe keeps the first.
        top = max(metrics, key=lambda one: (one["val_top1"], -one.get("val_loss", 0.0)))
        to_best = best.stat().st_mtime - began
    speeds = [one["pictures_per_second"] for one in metrics]
    speed = statistics.median(speeds[len(speeds) // 2 :])
    return Result(who, seed, top["val_top1"], top["epoch"], to_best, ended - began, speed, peak)


def run(program: Sequence[object], folder: Path) -> float:
    """Train with runs and output in a folder; return the peak resident size in MiB."""
    command = [sys.executable, *map(str, program), "--out", str(folder)]
    log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT)
    where = [(os.POSIX_SPAWN_DUP2, log, 1), (os.POSIX_SPAWN_DUP2, log, 2)]
    process = os.posix_spawn(command[0], command, os.environ, file_actions=where)
    _, status, usage = os.wait4(process, 0)
    os.close(log)
    if status != 0:
        raise SystemExit((folder / "log").read_text())
    # Linux counts in KiB, macOS in bytes.
    return usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """Read a run's metrics.jsonl."""
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def row(result: Result) -> str:
    """Write a line of the table."""
    return (
        f"{result.who:9} {result.seed:5} {result.top1:10.1%} {result.epoch:6} "
        f"{result.seconds:10.0f} {result.total_seconds:8.0f} "
        f"{result.pictures_per_second:11.1f} {result.peak_mb:9.0f}"
    )


def mean(results: list[Result]) -> dict[str, float]:
    """Average every number over the seeds."""
    names = [field.name for field in fields(Result) if field.name not in {"who", "seed"}]
    return {name: statistics.fmean(getattr(one, name) for one in results) for name in names}


def compare(means: dict[str, dict[str, float]]) -> str:
    """Say how the means of the two compare."""
    ours, theirs = means["antbee"], means["tutorial"]
    return (
        f"antbee is {100 * (ours['top1'] - theirs['top1']):+.1f} points, takes "
        f"1/{theirs['seconds'] / ours['seconds']:.1f} of the time to the best checkpoint "
        f"(1/{theirs['total_seconds'] / ours['total_seconds']:.1f} to the end), and trains on "
        f"{ours['pictures_per_second'] / theirs['pictures_per_second']:.1f} times as many "
        "pictures a second"
    )


if __name__ == "__main__":
    raise SystemExit(main())
