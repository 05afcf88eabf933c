"""What the peers that `training.py` runs have in common: arguments, starting weights, and records.

    python PEER.py --data FOLDER --weights FILE --out FOLDER --seed N --epochs N

Each trains a ResNet-18 on `FOLDER/train/<label>/*`, from FILE's tensors, all but the head, measures
every epoch on `FOLDER/val/<label>/*`, and leaves best.pt and metrics.jsonl in the other folder.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn


def parse_arguments(
    description: str | None, epochs: int, argv: Sequence[str] | None
) -> argparse.Namespace:
    """Parse what every peer takes; `epochs` is how many its documentation has."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--epochs", type=int, default=epochs)
    parser.add_argument("--seed", type=int, default=0)
    for name in ("--data", "--weights", "--out"):
        parser.add_argument(name, type=Path, required=True)
    return parser.parse_args(argv)


def load_start(model: nn.Module, weights: Path) -> None:
    """Load all that the file has but for the head, which begins at random, as does what it lacks.

    Parameters:
        model: its tensors are called as those of torchvision's ResNet.
        weights: a whole or partial state dict.
    """
    state = torch.load(weights, weights_only=True)
    model.load_state_dict({k: v for k, v in state.items() if k[:3] != "fc."}, strict=False)


class Record:
    """Writes down each epoch, and keeps the best one's network: of equal ones the first.

    Args:
        folder: for best.pt and metrics.jsonl.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._epoch, self._best = 0, -1.0

    def add(self, model: nn.Module, top1: float, speed: float) -> None:
        """Add an epoch: its network, its validation accuracy, 0 to 1, and training pictures/s."""
        self._epoch += 1
        if top1 > self._best:
            self._best = top1
            torch.save(model.state_dict(), self._folder / "best.pt")
        line = {"epoch": self._epoch, "val_top1": top1, "pictures_per_second": speed}
        with (self._folder / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")
