"""`train.py --val-fraction`: a run on pictures that are divided, from its start to its packing."""

from pathlib import Path

import pytest

from antbee.training.checkpoint import load_checkpoint
from antbee.training.data import check_pictures
from tests.training.conftest import random_start
from tests.training.folders import fill
from train import main

SHARE = ("--val-fraction", "0.25", "--seed", "3", "--epochs", "1")


@pytest.fixture(scope="module")
def divided(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train for an epoch on label folders that lie side by side; return the run's folder."""
    folder = tmp_path_factory.mktemp("divided")
    data = fill(folder / "data", {"ant": 8, "bee": 8})
    assert main(list(map(str, random_start(data, folder / "out", *SHARE)))) == 0
    (run,) = (folder / "out").iterdir()
    return run


def test_a_run_keeps_how_its_pictures_were_divided(divided: Path) -> None:
    """The share is among the checkpoint's arguments, and its record of the pictures shows it."""
    best = load_checkpoint(divided / "best.pt")

    assert (best.arguments["val_fraction"], best.arguments["seed"]) == (0.25, 3)
    assert best.data == check_pictures(Path(best.arguments["data"]), 0.25, 3).provenance
    assert best.data["pictures"] == {"train": {"ant": 6, "bee": 6}, "val": {"ant": 2, "bee": 2}}


def test_a_run_goes_on_with_the_same_division(divided: Path) -> None:
    """The share need not be said again, and may be."""
    assert main(["-c", str(divided / "last.pt")]) == 0
    assert main(["-c", str(divided / "last.pt"), "--val-fraction", "0.25"]) == 0


def test_another_share_contradicts_the_run(
    divided: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run that goes on keeps its share."""
    with pytest.raises(SystemExit) as end:
        main(["-c", str(divided / "last.pt"), "--val-fraction", "0.5"])

    assert end.value.code == 2
    assert "--val-fraction contradicts -c: the run was begun with 0.25" in capsys.readouterr().err


def test_a_run_without_a_share_keeps_to_that(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run that had a folder `val` cannot go on without one."""
    with pytest.raises(SystemExit) as end:
        main(["-c", str(finished / "last.pt"), "--val-fraction", "0.5"])

    assert end.value.code == 2
    assert "--val-fraction contradicts -c" in capsys.readouterr().err


def test_a_folder_val_is_one_line(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Asked to divide what is divided already, the command fails with one line and no folder."""
    code = main(list(map(str, random_start(data, tmp_path / "out", *SHARE))))

    line = capsys.readouterr().err.splitlines()[-1]
    assert code == 1
    assert line.startswith("error: ")
    assert "has a folder val" in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("share", ["0", "1", "-0.2", "20", "nan", "a fifth"])
def test_a_share_is_between_nothing_and_all(share: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A share that leaves one side empty, or is no number, is wrong usage."""
    with pytest.raises(SystemExit) as end:
        main([f"--val-fraction={share}"])

    assert end.value.code == 2
    assert "--val-fraction" in capsys.readouterr().err.splitlines()[-1]
