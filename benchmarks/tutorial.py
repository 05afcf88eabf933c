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
from typing import Final

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
    parser = argparse.ArgumentParser(description="Train by the recipe of PyTorch's tutorial.")
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--seed", type=int, default=0)
    for name in ("--data", "--weights", "--out"):
        parser.add_argument(name, type=Path, required=True)
    options = parser.parse_args(argv)

    torch.manual_seed(options.seed)
    folders, loaders = {}, {}
    for split, view in VIEWS.items():
        steps = transforms.Compose([*view, transforms.ToTensor(), NORMALIZE])
        folders[split] = datasets.ImageFolder(str(options.data / split), steps)
        # As the recipe does, training and validation are shuffled alike.
        loaders[split] = DataLoader(folders[split], batch_size=4, shuffle=True, num_workers=4)
    # All that the file has but for the head, which begins at random.
    model: nn.Module = models.resnet18(num_classes=len(folders["train"].classes))
    state = torch.load(options.weights, weights_only=True)
    model.load_state_dict({k: v for k, v in state.items() if k[:3] != "fc."}, strict=False)

    optimizer = SGD(model.parameters(), lr=0.001, momentum=0.9)
    scheduler = StepLR(optimizer, step_size=7, gamma=0.1)
    best = -1.0
    for epoch in range(1, options.epochs + 1):
        model.train()
        began = time.perf_counter()
        for pictures, labels in loaders["train"]:
            optimizer.zero_grad()
            loss = functional.cross_entropy(model(pictures), labels)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        speed = len(folders["train"]) / (time.perf_counter() - began)
        scheduler.step()
        model.eval()
        with torch.no_grad():
            right = [(model(one).argmax(1) == labels).float() for one, labels in loaders["val"]]
        top1 = float(torch.cat(right).mean())
        if top1 > best:
            best = top1
            torch.save(model.state_dict(), options.out / "best.pt")
        with (options.out / "metrics.jsonl").open("a") as file:
            line = {"epoch": epoch, "val_top1": top1, "pictures_per_second": speed}
            file.write(json.dumps(line) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
