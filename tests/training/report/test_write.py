"""A run's report, from its folder to its folder."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from antbee.accuracy import HeldOut, Proportion
from antbee.errors import CheckpointError, DataError
from antbee.files import sha256_of
from antbee.training.check import check_pictures
from antbee.training.checkpoint import load_checkpoint, save_checkpoint
from antbee.training.data import Copies, Picture, Pictures
from antbee.training.report import write
from antbee.training.report.write import read_metrics, try_report, write_report
from tests.training.report.drawn import save_run

MADE = {
    "report.html",
    "suspects.csv",
    *(f"{name}.png" for name in ("curves", "confusion", "reliability", "mistakes", "uncertain")),
}


def test_report_is_in_the_runs_folder(folder: Path, pictures: Pictures) -> None:
    """The page and its charts are written, and nothing else in the folder is touched.

    What was measured on test pictures is on the page, and how training pictures are recognised.
    """
    labels = {label: Proportion(4, 9) for label in pictures.labels}
    tested = HeldOut("training", sha256_of(folder / "best.pt"), "5ab", 0, labels)
    (folder / "test.json").write_text(json.dumps(tested.describe()))
    before = {path: path.read_bytes() for path in folder.iterdir()}
    path = write_report(folder, pictures)

    assert path == folder / "report.html"
    assert {one.name for one in folder.iterdir()} == MADE | {one.name for one in before}
    assert all(one.read_bytes() == contents for one, contents in before.items())
    page = path.read_text("utf-8")
    assert "20250131-235959-resnet18" in page
    assert "8 of 18, " in page
    assert "on 12 training pictures" in page


def test_what_a_person_marked_stays(folder: Path, pictures: Pictures) -> None:
    """A report that is made again leaves the marks in the table of suspects where they were."""
    pictures = replace(pictures, copies=[Copies(pictures.train[0], pictures.val[-1], 0.8)])
    write_report(folder, pictures)
    table = folder / "suspects.csv"
    marked = table.read_text().replace("\n,copy", "\nyes,copy")
    assert "yes,copy,train/circle/0.jpg,circle,square,0.800,val/square/1.jpg" in marked
    table.write_text(marked)

    write_report(folder, pictures)

    assert table.read_text() == marked


def test_suspects_that_nobody_can_look_for_are_no_reason_to_fail(
    folder: Path, pictures: Pictures, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a training picture there is a report all the same, and an old table stays."""
    table = folder / "suspects.csv"
    table.write_text("mine")
    gone = replace(pictures, train=[Picture(folder / "gone.jpg", 0)], copies=None)

    page = write_report(folder, gone).read_text("utf-8")

    assert "no pictures to look at: " in capsys.readouterr().err
    assert "Pictures to look at" not in page
    assert table.read_text() == "mine"


def test_labels_and_files_need_not_be_text(data: Path, tmp_path: Path) -> None:
    """Labels that are HTML or mathematics and files that are no UTF-8 are reported as others."""
    odd = shutil.copytree(data, tmp_path / "data")
    for split in ("train", "val"):
        (odd / split / "circle").rename(odd / split / "<b>$x$&")
    (odd / "val/<b>$x$&/0.jpg").rename(odd / "val/<b>$x$&" / os.fsdecode(b"\xfe_$<i>.jpg"))
    pictures = check_pictures(odd)
    page = write_report(save_run(tmp_path / "run", pictures), pictures).read_text("utf-8")

    assert "&lt;b&gt;$x$&amp;" in page
    assert "\\udcfe_$&lt;i&gt;.jpg" in page
    assert "<i>" not in page


def test_other_labels_are_refused(folder: Path, pictures: Pictures, tmp_path: Path) -> None:
    """Pictures of other labels are not asked about, and their labels are said."""
    other = Pictures(["circle", "moth"], pictures.train, pictures.val, {})

    with pytest.raises(DataError, match="circle, moth"):
        write_report(folder, other)
    assert not (folder / "report.html").exists()
    assert list(tmp_path.iterdir()) == [folder]


def test_labels_are_the_run_s_however_they_are_spelt(
    folder: Path, pictures: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is spelt and sorted otherwise on another system is asked about by the run's labels."""
    state = load_checkpoint(folder / "best.pt")
    save_checkpoint(replace(state, labels=["A\u0308pfel", "Birnen"]), folder / "best.pt")
    moved = [replace(one, label=1 - one.label) for one in pictures.val[::-1]]
    asked: list[Picture] = []
    monkeypatch.setattr(write, "answer", lambda _network, val, *_: asked.extend(val))

    with pytest.raises(AttributeError):  # nothing is answered
        write_report(folder, replace(pictures, labels=["Birnen", "\xc4pfel"], val=moved))
    assert {one.path.parent.name: one.label for one in asked} == {"circle": 0, "square": 1}


def test_a_run_without_an_epoch_is_refused(folder: Path, pictures: Pictures) -> None:
    """A checkpoint of a run that has not ended its first epoch has nothing to report."""
    save_checkpoint(replace(load_checkpoint(folder / "best.pt"), best=None), folder / "best.pt")

    with pytest.raises(CheckpointError, match="without a finished epoch"):
        write_report(folder, pictures)


def test_weights_of_another_network_are_refused(folder: Path, pictures: Pictures) -> None:
    """A checkpoint whose weights do not fit its labels is refused."""
    labels = ["circle", "moth", "square"]
    save_checkpoint(replace(load_checkpoint(folder / "best.pt"), labels=labels), folder / "best.pt")

    with pytest.raises(CheckpointError, match="not those of a resnet18"):
        write_report(folder, replace(pictures, labels=labels))


@pytest.mark.parametrize("text", ["", "x", "[1]\n", '{"epoch": 1}\n', None])
def test_damaged_metrics_are_refused(tmp_path: Path, text: str | None) -> None:
    """A file of metrics that is missing, damaged or empty is named."""
    if text is not None:
        (tmp_path / "metrics.jsonl").write_text(text)

    with pytest.raises(CheckpointError, match=r"metrics\.jsonl"):
        read_metrics(tmp_path / "metrics.jsonl")


def test_metrics_without_an_end_are_not_read(tmp_path: Path) -> None:
    """A file that is far too large, or a pipe, is refused before it is read."""
    large, pipe = tmp_path / "metrics.jsonl", tmp_path / "pipe"
    with large.open("wb") as file:
        file.truncate(10**12)
    os.mkfifo(pipe)

    for path in (large, pipe):
        with pytest.raises(CheckpointError, match="is no file of at most 10 MB"):
            read_metrics(path)


def test_a_failure_is_said_and_passed_over(
    tmp_path: Path, pictures: Pictures, capsys: pytest.CaptureFixture[str]
) -> None:
    """A report that cannot be made is no reason to fail: the run is complete without it."""
    try_report(tmp_path / "gone", pictures)

    line = capsys.readouterr().err
    assert line.startswith("no report: there is no file")
    assert f"python -m antbee.training.report {tmp_path / 'gone'}" in line


def test_even_a_bug_is_passed_over(
    saved: Path,
    pictures: Pictures,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever goes wrong, a missing library or a bug of ours, the run is not lost."""

    def fail(*_: object) -> None:
        raise ImportError("no matplotlib")

    monkeypatch.setattr(write, "write_report", fail)
    try_report(saved, pictures)

    assert "no report: ImportError('no matplotlib')" in capsys.readouterr().err


def test_ctrl_c_is_not_passed_over(
    saved: Path, pictures: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever stops the command while it writes the report stops the command."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(write, "write_report", stop)

    with pytest.raises(KeyboardInterrupt):
        try_report(saved, pictures)
