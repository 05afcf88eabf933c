"""A run's folder: its name, who trains in it, and which run torchrun goes on with."""

import errno
import fcntl
import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import Mock

import pytest

from antbee.errors import CheckpointError
from antbee.training.folder import (
    RUN_NAME,
    locked,
    make_folder,
    newest_checkpoint,
    remember_launch,
    restarted_run,
)


def test_two_runs_of_one_second_have_folders_of_their_own(tmp_path: Path) -> None:
    """Runs that begin together do not share a folder, and the second's name comes later."""
    with ThreadPoolExecutor(2) as pool:
        first, second = sorted(pool.map(make_folder, [tmp_path] * 2, ["resnet18"] * 2))

    assert first < second
    assert all(re.fullmatch(RUN_NAME, path.name) for path in tmp_path.iterdir())


def test_the_newest_run_is_found_by_its_name(tmp_path: Path) -> None:
    """Among runs with a best.pt the latest counts, whatever else is in the folder."""
    for name in ("20250131-235959-resnet18", "20250201-000000-resnet50", "my-resnet18"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "best.pt").touch()
    (tmp_path / "20260101-000000-resnet18").mkdir()

    assert newest_checkpoint(tmp_path) == tmp_path / "20250201-000000-resnet50/best.pt"


def test_without_a_run_the_message_says_what_to_do(tmp_path: Path) -> None:
    """No run, no folder: run train.py first."""
    with pytest.raises(CheckpointError, match=r"run train\.py first"):
        newest_checkpoint(tmp_path / "saved_models")


@pytest.mark.parametrize("kind", ["link", "file"])
def test_a_folder_of_runs_that_is_none_is_not_waited_for(tmp_path: Path, kind: str) -> None:
    """A link to a disk that is not mounted exists, and nothing can be made in it."""
    out = tmp_path / "saved_models"
    out.symlink_to("/nowhere/runs") if kind == "link" else out.touch()

    with pytest.raises(
        CheckpointError, match=r"saved_models cannot be made: it is a file, or a link"
    ):
        make_folder(out, "resnet18")


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


def test_a_run_that_cannot_be_noted_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the disk is full by then, or the folder gone, the reason is an error of the run's."""
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", "/logs/mine/attempt_0/0/error.json")

    with pytest.raises(CheckpointError, match=r"launch could not be written: No such file"):
        remember_launch(tmp_path / "gone")


def test_torchrun_goes_on_with_its_own_run_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Started again, it finds the run that it began, and neither another's nor a later one."""
    for launch in ("mine", "another"):
        monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", f"/logs/{launch}/attempt_0/0/error.json")
        folder = tmp_path / f"{launch}-run"
        folder.mkdir()
        remember_launch(folder)
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", "/logs/mine/attempt_1/0/error.json")
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "0")
    assert restarted_run(tmp_path) is None

    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")

    assert restarted_run(tmp_path) == tmp_path / "mine-run/last.pt"
    assert restarted_run(tmp_path / "elsewhere") is None
