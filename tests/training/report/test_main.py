"""`python -m antbee.training.report`."""

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from antbee.training.check import check_pictures
from antbee.training.checkpoint import load_checkpoint, save_checkpoint
from antbee.training.data import Pictures
from antbee.training.report import __main__ as command
from antbee.training.report.__main__ import main
from tests.training.report.drawn import save_run

Capture = pytest.CaptureFixture[str]


def test_report_of_a_killed_run_is_made_again(folder: Path, capsys: Capture) -> None:
    """The run's folder is enough, even where its best epoch's line of metrics was never written."""
    checkpoint = load_checkpoint(folder / "best.pt")
    assert checkpoint.best is not None
    later = replace(checkpoint, best=replace(checkpoint.best, epoch=2))
    save_checkpoint(later, folder / "best.pt")

    assert (folder / "metrics.jsonl").read_text().count("\n") == 1
    assert main([str(folder)]) == 0
    assert capsys.readouterr().out == f"{folder / 'report.html'}\n"
    assert (folder / "report.html").is_file()


def test_until_the_command_takes_signals_over_nothing_large_is_loaded() -> None:
    """The package loads no torch, so that Ctrl-C ends the command in a line from its beginning."""
    probe = "import sys, antbee.training.report; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", probe], check=False).returncode == 0


def test_large_pictures_are_read_as_in_training(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pillow's own limit does not refuse a picture that the run was measured on."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1)

    assert main([str(folder)]) == 0


def test_pictures_may_have_moved(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """Where the pictures are elsewhere now, `--data` says where; without it the place is named."""
    first = shutil.copytree(data, tmp_path / "first")
    (first / "val/circle/broken.jpg").write_bytes(b"x")
    run = save_run(tmp_path / "run", check_pictures(first))
    moved = first.rename(tmp_path / "moved")
    asked: list[Path] = []

    def write_report(folder: Path, pictures: Pictures) -> Path:
        asked.extend(picture.path for picture in pictures.val)
        return folder / "report.html"

    monkeypatch.setattr(command, "write_report", write_report)
    capsys.readouterr()

    assert main([str(run)]) == 1
    assert "first" in capsys.readouterr().err
    assert main([str(run), "--data", str(moved)]) == 0
    assert capsys.readouterr().out == f"{run / 'report.html'}\n"
    assert asked == sorted(moved.glob("val/*/[01].jpg"))


def test_a_page_about_test_pictures(
    folder: Path, data: Path, tmp_path: Path, capsys: Capture
) -> None:
    """`--split test` measures a folder of its own, names copies, and keeps what came of it."""
    other = tmp_path / "other"
    shutil.copytree(data / "val/circle", other / "test/circle")
    shutil.copytree(data / "val/square", other / "test/wasp")
    before = {path.name for path in folder.iterdir()}

    assert main([str(folder), "--data", str(other), "--split", "test"]) == 0
    out, err = capsys.readouterr()
    assert out == f"{folder / 'report-test.html'}\n"
    assert "no pictures of wasp are trained on" in err
    assert "in test and in train or val, 2 time(s)" in err
    made = {"report-test.html", "test.json"}
    made |= {f"{name}-test.png" for name in ("confusion", "mistakes", "uncertain")}
    assert {path.name for path in folder.iterdir()} == before | made
    page = (folder / "report-test.html").read_text("utf-8")
    assert "On test pictures" in page
    assert "2 in all, so that it is flattering" in page
    assert ("Calibration" in page, "On validation pictures" in page) == (False, False)


def test_no_test_pictures_are_a_mistake(folder: Path, tmp_path: Path, capsys: Capture) -> None:
    """Whoever asks for test pictures where there are none is told where they belong."""
    assert main([str(folder), "--data", str(tmp_path), "--split", "test"]) == 1

    assert f"{tmp_path / 'test'}/<label>/" in capsys.readouterr().err.splitlines()[-1]


def test_other_pictures_are_refused(
    saved: Path, data: Path, tmp_path: Path, capsys: Capture
) -> None:
    """A folder with another number of validation pictures is not the run's."""
    other = shutil.copytree(data, tmp_path / "other")
    (other / "val/circle/0.jpg").unlink()

    assert main([str(saved), "--data", str(other)]) == 1
    error = capsys.readouterr().err
    assert "has 3 validation pictures, and the run had 4" in error
    assert error.count("\n") == 1


def test_a_label_without_training_pictures_is_named(
    saved: Path, data: Path, tmp_path: Path, capsys: Capture
) -> None:
    """What is left of a label may be no picture: its share of the pictures cannot be inverted."""
    folder = shutil.copytree(saved, tmp_path / "run")
    other = shutil.copytree(data, tmp_path / "other")
    for path in (other / "train/circle").iterdir():
        path.write_text("no picture")
    checkpoint = load_checkpoint(folder / "best.pt")
    own = {"balance": True, "freeze": "layer3", "epochs": 1, "batch_size": 2, "lr": 0.1}
    save_checkpoint(replace(checkpoint, arguments=checkpoint.arguments | own), folder / "best.pt")

    assert main([str(folder), "--data", str(other)]) == 1
    assert f"error: {other / 'train/circle'} holds no picture" in capsys.readouterr().err


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path, capsys: Capture) -> None:
    """A folder without a checkpoint fails in a line."""
    assert main([str(tmp_path)]) == 1

    out, error = capsys.readouterr()
    assert (out, error) == ("", f"error: there is no file {tmp_path / 'best.pt'}\n")


def test_wrong_usage_exits_with_2() -> None:
    """A run must be named."""
    with pytest.raises(SystemExit, match="2"):
        main([])
