"""Stopping early."""

from pathlib import Path

import pytest
import torch

from antbee.training import run as module
from antbee.training.arguments import DEFAULTS
from antbee.training.checkpoint import Metrics, load_checkpoint
from antbee.training.data import check_pictures
from antbee.training.terminal import Stop
from antbee.training.start import begin_run, resume_run

CPU = torch.device("cpu")


@pytest.mark.parametrize(("patience", "epochs"), [(1, 2), (None, 3)])
def test_a_run_stops_when_nothing_gets_better(
    patience: int | None, epochs: int, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the first epoch stays the best, so many more are trained, also by a run resumed."""
    monkeypatch.setattr(module, "is_better", lambda _metrics, _best: False)
    given = {"weights": "none", "epochs": 3, "batch_size": 4, "patience": patience}
    pictures = check_pictures(data)
    run = begin_run(tmp_path, DEFAULTS | given, pictures, CPU)

    run.train(Stop())

    last = load_checkpoint(run.folder / "last.pt")
    again = resume_run(run.folder / "last.pt", last, pictures, CPU)
    again.train(Stop())
    assert epochs_of(run.folder) == epochs
    assert last.best == last.history[0]


def epochs_of(folder: Path) -> int:
    """Count the lines of metrics.jsonl."""
    return len((folder / "metrics.jsonl").read_text().splitlines())


def test_better_is_more_right_or_as_many_with_less_loss() -> None:
    """Top-1 decides, then the loss."""
    best = Metrics(1, 1.0, 0.5, 0.8, 1.0, 1.0)

    assert module.is_better(Metrics(2, 1.0, 0.9, 0.9, 1.0, 1.0), best)
    assert module.is_better(Metrics(2, 1.0, 0.4, 0.8, 1.0, 1.0), best)
    assert not module.is_better(Metrics(2, 1.0, 0.5, 0.8, 1.0, 1.0), best)
    assert not module.is_better(Metrics(2, 1.0, 0.1, 0.7, 1.0, 1.0), best)
