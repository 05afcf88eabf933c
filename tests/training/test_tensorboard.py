"""The curves for TensorBoard."""

import os
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from antbee.training.checkpoint import Metrics
from antbee.training.tensorboard import Curves
from tests.training.conftest import random_start, run_train

HISTORY = [Metrics(epoch, 1 / epoch, 2 / epoch, 0.5, 1.0, 80.0) for epoch in (1, 2, 3)]


def read(folder: Path, title: str) -> list[tuple[int, float]]:
    """Read one curve: epochs and values."""
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars(title)]


def test_a_run_that_goes_on_has_every_epoch_once(tmp_path: Path) -> None:
    """The epochs before are written again, and no event of theirs is left."""
    first = Curves(tmp_path, [])
    for metrics in HISTORY[:2]:
        first.add(metrics)
    first.close()

    second = Curves(tmp_path, HISTORY[:1])
    for metrics in HISTORY[1:]:
        second.add(metrics)
    second.close()

    assert read(tmp_path, "loss/val") == [(1, 2.0), (2, 1.0), (3, pytest.approx(2 / 3))]


def test_the_command_writes_them(data: Path, tmp_path: Path) -> None:
    """--tensorboard leaves the curves in the run's folder."""
    options = random_start(data, tmp_path, "--epochs", "2", "--tensorboard")

    run = run_train(*options)

    assert run.returncode == 0, run.stderr
    folder = Path(run.stdout.splitlines()[-1]).parent
    assert [step for step, _ in read(folder, "top-1/val")] == [1, 2]


def test_a_missing_tensorboard_is_named_before_a_run_begins(data: Path, tmp_path: Path) -> None:
    """Who asks for it without having it is told how to get it, and finds no run begun."""
    missing, out = tmp_path / "modules", tmp_path / "out"
    (missing / "tensorboard").mkdir(parents=True)
    (missing / "tensorboard/__init__.py").write_text("raise ImportError")

    run = run_train(
        *random_start(data, out, "--tensorboard"),
        environment={**os.environ, "PYTHONPATH": str(missing)},
    )

    assert run.returncode == 1
    assert "pip install tensorboard" in run.stderr
    assert "Traceback" not in run.stderr
    assert not out.exists()
