"""`python -m antbee.training.report`."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from antbee.training.checkpoint import Checkpoint
from antbee.training.data import Pictures
from antbee.training.report.__main__ import main
from tests.conftest import REPOSITORY
from tests.training.report.conftest import save_run

Capture = pytest.CaptureFixture[str]


def test_report_is_made_again(folder: Path, pictures: Pictures) -> None:
    """The command needs the run's folder alone, and prints where the page is."""
    assert pictures.val
    command = [sys.executable, "-m", "antbee.training.report", str(folder)]
    made = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)

    assert made.stdout == f"{folder / 'report.html'}\n"
    assert (folder / "report.html").is_file()


def test_pictures_may_have_moved(
    folder: Path, checkpoint: Checkpoint, data: Path, tmp_path: Path, capsys: Capture
) -> None:
    """Where the pictures are elsewhere now, `--data` says where; without it the place is named."""
    first = Path(shutil.copytree(data, tmp_path / "first"))
    (first / "val/circle/broken.jpg").write_bytes(b"x")
    save_run(folder, checkpoint, first)
    moved = first.rename(tmp_path / "moved")

    assert main([str(folder)]) == 1
    assert "first" in capsys.readouterr().err
    assert main([str(folder), "--data", str(moved)]) == 0
    assert capsys.readouterr().out == f"{folder / 'report.html'}\n"


def test_other_pictures_are_refused(
    folder: Path, pictures: Pictures, data: Path, tmp_path: Path, capsys: Capture
) -> None:
    """A folder with another number of validation pictures is not the run's."""
    assert pictures.val
    other = Path(shutil.copytree(data, tmp_path / "other"))
    (other / "val/circle/0.jpg").unlink()

    assert main([str(folder), "--data", str(other)]) == 1
    error = capsys.readouterr().err
    assert "has 3 validation pictures, and the run had 4" in error
    assert error.count("\n") == 1


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path, capsys: Capture) -> None:
    """A folder without a checkpoint fails in a line."""
    assert main([str(tmp_path)]) == 1

    out, error = capsys.readouterr()
    assert (out, error) == ("", f"error: there is no file {tmp_path / 'best.pt'}\n")


def test_wrong_usage_exits_with_2() -> None:
    """A run must be named."""
    with pytest.raises(SystemExit, match="2"):
        main([])
