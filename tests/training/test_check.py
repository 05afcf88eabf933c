"""`train.py --check`: what there is to train on, and nothing else."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import REPOSITORY, encode
from tests.training.conftest import run_train
from tests.training.folders import fill
from train import main


def check(data: Path, *more: str) -> int:
    """Run the command in this process."""
    return main(["--check", "--data", str(data), *more])


def test_the_table_counts_and_measures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Labels with their pictures, the sums, sizes and duplicates are printed, and 0 is returned."""
    fill(tmp_path, {"train/ant": 12, "train/wasp": 10, "val/ant": 10, "val/wasp": 10})
    (tmp_path / "train/ant/notes.txt").write_text("no picture")
    (tmp_path / "val/wasp/dot.png").write_bytes(encode(Image.new("RGB", (1, 1)), "PNG"))
    (tmp_path / "val/wasp/wide.png").write_bytes(encode(Image.new("RGB", (9, 2)), "PNG"))

    code = check(tmp_path)

    captured = capsys.readouterr()
    assert code == 0
    assert captured.out.splitlines() == [
        "label  train  val  left out",
        "ant       12   10         1",
        "wasp      10   12         0",
        "total     22   22         1",
        "",
        "pixels: smallest 1 x 1, median 4 x 4, largest 9 x 2",
        "duplicates: 0 in both train and val, 0 under more than one label",
    ]
    assert "left out train/ant/notes.txt: this is not a JPEG" in captured.err


def test_warnings_are_part_of_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What a run would warn of is printed below the table."""
    fill(tmp_path, {"train/ant": 50, "train/bee": 10, "val/bee": 10})
    shutil.copytree(tmp_path / "train/ant", tmp_path / "val/ant")

    assert check(tmp_path) == 0

    lines = capsys.readouterr().out.splitlines()
    assert "duplicates: 50 in both train and val, 0 under more than one label" in lines
    assert [line.split(": ")[1][:20] for line in lines if line.startswith("warning: ")] == [
        "unbalanced labels",
        "the same contents in",
    ]


def test_divided_pictures_are_counted_as_they_will_be(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With --val-fraction the table shows both sides."""
    fill(tmp_path, {"ant": 20, "bee": 40})

    assert check(tmp_path, "--val-fraction", "0.25") == 0

    assert capsys.readouterr().out.splitlines()[1:4] == [
        "ant       15    5         0",
        "bee       30   10         0",
        "total     45   15         0",
    ]


def test_a_thousand_labels_are_looked_through(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A thousand labels are a thousand lines, and one for each warning."""
    labels = [f"label{number:03}" for number in range(1000)]
    fill(tmp_path, {f"{split}/{label}": 1 for split in ("train", "val") for label in labels})

    assert check(tmp_path) == 0

    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines[1:1001]] == [[label, "1", "1", "0"] for label in labels]
    assert lines[1001].split() == ["total", "1000", "1000", "0"]
    assert [line for line in lines if line.endswith("and 990 more")] == []
    assert sum("label000 1" in line and "and 990 more" in line for line in lines) == 2


def test_what_cannot_be_trained_on_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where a run would fail, so does this, with the same reason."""
    fill(tmp_path, {"train/ant": 2, "train/bee": 2, "val/ant": 2})

    code = check(tmp_path)

    captured = capsys.readouterr()
    assert (code, captured.out) == (1, "")
    assert captured.err.splitlines()[-1].startswith("error: ")
    assert "at least two are needed" in captured.err


def test_it_needs_no_torch_and_leaves_nothing(tmp_path: Path) -> None:
    """Neither torch nor the network nor a folder to save in is needed."""
    data = fill(tmp_path / "data", {"train/a": 1, "train/b": 1, "val/a": 1, "val/b": 1})
    before = sorted(tmp_path.rglob("*"))
    script = "import sys, train\nprint(train.main(['--check']), 'torch' in sys.modules)"
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "PYTHONDONTWRITEBYTECODE": "1"}

    run = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )

    assert run.stdout.splitlines()[-1] == "0 False"
    assert sorted(tmp_path.rglob("*")) == before
    assert data.is_dir()


def test_a_name_that_no_terminal_can_show_is_escaped(tmp_path: Path) -> None:
    """A label whose name is not valid UTF-8 is printed with what is wrong with it."""
    name = os.fsdecode(b"caf\xe9")
    fill(tmp_path, {f"{split}/{label}": 1 for split in ("train", "val") for label in ("a", name)})

    run = run_train("--check", "--data", tmp_path)

    assert run.returncode == 0, run.stderr
    assert "caf\\udce9" in run.stdout


def test_a_checkpoint_is_not_for_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--check` with -c is wrong usage."""
    with pytest.raises(SystemExit) as end:
        check(tmp_path, "-c", "last.pt")

    assert end.value.code == 2
    assert "--check" in capsys.readouterr().err.splitlines()[-1]
