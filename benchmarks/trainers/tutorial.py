"""The recipe of PyTorch's transfer-learning tutorial, written afresh, for `training.py` to run.

https://docs.pytorch.org/tutorials/beginner/transfer_learning_tutorial.html: random crop and
mirroring, batches of 4, SGD at 0.001 with momentum 0.9, a tenth of it every 7 epochs, 25 epochs,
the best one kept.
"""

import time
from collections.abc import Sequence
from typing import Final

import torch
from torch import nn
from torch.nn import functional
from torch.optim import SGD
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import DataLoader
from torchvision import datasets, models, transforms

from common import Record, load_start, parse_arguments

NORMALIZE: Final = transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
VIEWS: Final = {
    "train": [transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip()],
    "val": [transforms.Resize(256), transforms.CenterCrop(224)],
}


def main(argv: Sequence[str] | None = None) -> int:
    """Train, and return the exit code."""
    options = parse_arguments(__doc__, 25, argv)
    torch.manual_seed(options.seed)
    folders, loaders = {}, {}
    for split, view in VIEWS.items():
        steps = transforms.Compose([*view, transforms.ToTensor(), NORMALIZE])
        folders[split] = datasets.ImageFolder(str(options.data / split), steps)
        # As the recipe does, training and validation are shuffled alike.
        loaders[split] = DataLoader(folders[split], batch_size=4, shuffle=True, num_workers=4)
    model: nn.Module = models.resnet18(num_classes=len(folders["train"].classes))
    load_start(model, options.weights)

    optimizer = SGD(model.parameters(), lr=0.001, momentum=0.9)
    scheduler = StepLR(optimizer, step_size=7, gamma=0.1)
    record = Record(options.out)
    for _ in range(options.epochs):
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
        record.add(model, float(torch.cat(right).mean()), speed)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
