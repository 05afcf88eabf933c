"""Going on after an interruption: the same weights and the same metrics, bit for bit."""

import errno
import fcntl
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch

from antbee.errors import CheckpointError, DataError
from antbee.training.checkpoint import load_checkpoint
from antbee.training.data import check_pictures
from antbee.training.folder import locked
from antbee.training.terminal import Stop
from antbee.training.start import begin_run, resume_run
from tests.training.conftest import (
    measured,
    random_start,
    run_train,
    train_command,
    weights,
)
from train import main

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _as_many_threads_as_a_new_process(finished: Path) -> None:
    # Other tests of this process run networks on one thread, and sums depend on their number.
    torch.set_num_threads(load_checkpoint(finished / "last.pt").threads)


class StopAfter(Stop):
    """Asks for a stop after so many batches, of training and validation together."""

    def __init__(self, batches: int) -> None:
        super().__init__()
        self._left = batches

    def check(self) -> None:
        """Count a batch."""
        if self._left == 0:
            raise KeyboardInterrupt
        self._left -= 1


def test_a_run_can_stop_after_any_batch(finished: Path, data: Path, tmp_path: Path) -> None:
    """Stopped again and again, in epochs and in validation, a run ends as if it never was."""
    pictures = check_pictures(data)
    arguments = load_checkpoint(finished / "last.pt").arguments
    run = begin_run(tmp_path, arguments, pictures, CPU)
    places = []
    for batches in (1, 2, 1, 2, 0, 1):  # of three training and one validation batch an epoch
        with pytest.raises(KeyboardInterrupt):
            run.train(StopAfter(batches))
        last = load_checkpoint(run.folder / "last.pt")
        places.append((last.epoch, last.position.step))
        run = resume_run(run.folder / "last.pt", last, pictures, CPU)
    run.train(Stop())

    assert places == [(0, 1), (0, 3), (1, 0), (1, 2), (1, 2), (1, 3)]
    assert_same_run(finished, run.folder)


@pytest.mark.parametrize("name", ["best.pt", "last.pt"])
def test_a_run_can_go_on_from_the_end_of_an_epoch(
    finished: Path, data: Path, tmp_path: Path, name: str
) -> None:
    """From either file of a run whose first epoch has ended, in its own folder."""
    pictures = check_pictures(data)
    arguments = load_checkpoint(finished / "last.pt").arguments
    begun = begin_run(tmp_path, arguments, pictures, CPU)
    with pytest.raises(KeyboardInterrupt):
        begun.train(StopAfter(4))

    run = run_train("-c", begun.folder / name)

    assert (run.returncode, run.stdout.strip()) == (0, str(begun.folder / "best.pt"))
    assert_same_run(finished, begun.folder)


def test_an_earlier_state_replaces_a_later_one(copied: Path, finished: Path) -> None:
    """Going on from best.pt of a finished run repeats the later epochs; no line is there twice."""
    run = run_train("-c", copied / "best.pt")

    assert run.returncode == 0
    assert_same_run(finished, copied)


def test_ctrl_c_saves_and_says_how_to_go_on(finished: Path, data: Path, tmp_path: Path) -> None:
    """SIGINT in the middle: exit code 130, a state, the command to type, and the same end."""
    process = start(data, tmp_path)
    process.send_signal(signal.SIGINT)

    _, said = process.communicate()

    (folder,) = tmp_path.iterdir()
    assert process.returncode == 130
    assert f"python train.py -c {folder / 'last.pt'}" in said
    assert load_checkpoint(folder / "last.pt").epoch < 3
    assert run_train("-c", folder / "last.pt").returncode == 0
    assert_same_run(finished, folder)


def test_a_second_ctrl_c_ends_at_once(data: Path, tmp_path: Path) -> None:
    """Two signals in a row: exit code 130, and what was saved before still loads."""
    process = start(data, tmp_path)
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(0.05)

    process.communicate()

    (folder,) = tmp_path.iterdir()
    assert process.returncode == 130
    assert load_checkpoint(folder / "last.pt").arch == "resnet18"


def test_a_killed_run_goes_on(finished: Path, data: Path, tmp_path: Path) -> None:
    """SIGKILL, three times in a row: the last state saved loads, and the end is the same."""
    process = start(data, tmp_path)
    (folder,) = tmp_path.iterdir()
    for seconds in (0.2, 1.0, 1.7):
        time.sleep(seconds)
        process.kill()
        process.communicate()
        (folder / "best.pt.tmp").touch()  # as if it had been writing
        process = start(data, tmp_path, "-c", folder / "last.pt")

    process.communicate()

    assert process.returncode == 0
    assert not (folder / "best.pt.tmp").exists()
    assert_same_run(finished, folder)


def test_a_complete_run_says_so(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """There is nothing to do, which is no error."""
    code = main(["-c", str(copied / "last.pt")])

    captured = capsys.readouterr()
    assert (code, captured.out) == (0, f"{copied / 'best.pt'}\n")
    assert "complete" in captured.err


@pytest.mark.parametrize(
    "contradiction",
    [
        ("--arch", "resnet34"),
        ("--weights", "imagenet"),
        ("--epochs", "4"),
        ("--batch-size", "8"),
        ("--lr", "0.5"),
        ("--seed", "1"),
        ("--out", "elsewhere"),
    ],
)
def test_a_contradiction_is_wrong_usage(
    finished: Path, contradiction: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """A flag that the run was begun without is refused by name."""
    with pytest.raises(SystemExit) as end:
        main(["-c", str(finished / "last.pt"), *contradiction])

    assert end.value.code == 2
    assert f"{contradiction[0]} contradicts -c" in capsys.readouterr().err


def test_flags_that_agree_are_no_contradiction(copied: Path) -> None:
    """What the run was begun with may be said again."""
    same = ["--arch", "resnet18", "--epochs", "3", "--seed", "0", "--out", str(copied.parent)]

    assert main(["-c", str(copied / "last.pt"), *same]) == 0


def test_the_pictures_may_move_but_not_change(copied: Path, data: Path, tmp_path: Path) -> None:
    """`--data` names the same pictures elsewhere; a picture less is an error that says where."""
    elsewhere = shutil.copytree(data, tmp_path / "elsewhere")
    assert main(["-c", str(copied / "last.pt"), "--data", str(elsewhere)]) == 0
    (elsewhere / "val/circle/0.jpg").unlink()
    last = load_checkpoint(copied / "last.pt")

    with pytest.raises(DataError, match=r"val/circle \(2 pictures then, 1 now\)"):
        resume_run(copied / "last.pt", last, check_pictures(elsewhere), CPU)


def test_the_best_epoch_must_be_there(copied: Path) -> None:
    """A run whose best.pt is gone cannot end with it."""
    (copied / "best.pt").unlink()

    run = run_train("-c", copied / "last.pt")

    assert run.returncode == 1
    assert f"no file {copied / 'best.pt'}" in run.stderr


def test_only_one_process_trains_in_a_folder(copied: Path) -> None:
    """While a run goes on, going on with it again is refused."""
    with locked(copied):
        run = run_train("-c", copied / "last.pt")

    assert run.returncode == 1
    assert f"another process is training in {copied}" in run.stderr


def test_a_file_system_without_locks_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing can be locked, that is said, and not that somebody else trains there."""
    lack = OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
    monkeypatch.setattr(fcntl, "flock", Mock(side_effect=lack))

    with (
        pytest.raises(CheckpointError, match="cannot be locked: No locks available"),
        locked(tmp_path),
    ):
        pytest.fail("it went on")


def start(data: Path, out: Path, *more: str | Path) -> subprocess.Popen[str]:
    """Start a run, or go on with one, and return once it trains."""
    arguments = more or random_start(data, out, "--epochs", "3")
    process = subprocess.Popen(
        train_command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("training on "):
            break
    return process


def assert_same_run(expected: Path, actual: Path) -> None:
    """Compare two runs' last weights and metrics, bit for bit, and their best epochs."""
    assert weights(expected) == weights(actual)
    assert measured(expected) == measured(actual)
    best = [load_checkpoint(folder / "best.pt") for folder in (expected, actual)]
    assert best[0].epoch == best[1].epoch
    assert all(torch.equal(best[0].model[name], best[1].model[name]) for name in best[0].model)
