"""What several processes do together, for test_distributed to look at: torchrun starts this.

`together steps DATA OUT` takes some steps, trains a whole run, and then leaves one process waiting
for the other. `together ARGUMENTS...` is train.py with a tiny network and without a report.
"""

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
import torchvision.models
from torch import Tensor

import antbee.training.report.write
import train
from antbee.training.arguments import DEFAULTS
from antbee.training.check import check_pictures
from antbee.training.distributed import SINGLE, ProcessGroup, joined_process_group
from antbee.training.features import Features
from antbee.training.learner import Hyperparameters, Learner
from antbee.training.network import build_model
from antbee.training.run import begin_run
from antbee.training.terminal import Stop
from tests.training.tiny import TinyResNet

STEPS = 3
PICTURES = 7
"""A number that two processes cannot share evenly."""
RUN = {"batch_size": 4, "epochs": 10}
PARAMETERS = Hyperparameters(0.01, STEPS, freeze="layer3")


def make_batch(step: int) -> tuple[Tensor, Tensor]:
    """Make pictures of noise, and labels for them."""
    generator = torch.Generator().manual_seed(step)
    pictures = torch.randn(PICTURES, 3, 64, 64, generator=generator)
    return pictures, torch.randint(3, (PICTURES,), generator=generator)


def make_view(data: Path, group: ProcessGroup = SINGLE) -> Tensor:
    """Make what the frozen part of a network makes of pictures, each process its part."""
    torch.manual_seed(0)
    learner = Learner(TinyResNet(None, 2), torch.device("cpu"), PARAMETERS, group)
    with ThreadPoolExecutor(1) as pool:
        pictures = check_pictures(data)
        features = Features(learner, pictures, pool, lambda: None, seed=0, size=4, views=3)
        return features._make_view(1)


def take_steps(out: Path, group: ProcessGroup) -> None:
    """Train on this process's part of some batches, and save where that led."""
    torch.manual_seed(0)
    model = build_model("resnet18", 3)
    learner = Learner(model, torch.device("cpu"), PARAMETERS, group)
    losses = []
    for step in range(STEPS):
        pictures, labels = make_batch(step)
        own = list(group.shard(range(PICTURES)))
        losses += group.sum(learner.train((learner.features(pictures[own]), labels[own])))
    learner.share_statistics()
    state = {"losses": losses, "model": model.state_dict()}
    torch.save(state, out / f"steps{group.rank}.pt")


def main(words: list[str]) -> int:
    """Do as the module says."""
    if words[0] != "steps":
        shrink()
        return train.main(words)
    data, out = map(Path, words[1:])
    with joined_process_group() as group:
        take_steps(out, group)
        torch.save(make_view(data, group), out / f"view{group.rank}.pt")
        shrink()
        arguments = DEFAULTS | RUN | {"data": str(data), "weights": str(out / "weights.pth")}
        run = begin_run(out / "runs", arguments, check_pictures(data), torch.device("cpu"), group)
        run.train(Stop())
        if group.rank == 1:
            os._exit(0)
        group.sum(1.0)
    return 0


def shrink() -> None:
    """Let a ResNet-18 be a tiny one from now on, and let no report be written."""
    torchvision.models.resnet18 = TinyResNet
    antbee.training.report.write.try_report = lambda *_: None


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
