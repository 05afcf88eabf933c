"""The packed model's folder."""

import json
from pathlib import Path
from unittest.mock import Mock

import pytest

from antbee import artifact
from antbee.artifact import HEAD, INDEX, INT8, ONNX, WEIGHTS, PackedModel, read_model, write_model
from antbee.calibration import Calibration
from antbee.errors import ModelError
from antbee.files import sha256_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pack a few bytes as a model, to be damaged."""
    for name in (WEIGHTS, ONNX, HEAD):
        (tmp_path / name).write_bytes(bytes(2000))
    write_model(PackedModel("resnet18", ("a", "b"), "onnx", folder=tmp_path))
    return tmp_path


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """Every field of a packed model survives writing and reading."""
    model = PackedModel(
        arch="resnet34",
        labels=("a", "b"),
        runtime="onnx",
        candidates=("onnx", "int8"),
        metrics={"val_top1": 0.5},
        calibration=Calibration(1.5, 10, 0.25, 0.125, 0.2),
        gate={"rows": []},
        provenance={"data": {"folder": "x"}},
        folder=tmp_path,
    )
    write_model(model)

    assert read_model(tmp_path) == model


def test_files_are_vouched_for(folder: Path) -> None:
    """A file with the right content is handed out; a model without an int8 network is whole."""
    model = read_model(folder)

    assert set(model.files) == {WEIGHTS, ONNX, HEAD}
    assert model.path(ONNX) == folder / ONNX


def test_int8_is_vouched_for_where_there_is_one(folder: Path) -> None:
    """The int8 network is checked like the other files."""
    (folder / INT8).write_bytes(b"int8")
    write_model(read_model(folder))

    assert read_model(folder).path(INT8) == folder / INT8


def test_damaged_file_is_refused(folder: Path) -> None:
    """A file of which one byte has changed is refused by name."""
    data = bytearray((folder / ONNX).read_bytes())
    data[1000] ^= 1
    (folder / ONNX).write_bytes(data)

    with pytest.raises(ModelError, match=r"model\.onnx is damaged"):
        read_model(folder).path(ONNX)


def test_file_is_read_again_once_it_has_changed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asks twice for a file has it read once, unless it is not the same any more."""
    read = Mock(side_effect=sha256_of)
    monkeypatch.setattr(artifact, "sha256_of", read)
    model = read_model(folder)
    for _ in range(2):
        model.path(ONNX)

    read.assert_called_once_with(folder / ONNX)
    (folder / ONNX).write_bytes(bytes(1999))
    with pytest.raises(ModelError, match=r"model\.onnx is damaged"):
        model.path(ONNX)


def test_missing_file_is_refused(folder: Path) -> None:
    """A file that is gone is refused by name."""
    (folder / ONNX).unlink()

    with pytest.raises(ModelError, match=r"model\.onnx is missing"):
        read_model(folder).path(ONNX)


def test_what_cannot_be_read_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another user's model is refused by the name of the file, and no traceback."""
    denied = PermissionError(13, "Permission denied")
    monkeypatch.setattr(artifact, "sha256_of", Mock(side_effect=denied))
    with pytest.raises(ModelError, match=r"model\.onnx cannot be read: Permission denied"):
        read_model(folder).path(ONNX)

    monkeypatch.setattr(Path, "read_text", Mock(side_effect=denied))
    with pytest.raises(ModelError, match=r"model\.json cannot be read: Permission denied"):
        read_model(folder)


def test_empty_folder_says_what_to_do(tmp_path: Path) -> None:
    """A folder without a packed model names the command that makes one."""
    with pytest.raises(ModelError, match="run save_to_bento"):
        read_model(tmp_path)


@pytest.mark.parametrize("text", ["", "[1]", "{", '"x"', "\ud800".encode("utf-8", "surrogatepass")])
def test_broken_index_is_refused(tmp_path: Path, text: str | bytes) -> None:
    """An index that is not JSON of ours is refused."""
    (tmp_path / INDEX).write_bytes(text if isinstance(text, bytes) else text.encode())

    with pytest.raises(ModelError, match=r"model\.json"):
        read_model(tmp_path)


def test_another_format_is_refused(folder: Path) -> None:
    """An index of a later format names both formats."""
    content = json.loads((folder / INDEX).read_text())
    (folder / INDEX).write_text(json.dumps({**content, "format": 2}))

    with pytest.raises(ModelError, match="format 2 and this antbee reads 1"):
        read_model(folder)


def test_candidates_may_be_missing(folder: Path) -> None:
    """An index written before there were candidates means its one runtime."""
    content = json.loads((folder / INDEX).read_text())
    del content["candidates"]
    (folder / INDEX).write_text(json.dumps(content))

    assert read_model(folder).candidates == ()


def test_calibration_may_be_missing(folder: Path) -> None:
    """An index written before there was a calibration leaves the logits as they are."""
    content = json.loads((folder / INDEX).read_text())
    del content["calibration"]
    (folder / INDEX).write_text(json.dumps(content))

    assert read_model(folder).calibration == Calibration(temperature=1)


@pytest.mark.parametrize(
    "calibration", [{"temperature": value} for value in (0, -1, 1e9, "1", None)] + [[], "x"]
)
def test_impossible_calibration_is_refused(folder: Path, calibration: object) -> None:
    """A temperature that nobody would divide by is refused."""
    content = json.loads((folder / INDEX).read_text())
    (folder / INDEX).write_text(json.dumps({**content, "calibration": calibration}))

    with pytest.raises(ModelError, match=r"model\.json"):
        read_model(folder)


@pytest.mark.parametrize("key", ["labels", "preprocessing", "files"])
def test_incomplete_index_is_refused(folder: Path, key: str) -> None:
    """An index without one of its parts is refused."""
    content = json.loads((folder / INDEX).read_text())
    del content[key]
    (folder / INDEX).write_text(json.dumps(content))

    with pytest.raises(ModelError, match="incomplete"):
        read_model(folder)
