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
"""

import argparse
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from PIL import Image

HERE: Final = Path(__file__).resolve().parent
COMMANDS: Final[dict[str, list[Any]]] = {
    "tutorial": [HERE / "tutorial.py"],
    "antbee": [HERE.parent / "train.py", "--bento", "no"],
}
ROW: Final = (
    "{who:9} {seed:5} {top1:10.1%} {epoch:6} {seconds:10.0f} {total_seconds:8.0f} "
    "{pictures_per_second:11.1f} {peak_mb:9.0f}"
)


def main(argv: Sequence[str] | None = None) -> int:
    """Train by both, print the table and the JSON line, and return the exit code."""
    parser = argparse.ArgumentParser(description="The tutorial's recipe against train.py.")
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--weights", type=Path, required=True, help="a ResNet-18 state dict")
    parser.add_argument("--seeds", default="0,1,2")
    options, more = parser.parse_known_args(argv)

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


def draw_noise(folder: Path, count: int, size: tuple[int, int]) -> None:
    """Draw pictures of noise that can be trained on: so many of two labels in each split."""
    noise = random.Random(0)  # noqa: S311 - pictures, not secrets
    for place in ("train/a", "train/b", "val/a", "val/b"):
        (folder / place).mkdir(parents=True)
        for number in range(count):
            picture = Image.frombytes("RGB", size, noise.randbytes(size[0] * size[1] * 3))
            picture.save(folder / place / f"{number}.jpg")


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """Read a line for each epoch of the run that is somewhere in a folder."""
    lines = next(folder.rglob("metrics.jsonl")).read_text().splitlines()
    return [json.loads(line) for line in lines]


if __name__ == "__main__":
    raise SystemExit(main())
