"""Train by the recipe of PyTorch's transfer-learning tutorial and by train.py, side by side.

    python benchmarks/tutorial.py --data data --weights FILE

The recipe (https://docs.pytorch.org/tutorials/beginner/transfer_learning_tutorial.html) is
written afresh here: random crop and mirroring, batches of 4, SGD at 0.001 with momentum 0.9, a
tenth of it every 7 epochs, 25 epochs, the best one kept. Both begin with the same weights, each
seed in a process of its own. Prints a table, then one JSON line. Peak memory is that of the
training process alone; the recipe's four loading processes come on top.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn
from torch.nn import functional
from torch.optim import SGD
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import DataLoader
from torchvision import datasets, models, transforms

TRAIN: Final = Path(__file__).resolve().parents[1] / "train.py"
NORMALIZE: Final = transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
VIEWS: Final = {
    "train": [transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip()],
    "val": [transforms.Resize(256), transforms.CenterCrop(224)],
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
        peak_mb: largest resident size, in MiB.
    """

    who: str
    seed: int
    top1: float
    epoch: int
    seconds: float
    total_seconds: float
    peak_mb: float


def main(argv: Sequence[str] | None = None) -> int:
    """Train by both, print the table and the JSON line, and return the exit code."""
    options = parse(argv)
    if options.follow is not None:
        follow_tutorial(options)
        return 0
    print("           seed  best top-1  epoch  to best s  total s  peak MiB")
    results = []
    for seed in map(int, options.seeds.split(",")):
        for who in ("tutorial", "antbee"):
            results.append(train(who, options, seed))
            print(row(results[-1]), flush=True)
    print("\n" + json.dumps({"epochs": options.epochs, **summary(results)}))
    return 0


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="The tutorial's recipe against train.py.")
    add = parser.add_argument
    add("--data", type=Path, default=Path("data"))
    add("--weights", type=Path, required=True, help="a whole or partial ResNet-18 state dict")
    add("--seeds", default="0,1,2")
    add("--epochs", type=int, default=25)
    add("--follow", type=int, help=argparse.SUPPRESS)  # the recipe itself, with this seed
    add("--out", type=Path, help=argparse.SUPPRESS)  # and where it leaves its files
    return parser.parse_args(argv)


def train(who: str, options: argparse.Namespace, seed: int) -> Result:
    """Train in a process of its own, and measure it."""
    ours = [TRAIN, "--seed", seed, "--bento", "no"]
    command = ours if who == "antbee" else [Path(__file__), "--follow", seed]
    command += ["--data", options.data, "--weights", options.weights, "--epochs", options.epochs]
    with tempfile.TemporaryDirectory() as folder:
        command += ["--out", folder]
        began = time.time()
        peak = run([sys.executable, *map(str, command)], Path(folder))
        ended = time.time()
        best = next(Path(folder).rglob("best.pt"))
        metrics = read_metrics(best.parent)
        top = max(metrics, key=lambda one: one["val_top1"])
        to_best = best.stat().st_mtime - began
    return Result(who, seed, top["val_top1"], top["epoch"], to_best, ended - began, peak)


def run(command: list[str], folder: Path) -> float:
    """Run a command in a folder, its output aside; return its peak resident size in MiB."""
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
        f"{result.seconds:10.0f} {result.total_seconds:8.0f} {result.peak_mb:9.0f}"
    )


def summary(results: list[Result]) -> dict[str, Any]:
    """Gather the results, and the mean of each side."""
    sides = {who: [one for one in results if one.who == who] for who in ("tutorial", "antbee")}
    return {
        "mean_top1": {
            who: statistics.fmean(one.top1 for one in side) for who, side in sides.items()
        },
        "mean_seconds_to_best": {
            who: statistics.fmean(one.seconds for one in side) for who, side in sides.items()
        },
        "runs": [asdict(one) for one in results],
    }


def follow_tutorial(options: argparse.Namespace) -> None:
    """Train by the recipe; leave best.pt and metrics.jsonl in the folder `out`."""
    torch.manual_seed(options.follow)
    loaders = {split: make_loader(options.data / split, steps) for split, steps in VIEWS.items()}
    model = load_model(options.weights, len(loaders["train"].dataset.classes))
    optimizer = SGD(model.parameters(), lr=0.001, momentum=0.9)
    scheduler = StepLR(optimizer, step_size=7, gamma=0.1)
    best = -1.0
    for epoch in range(1, options.epochs + 1):
        train_epoch(model, loaders["train"], optimizer)
        scheduler.step()
        top1 = validate(model, loaders["val"])
        if top1 > best:
            best = top1
            torch.save(model.state_dict(), options.out / "best.pt")
        with (options.out / "metrics.jsonl").open("a") as file:
            file.write(json.dumps({"epoch": epoch, "val_top1": top1}) + "\n")


def make_loader(folder: Path, view: list[nn.Module]) -> Any:  # noqa: ANN401 - torchvision is untyped
    """Load a split as the recipe does, training and validation shuffled alike."""
    steps = transforms.Compose([*view, transforms.ToTensor(), NORMALIZE])
    return DataLoader(
        datasets.ImageFolder(str(folder), steps), batch_size=4, shuffle=True, num_workers=4
    )


def load_model(weights: Path, classes: int) -> nn.Module:
    """Load what the file has, but for the head, which begins at random."""
    model: nn.Module = models.resnet18(num_classes=classes)
    state = torch.load(weights, weights_only=True)
    model.load_state_dict({k: v for k, v in state.items() if k[:3] != "fc."}, strict=False)
    return model


def train_epoch(model: nn.Module, loader: Any, optimizer: SGD) -> None:  # noqa: ANN401 - untyped
    """Train on every picture once."""
    model.train()
    for pictures, labels in loader:
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(pictures), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()


@torch.no_grad()
def validate(model: nn.Module, loader: Any) -> float:  # noqa: ANN401 - untyped
    """Return the share of pictures whose label is right."""
    model.eval()
    right = [(model(pictures).argmax(1) == labels).float() for pictures, labels in loader]
    return float(torch.cat(right).mean())


if __name__ == "__main__":
    raise SystemExit(main())
