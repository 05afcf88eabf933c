"""The curves for TensorBoard."""

import sys
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from antbee.training.checkpoint import Metrics
from antbee.training.tensorboard import add_epoch, open_curves
from tests.training.conftest import assert_one_line, random_start, train
from train import main

HISTORY = [Metrics(epoch, 1 / epoch, 2 / epoch, 0.5, 1.0, 80.0) for epoch in (1, 2, 3)]


def read(folder: Path, title: str) -> list[tuple[int, float]]:
    """Read one curve: epochs and values."""
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars(title)]


def test_a_run_that_goes_on_has_every_epoch_once(tmp_path: Path) -> None:
    """The epochs before are written again, and no event of theirs is left."""
    first = open_curves(tmp_path, [])
    for metrics in HISTORY[:2]:
        add_epoch(first, metrics)
    first.close()

    second = open_curves(tmp_path, HISTORY[:1])
    for metrics in HISTORY[1:]:
        add_epoch(second, metrics)
    second.close()

    assert read(tmp_path, "loss/val") == [(1, 2.0), (2, 1.0), (3, pytest.approx(2 / 3))]


@pytest.mark.usefixtures("tiny", "no_report")
def test_the_command_writes_them(data: Path, tmp_path: Path) -> None:
    """--tensorboard leaves the curves in the run's folder."""
    folder = train(*random_start(data, tmp_path, "--epochs", "2", "--tensorboard"))

    assert [step for step, _ in read(folder, "top-1/val")] == [1, 2]


def test_a_missing_tensorboard_is_named_before_a_run_begins(
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Who asks for it without having it is told how to get it, and finds no run begun."""
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)

    assert main(random_start(data, tmp_path / "out", "--tensorboard")) == 1

    assert_one_line(capsys.readouterr().err, "pip install tensorboard")
    assert not (tmp_path / "out").exists()
