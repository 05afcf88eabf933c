"""Test pictures, measured once."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from antbee.accuracy import HeldOut
from antbee.files import sha256_of
from antbee.images import IMAGENET
from antbee.training.check import check_pictures
from antbee.training.checkpoint import load_checkpoint
from antbee.training.data import Pictures
from antbee.training.network import restore_model
from antbee.training.report import held_out
from antbee.training.report.held_out import read_result, try_test
from antbee.training.report.measure import answer
from tests.training.conftest import draw_picture

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def tested(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Pictures:
    """Add three test pictures of one label to the shared data set; the other has none."""
    folder = shutil.copytree(data, tmp_path_factory.mktemp("tested") / "data")
    (folder / "test/circle").mkdir(parents=True)
    for number in range(3):
        draw_picture(folder / f"test/circle/{number}.jpg", round_=number < 2)
    return check_pictures(folder)


def test_it_is_the_best_network_on_the_test_pictures(
    folder: Path, tested: Pictures, capsys: Capture
) -> None:
    """The file says how many of which pictures what network recognised, and the line says it."""
    try_test(folder, tested)

    network = restore_model(load_checkpoint(folder / "best.pt")).eval()
    found = answer(network, tested.test, torch.device("cpu"), IMAGENET)
    right = int((found.labels == 0).sum())
    content = json.loads((folder / "test.json").read_text())
    assert content["labels"] == {
        "circle": {"pictures": 3, "correct": right},
        "square": {"pictures": 0, "correct": 0},
    }
    assert content["checkpoint"] == sha256_of(folder / "best.pt")
    assert content["sha256"] == tested.provenance["test"]["sha256"]
    assert capsys.readouterr().err.startswith(f"test: {right} of 3 right, ")
    assert read_result(folder / "best.pt") == HeldOut.from_json(content)


def test_it_is_measured_once(folder: Path, tested: Pictures, capsys: Capture) -> None:
    """A run that goes on when it is done does not measure again, unless the pictures are others."""
    try_test(folder, tested)
    (folder / "test.json").touch()
    first = (folder / "test.json").stat().st_mtime_ns
    capsys.readouterr()
    try_test(folder, tested)

    assert (folder / "test.json").stat().st_mtime_ns == first
    assert capsys.readouterr().err.startswith("test, measured before: ")
    provenance = tested.provenance | {"test": tested.provenance["test"] | {"sha256": "another"}}
    try_test(folder, replace(tested, provenance=provenance))
    assert capsys.readouterr().err.startswith("test: ")


def test_without_test_pictures_nothing_is_done(folder: Path, pictures: Pictures) -> None:
    """A data set without a test folder leaves no file."""
    try_test(folder, pictures)

    assert not (folder / "test.json").exists()


def test_what_is_damaged_or_another_s_counts_as_nothing(folder: Path) -> None:
    """Neither a broken file nor the result of an earlier network is taken for this one's."""
    another = json.dumps(HeldOut("training", "another", "5ab", 0, {}).describe())
    for text in ("", "[]", '{"checkpoint": 1}', "\xff", another):
        (folder / "test.json").write_text(text, "latin-1")
        assert read_result(folder / "best.pt") is None


def test_a_failure_loses_no_run(
    folder: Path, tested: Pictures, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """Whatever goes wrong is said, with the command that tries again; so is an interruption."""

    def fail(*_: object) -> None:
        raise RuntimeError("no memory")

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(held_out, "answer", fail)
    try_test(folder, tested)
    assert "not tested: RuntimeError('no memory')" in (line := capsys.readouterr().err)
    assert f"python -m antbee.training.report {folder} --split test" in line
    monkeypatch.setattr(held_out, "answer", stop)
    with pytest.raises(KeyboardInterrupt):
        try_test(folder, tested)
    assert "not tested: interrupted; to try again: " in capsys.readouterr().err
    assert not (folder / "test.json").exists()
