"""A run and what its report tells, without a training."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from antbee.training.checkpoint import Checkpoint, Metrics, Position, save_checkpoint
from antbee.training.data import Picture, Pictures
from antbee.training.folder import BEST, write_metrics
from antbee.training.network import build_model
from antbee.training.report.measure import Answers, Illustration
from antbee.training.report.page import Content
from tests.conftest import noise


def metrics(epochs: int) -> list[Metrics]:
    """Make epochs that get better and better."""
    return [
        Metrics(epoch, 1 / epoch, 1.2 / epoch, 1 - 0.5 / epoch, 70.0, 20.0 + epoch)
        for epoch in range(1, epochs + 1)
    ]


def history(epochs: int) -> list[dict[str, Any]]:
    """Make lines of metrics.jsonl."""
    return [asdict(epoch) for epoch in metrics(epochs)]


def checkpoint(labels: Sequence[str]) -> Checkpoint:
    """Make the state of a run after its first epoch, without its tensors."""
    return Checkpoint(
        arch="resnet18",
        labels=list(labels),
        model={},
        optimizer={},
        scheduler={},
        generators={},
        threads=2,
        precision="float32",
        views=0,
        position=Position(epoch=1),
        best=metrics(1)[0],
        history=metrics(1),
        arguments={
            "data": "data",
            "seed": 0,
            "patience": None,
            "val_fraction": None,
            "freeze": "none",
        },
        data={"folder": "data", "pictures": {"val": dict.fromkeys(labels, 10)}},
        weights={"what": "none"},
        versions={"torch": "2"},
    )


def save_run(folder: Path, pictures: Pictures) -> Path:
    """Write what a run leaves in its folder, of a network that has learnt nothing."""
    torch.manual_seed(0)
    network = build_model("resnet18", len(pictures.labels))
    with torch.inference_mode():  # batch-norm statistics of something like a picture
        network.train()(torch.randn(8, 3, 224, 224))
    state = checkpoint(pictures.labels)
    state.model.update(network.state_dict())
    state.arguments.update(data=str(pictures.val[0].path.parents[2]))
    state.data.update(pictures.provenance)
    folder.mkdir()
    save_checkpoint(state, folder / BEST)
    write_metrics(folder, state.history)
    return folder


def answers(labels: int, each: int) -> Answers:
    """Draw logits, most of them right, for so many pictures of each label."""
    truth = np.repeat(np.arange(labels), each)
    logits = np.random.default_rng(0).normal(0, 1, (len(truth), labels))
    logits[np.arange(len(truth)), truth] += 2
    pictures = [
        Picture(Path(f"data/val/{label}/{number}.jpg"), int(label))
        for number, label in enumerate(truth)
    ]
    return Answers(pictures, logits.astype(np.float32))


def content(labels: Sequence[str], each: int = 10) -> Content:
    """Make what a report of three epochs tells, the second of them the best."""
    found = answers(len(labels), each)
    worst, uncertain = found.worst(12), found.least_certain(12)
    return Content(
        name="20250131-235959-resnet18",
        made="2025-02-01 00:10 UTC",
        checkpoint=checkpoint(labels),
        best=Metrics(2, 0.5, 0.6, float((found.labels == found.truth).mean()), 70.0, 22.0),
        history=history(3),
        answers=found,
        explanations={
            index: Illustration(*(noise(160, 120, index + more) for more in range(3)))
            for index in {*worst, *uncertain}
        },
        worst=worst,
        uncertain=uncertain,
    )
