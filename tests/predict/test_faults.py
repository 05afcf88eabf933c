"""`python -m antbee.predict`: files that are no pictures, and arguments that cannot be."""

import importlib
import json
import os
from pathlib import Path
from unittest.mock import Mock

import pytest

from antbee import predict
from antbee.artifact import ONNX, PackedModel
from antbee.predict import find_files, main
from antbee.results import Outcome
from tests.predict.command import ORDER, Capture, run


def test_what_cannot_be_read_is_named(packed: PackedModel, pictures: Path, capsys: Capture) -> None:
    """Every other file is classified; each that is not gets a line, and the exit code is 1."""
    (pictures / "empty.png").touch()
    (pictures / "note.txt").write_text("ants")
    missing, folder = pictures / "missing.jpg", pictures / "nothing"
    folder.mkdir()
    code = run(
        packed, missing, pictures, pictures / "note.txt", folder, "/dev/null", "--jsonl", "-"
    )

    out, err = capsys.readouterr()
    answers = [json.loads(line) for line in out.splitlines()]
    faults = {one["path"]: one["error"]["code"] for one in answers if "error" in one}
    assert code == 1
    assert len([one for one in answers if "label" in one]) == len(ORDER)
    assert faults == {
        str(missing): "unreadable_file",
        str(pictures / "empty.png"): "unsupported_image",
        str(pictures / "note.txt"): "unsupported_image",
        str(folder): "unreadable_file",
        "/dev/null": "unreadable_file",
    }
    assert [line.partition(": ")[0] for line in err.splitlines()[:5]] == list(faults)
    assert err.splitlines()[0] == f"{missing}: it cannot be read: No such file or directory"
    assert err.splitlines()[-2:] == [
        "5 of 11 could not be classified",
        "1 other files in the folders were passed over (.txt)",
    ]


def test_hidden_and_other_files_are_passed_over(tmp_path: Path) -> None:
    """In folders, hidden files are left aside, and what is no picture by its name is counted."""
    for name in (".hidden.jpg", ".git/a.jpg", "b.heic", "c", "d.JPG", "e/f.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    files, passed_over = find_files([tmp_path, tmp_path / ".hidden.jpg"])

    assert files == [tmp_path / "d.JPG", tmp_path / ".hidden.jpg"]
    assert passed_over == {".heic": 1, "no ending": 1, ".txt": 1}


def test_folder_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that this user may not read is an outcome, not a gap."""

    def scandir(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", scandir)
    ((outcome,), _) = find_files([tmp_path])

    assert isinstance(outcome, Outcome)
    assert outcome.path == tmp_path
    assert str(outcome.error) == "the folder cannot be read: Permission denied"


def test_a_link_that_leads_round_is_followed_once(tmp_path: Path) -> None:
    """A link from a folder to itself does not make it endless."""
    (tmp_path / "a.jpg").touch()
    (tmp_path / "again").symlink_to(tmp_path)

    assert find_files([tmp_path])[0] == [tmp_path / "a.jpg"]


def test_linked_folders_are_looked_into(tmp_path: Path) -> None:
    """Pictures in a folder that a link leads to are among the others, and once."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/b.jpg").touch()
    (tmp_path / "here").mkdir()
    for name in ("one", "two"):
        (tmp_path / "here" / name).symlink_to(tmp_path / "elsewhere")

    assert find_files([tmp_path / "here"])[0] == [tmp_path / "here/one/b.jpg"]


# BentoML's, as it is imported.
@pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning")
def test_a_folder_called_as_a_model_is_no_model(
    tmp_path: Path, pictures: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name is looked up in the store, even where a folder of pictures is called so, too."""
    (tmp_path / "flowers").mkdir()
    monkeypatch.chdir(tmp_path)

    assert main([str(pictures), "--model", "flowers"]) == 1
    assert "error: there is no packed model flowers" in capsys.readouterr().err


def test_huge_files_are_not_read(packed: PackedModel, tmp_path: Path, capsys: Capture) -> None:
    """A file larger than any picture is refused by its size alone."""
    path = tmp_path / "disk.bmp"
    with path.open("wb") as file:
        file.truncate(10**12)

    assert run(packed, path) == 1
    assert f"{path}: it is larger than 500 MB" in capsys.readouterr().err


def test_too_little_memory_is_said(
    packed: PackedModel, pictures: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A picture that takes more memory than there is fails by itself."""

    def exhaust(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(predict, "read_array", exhaust)

    assert run(packed, pictures / "a.PNG") == 1
    assert "try --threads 1" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["a.jpg", "--csv", "-", "--jsonl", "-"],
        ["a.jpg", "--csv", "answers", "--jsonl", "answers"],
        ["b.jpg", "--csv", "a.jpg"],
        ["b.jpg", "--jsonl", "a.PNG"],
        ["a.jpg", "--threads", "0"],
        ["a.jpg", "--threads", "two"],
        ["a.jpg", "--runtime", "tensorflow"],
        ["a.jpg", "--nonsense"],
    ],
)
def test_wrong_usage(arguments: list[str], capsys: Capture) -> None:
    """Arguments that cannot be are answered with the usage and exit code 2."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)

    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("usage: python -m antbee.predict ")


def test_a_folder_without_a_model(tmp_path: Path, pictures: Path, capsys: Capture) -> None:
    """A folder that holds no packed model is named."""
    assert main([str(pictures), "--model", str(tmp_path)]) == 1
    assert f"error: {tmp_path} holds no packed model" in capsys.readouterr().err


# BentoML's, as it is imported.
@pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning")
def test_a_store_that_cannot_be_read(
    pictures: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another user's store of models is named."""
    denied = PermissionError(13, "Permission denied", "/else/models")
    store = importlib.import_module("bentoml.models")  # BentoML itself loads it when it is used
    monkeypatch.setattr(store, "get", Mock(side_effect=denied))

    assert main([str(pictures)]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error == "error: /else/models cannot be read: Permission denied"


def test_a_damaged_model(
    packed: PackedModel, pictures: Path, tmp_path: Path, capsys: Capture
) -> None:
    """A packed model whose network is damaged is not used."""
    for path in packed.folder.iterdir():
        (tmp_path / path.name).hardlink_to(path)
    (tmp_path / ONNX).unlink()
    (tmp_path / ONNX).write_bytes(b"damaged")

    assert main([str(pictures), "--model", str(tmp_path)]) == 1
    assert f"{ONNX} is damaged" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("file", "reason"), [("{0}/no/folder.csv", "No such file"), ("/dev/full", "No space left")]
)
def test_answers_that_cannot_be_written(
    packed: PackedModel, pictures: Path, capsys: Capture, file: str, reason: str
) -> None:
    """Where the answers cannot go, the command says so in one line."""
    if file == "/dev/full" and not Path(file).exists():
        pytest.skip("this system has no /dev/full")

    assert run(packed, pictures, "--csv", file.format(pictures)) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: ")
    assert f"cannot be written: {reason}" in last
