"""Checkpoints: what is saved is what is loaded, and what is not ours is refused."""

import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from antbee.errors import CheckpointError
from antbee.training.checkpoint import (
    Checkpoint,
    load_checkpoint,
    save_checkpoint,
    serialize,
    write_checkpoint,
)


@pytest.fixture
def saved(tmp_path: Path, checkpoint: Checkpoint) -> Path:
    """Save a small checkpoint."""
    path = tmp_path / "last.pt"
    save_checkpoint(checkpoint, path)
    return path


def test_a_checkpoint_comes_back_whole(saved: Path, checkpoint: Checkpoint) -> None:
    """Every tensor and every value is loaded as it was saved, bit for bit."""
    loaded = load_checkpoint(saved)

    assert_equal(asdict(checkpoint), asdict(loaded))
    assert loaded.position.epoch == 1


def test_a_checkpoint_holds_only_plain_values(saved: Path) -> None:
    """Any PyTorch reads it with `weights_only=True`."""
    assert torch.load(saved, weights_only=True)["labels"] == ["circle", "square"]


def test_training_may_go_on_while_a_checkpoint_is_written(
    tmp_path: Path, checkpoint: Checkpoint
) -> None:
    """What is to be written is settled: a later step, which changes the tensors, is not in it."""
    before = {name: tensor.clone() for name, tensor in checkpoint.model.items()}
    contents = serialize(checkpoint)
    for tensor in checkpoint.model.values():
        tensor.zero_()
    write_checkpoint(contents, tmp_path / "last.pt")

    assert any(tensor.any() for tensor in before.values())
    assert_equal(before, load_checkpoint(tmp_path / "last.pt").model)


def test_a_missing_checkpoint_is_named(tmp_path: Path) -> None:
    """A file that is not there is an error that names it."""
    with pytest.raises(CheckpointError, match=r"there is no file .*last\.pt"):
        load_checkpoint(tmp_path / "last.pt")


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[: len(data) // 2],
        lambda data: data[:1000] + bytes([data[1000] ^ 1]) + data[1001:],
        lambda _: b"",
    ],
    ids=["cut short", "one bit", "empty"],
)
def test_a_damaged_checkpoint_is_refused_by_its_checksum(
    saved: Path, damage: Callable[[bytes], bytes]
) -> None:
    """A file that is not the one its checksum was made of is refused by name."""
    saved.write_bytes(damage(saved.read_bytes()))

    with pytest.raises(CheckpointError, match=r"last\.pt is damaged: its SHA-256"):
        load_checkpoint(saved)


@pytest.mark.parametrize("contents", [b"", b"no checkpoint", b"PK\x03\x04", bytes(5000)])
def test_a_file_that_is_not_torchs_is_refused(tmp_path: Path, contents: bytes) -> None:
    """Other files are refused by name, without a checksum too."""
    path = tmp_path / "last.pt"
    path.write_bytes(contents)

    with pytest.raises(CheckpointError, match=r"last\.pt is not a PyTorch file"):
        load_checkpoint(path)


def test_a_checkpoint_without_its_checksum_is_loaded(saved: Path) -> None:
    """A checkpoint that was copied alone is good; cut short it is refused all the same."""
    saved.with_name("last.pt.sha256").unlink()
    assert load_checkpoint(saved).arch == "resnet18"

    saved.write_bytes(saved.read_bytes()[:-500])

    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(saved)


class Malice:
    """Pickled, it makes whoever loads it create a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str]]:
        """Return what the loader is to call."""
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_file_is_not_run(tmp_path: Path, zipped: bool) -> None:
    """A file that would run something when unpickled is refused, and nothing is run."""
    path, target = tmp_path / "last.pt", tmp_path / "ran"
    state = {"format": "antbee checkpoint", "version": 1, "model": Malice(target)}
    torch.save(state, path, _use_new_zipfile_serialization=zipped)

    with pytest.raises(CheckpointError, match="nothing in it was run"):
        load_checkpoint(path)

    assert not target.exists()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"format": "other"}, "not a checkpoint that train.py saved"),
        ({"version": 99}, "checkpoint format 99"),
        ({"labels": "ab"}, "labels is not a list"),
        ({"data": []}, "data is not a dict"),
        ({"labels": [1, 2]}, "a label is not text"),
        ({"model": {"weight": 1}}, "not a state dict"),
        ({"history": [{}]}, "not a whole checkpoint"),
        ({"position": {"epoch": 1, "leg": 2}}, "not a whole checkpoint"),
    ],
)
def test_a_foreign_file_is_refused(saved: Path, change: dict[str, object], reason: str) -> None:
    """A PyTorch file that is not a whole checkpoint of ours says what is wrong with it."""
    state = torch.load(saved, weights_only=True) | change
    saved.with_name("last.pt.sha256").unlink()
    torch.save(state, saved)

    with pytest.raises(CheckpointError, match=reason):
        load_checkpoint(saved)


def test_a_checkpoint_that_lacks_something_is_refused(saved: Path) -> None:
    """A missing part is named."""
    state = torch.load(saved, weights_only=True)
    del state["optimizer"]
    saved.with_name("last.pt.sha256").unlink()
    torch.save(state, saved)

    with pytest.raises(CheckpointError, match="optimizer"):
        load_checkpoint(saved)


def test_what_an_earlier_release_left_out_is_grouped(saved: Path) -> None:
    """It kept a reason by each file's name, and all of them were taken for unreadable."""
    state = torch.load(saved, weights_only=True)
    state["data"]["left_out"] = {"train/a/1.jpg": "cut", "train/a/2.JPG": "cut"}
    torch.save(state, saved)
    saved.with_name(f"{saved.name}.sha256").unlink()

    data = load_checkpoint(saved).data
    assert data["unreadable"] == ["train/a/1.jpg", "train/a/2.JPG"]
    assert [(one["count"], one["reason"]) for one in data["left_out"]] == [(2, "cut")]


def test_bare_weights_are_no_checkpoint(tmp_path: Path) -> None:
    """A state dict is refused where a run is to go on."""
    torch.save({"fc.weight": torch.zeros(2)}, tmp_path / "weights.pth")

    with pytest.raises(CheckpointError, match="not a checkpoint"):
        load_checkpoint(tmp_path / "weights.pth")


def test_a_folder_that_cannot_be_written_to_is_one_line(
    tmp_path: Path, checkpoint: Checkpoint
) -> None:
    """An error of the disk names the file and the reason."""
    with pytest.raises(CheckpointError, match=r"gone/last\.pt could not be written \(No such"):
        save_checkpoint(checkpoint, tmp_path / "gone/last.pt")


def assert_equal(expected: object, actual: object) -> None:
    """Compare nested values, and tensors bit for bit."""
    assert type(expected) is type(actual)
    if isinstance(expected, dict) and isinstance(actual, dict):
        assert expected.keys() == actual.keys()
        for key in expected:
            assert_equal(expected[key], actual[key])
    elif isinstance(expected, torch.Tensor) and isinstance(actual, torch.Tensor):
        assert torch.equal(expected, actual)
    else:
        assert expected == actual
