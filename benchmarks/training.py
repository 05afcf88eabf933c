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
from pathlib import Path
from typing import Any, Final

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
    add = parser.add_argument
    add("--data", type=Path, default=Path("data"))
    add("--weights", type=Path, required=True, help="a whole or partial ResNet-18 state dict")
    add("--seeds", default="0,1,2")
    add("--epochs", help="of both (what each has by default)")
    options = parser.parse_args(argv)

    print("           seed  best top-1  epoch  to best s  total s  pictures/s  peak MiB")
    runs = []
    for seed in map(int, options.seeds.split(",")):
        for who in COMMANDS:
            runs.append(train(who, seed, options))
            print(ROW.format(**runs[-1]), flush=True)
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


def train(who: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """Train in a process of its own, and measure it.

    Returns:
        `top1`, the share of the validation pictures that the best epoch gets right, 0 to 1;
        `epoch`, that one, counted from 1; `seconds` from the start of the process to the best
        checkpoint on the disk, and `total_seconds` to its end; `pictures_per_second` that it trains
        on, in the median of the second half of the epochs; `peak_mb`, its largest resident size, in
        MiB.
    """
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
        saved = best.stat().st_mtime
        lines = best.with_name("metrics.jsonl").read_text().splitlines()
    epochs = [json.loads(line) for line in lines]
    # As train.py decides between epochs that are equally right; the recipe keeps the first.
    top = max(epochs, key=lambda one: (one["val_top1"], -one.get("val_loss", 0.0)))
    speeds = [one["pictures_per_second"] for one in epochs]
    return {
        "who": who,
        "seed": seed,
        "top1": top["val_top1"],
        "epoch": top["epoch"],
        "seconds": saved - began,
        "total_seconds": ended - began,
        "pictures_per_second": statistics.median(speeds[len(speeds) // 2 :]),
        "peak_mb": peak,
    }


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


if __name__ == "__main__":
    raise SystemExit(main())
