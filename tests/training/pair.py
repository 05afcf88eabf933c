"""Takes a few steps of training, alone or in a team, and saves where they led: run by test_team."""

import sys
from pathlib import Path

import torch

from antbee.training.loop import Learner, Recipe
from antbee.training.model import build_model
from antbee.training.team import gathered

STEPS = 3
PICTURES = 7
"""A number that two processes cannot share evenly."""


def main(path: Path) -> None:
    """Train on this process's part of some batches; the leader saves the weights and the losses."""
    torch.manual_seed(0)
    with gathered() as team:
        model = build_model("resnet18", 3)
        learner = Learner(model, torch.device("cpu"), Recipe(0.01, STEPS, freeze="layer3"), team)
        losses = []
        for step in range(STEPS):
            generator = torch.Generator().manual_seed(step)
            pictures = torch.randn(PICTURES, 3, 64, 64, generator=generator)
            labels = torch.randint(3, (PICTURES,), generator=generator)
            own = list(team.share(range(PICTURES)))
            loss = learner.train((learner.features(pictures[own]), labels[own]), PICTURES)
            losses += team.sum(loss)
        if team.leads:
            torch.save({"losses": losses, "model": model.state_dict()}, path)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
