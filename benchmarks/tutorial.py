"""The recipe of PyTorch's transfer-learning tutorial, written afresh, for `training.py` to run.

    python benchmarks/tutorial.py --data data --weights FILE --out FOLDER

https://docs.pytorch.org/tutorials/beginner/transfer_learning_tutorial.html: random crop and
mirroring, batches of 4, SGD at 0.001 with momentum 0.9, a tenth of it every 7 epochs, 25 epochs,
the best one kept. Leaves best.pt and metrics.jsonl in FOLDER.
"""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn
from torch.nn import functional
from torch.optim import SGD
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import DataLoader
from torchvision import datasets, models, transforms

NORMALIZE: Final = transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
VIEWS: Final = {
    "train": [transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip()],
    "val": [transforms.Resize(256), transforms.CenterCrop(224)],
}


def main(argv: Sequence[str] | None = None) -> int:
    """Train, and return the exit code."""
    options = parse(argv)
    torch.manual_seed(options.seed)
    loaders = {split: make_loader(options.data / split, steps) for split, steps in VIEWS.items()}
    model = load_model(options.weights, len(loaders["train"].dataset.classes))
    optimizer = SGD(model.parameters(), lr=0.001, momentum=0.9)
    scheduler = StepLR(optimizer, step_size=7, gamma=0.1)
    best = -1.0
    for epoch in range(1, options.epochs + 1):
        speed = train_epoch(model, loaders["train"], optimizer)
        scheduler.step()
        top1 = validate(model, loaders["val"])
        if top1 > best:
            best = top1
            torch.save(model.state_dict(), options.out / "best.pt")
        with (options.out / "metrics.jsonl").open("a") as file:
            line = {"epoch": epoch, "val_top1": top1, "pictures_per_second": speed}
            file.write(json.dumps(line) + "\n")
    return 0


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Train by the recipe of PyTorch's tutorial.")
    add = parser.add_argument
    add("--data", type=Path, default=Path("data"))
    add("--weights", type=Path, required=True, help="a whole or partial ResNet-18 state dict")
    add("--epochs", type=int, default=25)
    add("--seed", type=int, default=0)
    add("--out", type=Path, required=True)
    return parser.parse_args(argv)


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


def train_epoch(model: nn.Module, loader: Any, optimizer: SGD) -> float:  # noqa: ANN401 - untyped
    """Train on every picture once; return pictures a second."""
    model.train()
    began = time.perf_counter()
    for pictures, labels in loader:
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(pictures), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return len(loader.dataset) / (time.perf_counter() - began)


@torch.no_grad()
def validate(model: nn.Module, loader: Any) -> float:  # noqa: ANN401 - untyped
    """Return the share of pictures whose label is right."""
    model.eval()
    right = [(model(pictures).argmax(1) == labels).float() for pictures, labels in loader]
    return float(torch.cat(right).mean())


if __name__ == "__main__":
    raise SystemExit(main())
