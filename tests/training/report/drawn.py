"""What a report tells, without a network or pictures on a disk."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from antbee.training.checkpoint import Checkpoint, Metrics
from antbee.training.data import Picture
from antbee.training.report.measure import Answers, Looked
from antbee.training.report.page import Content
from tests.conftest import noise


def history(epochs: int) -> list[dict[str, Any]]:
    """Make lines of metrics.jsonl that get better by the epoch."""
    return [
        {
            "epoch": epoch,
            "train_loss": 1 / epoch,
            "val_loss": 1.2 / epoch,
            "val_top1": 1 - 0.5 / epoch,
            "seconds": 70.0,
            "pictures_per_second": 20.0 + epoch,
        }
        for epoch in range(1, epochs + 1)
    ]


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


def content(checkpoint: Checkpoint, labels: Sequence[str], each: int = 10) -> Content:
    """Make what a report of three epochs tells, the second of them the best."""
    found = answers(len(labels), each)
    worst, uncertain = found.worst(12), found.least_certain(12)
    checkpoint.labels[:] = labels
    return Content(
        name="20250131-235959-resnet18",
        made="2025-02-01 00:10 UTC",
        checkpoint=checkpoint,
        best=Metrics(2, 0.5, 0.6, float((found.labels == found.truth).mean()), 70.0, 22.0),
        history=history(3),
        answers=found,
        looked={
            index: Looked(noise(160, 120, index), noise(160, 120, index + 1))
            for index in {*worst, *uncertain}
        },
        worst=worst,
        uncertain=uncertain,
    )
