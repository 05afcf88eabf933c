"""A run of one epoch by a network that has learnt nothing, and the pictures that it had."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from antbee.training.check import check_pictures
from antbee.training.checkpoint import Checkpoint, Position, save_checkpoint
from antbee.training.data import Pictures
from antbee.training.folder import BEST, write_metrics
from antbee.training.network import build_model


def save_run(folder: Path, checkpoint: Checkpoint, data: Path) -> Pictures:
    """Write what a finished run leaves in its folder; return its pictures."""
    pictures = check_pictures(data)
    torch.manual_seed(0)
    network = build_model("resnet18", len(pictures.labels))
    with torch.inference_mode():  # batch-norm statistics of something like a picture
        network.train()(torch.randn(8, 3, 224, 224))
    state = replace(
        checkpoint,
        labels=pictures.labels,
        model=network.state_dict(),
        position=Position(epoch=1),
        arguments={**checkpoint.arguments, "data": str(data), "seed": 0},
        data=pictures.provenance,
    )
    folder.mkdir()
    save_checkpoint(state, folder / BEST)
    write_metrics(folder, checkpoint.history)
    return pictures


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return where the run will be."""
    return tmp_path / "20250131-235959-resnet18"


@pytest.fixture
def pictures(folder: Path, checkpoint: Checkpoint, data: Path) -> Pictures:
    """Save a run on the shared data set; return its pictures."""
    return save_run(folder, checkpoint, data)
