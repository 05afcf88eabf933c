"""The pictures' folder."""

import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from antbee.errors import DataError
from antbee.training.data import check_pictures, describe_change, find_pictures
from antbee.training.examine import hash_files
from tests.training.conftest import draw_picture, make_data


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Draw a data set that the test may change."""
    return make_data(tmp_path / "data")


def test_labels_are_the_sorted_folder_names(tmp_path: Path) -> None:
    """Any number of labels, in the order of their names, with their pictures in order too."""
    make_data(tmp_path, train=2, labels=("wasp", "ant", "moth"))

    split = find_pictures(tmp_path / "train")

    assert split.labels == ["ant", "moth", "wasp"]
    assert [picture.label for picture in split.pictures] == [0, 0, 1, 1, 2, 2]
    assert [picture.path.name for picture in split.pictures] == ["0.jpg", "1.jpg"] * 3


def test_hidden_files_are_no_pictures(own: Path) -> None:
    """Hidden files and folders are passed over without a word."""
    before = check_pictures(own)
    (own / "train/circle/.DS_Store").write_bytes(b"x")
    (own / "train/.cache").mkdir()

    assert check_pictures(own) == before


def test_unreadable_pictures_are_named_left_out_and_counted(
    own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A picture that is cut short, of another format or unreadable is left out, with the reason."""
    whole = (own / "train/circle/0.jpg").read_bytes()
    (own / "train/circle/0.jpg").write_bytes(whole[: len(whole) // 2])
    (own / "val/square/notes.txt").write_text("no picture")
    (own / "val/square/gone.jpg").symlink_to("nowhere")

    pictures = check_pictures(own)

    reasons = {
        "train/circle/0.jpg": "the picture is broken or cut short",
        "val/square/gone.jpg": "No such file or directory",
        "val/square/notes.txt": "this is not a JPEG, PNG, WebP, GIF or BMP picture",
    }
    assert pictures.provenance["left_out"] == reasons
    said = capsys.readouterr().err
    assert all(f"left out {name}: {reason}" in said for name, reason in reasons.items())
    assert "left out 3 of 18 files" in said
    assert (len(pictures.train), len(pictures.val)) == (11, 4)
    assert pictures.provenance["pictures"]["train"] == {"circle": 5, "square": 6}


def test_a_folder_in_a_label_s_folder_is_named(own: Path) -> None:
    """Pictures that lie too deep are not passed over without a word."""
    (own / "train/circle/more").mkdir()
    draw_picture(own / "train/circle/more/0.jpg", round_=True)

    pictures = check_pictures(own)

    assert pictures.provenance["left_out"] == {"train/circle/more": "Is a directory"}
    assert len(pictures.train) == 12


def test_a_pipe_is_not_waited_for(own: Path) -> None:
    """What nobody writes to is no picture."""
    os.mkfifo(own / "train/circle/pipe")

    pictures = check_pictures(own)

    assert pictures.provenance["left_out"] == {"train/circle/pipe": "it is no ordinary file"}
    assert hash_files([own / "train/circle/pipe"]) == {}


def test_a_folder_that_may_not_be_looked_into_is_named(
    own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else's folder is an error in a line."""
    closed, look = own / "train/square", Path.iterdir

    def refuse(folder: Path) -> Iterator[Path]:
        if folder == closed:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return look(folder)

    monkeypatch.setattr(Path, "iterdir", refuse)

    with pytest.raises(DataError, match=r"train/square cannot be looked into: Permission denied"):
        check_pictures(own)


def test_a_missing_folder_names_the_command_that_fills_it(tmp_path: Path) -> None:
    """Without any data the message says how to get some."""
    with pytest.raises(DataError, match=r"sh get_data\.sh"):
        check_pictures(tmp_path / "data")


@pytest.mark.parametrize("split", ["train", "val"])
def test_both_splits_are_needed(own: Path, split: str) -> None:
    """A folder without train or without val says which is missing."""
    shutil.rmtree(own / split)

    with pytest.raises(DataError, match=f"has no folder {split}"):
        check_pictures(own)


def test_one_label_is_not_enough(own: Path) -> None:
    """With fewer than two labels there is nothing to tell apart."""
    shutil.rmtree(own / "train/square")

    with pytest.raises(DataError, match="at least two"):
        check_pictures(own)


def test_a_label_must_be_in_both_splits(own: Path) -> None:
    """A label folder that only one of train and val has is named."""
    (own / "train/triangle").mkdir()
    draw_picture(own / "train/triangle/0.jpg", round_=False)

    with pytest.raises(DataError, match=r"only one of .* has triangle"):
        check_pictures(own)


def test_an_empty_label_folder_is_named(own: Path) -> None:
    """A label folder without files is an error."""
    shutil.rmtree(own / "val/circle")
    (own / "val/circle").mkdir()

    with pytest.raises(DataError, match="val/circle holds no picture"):
        check_pictures(own)


def test_a_label_whose_pictures_are_all_unreadable_is_named(own: Path) -> None:
    """A label folder that is empty once unreadable pictures are left out is an error."""
    for path in (own / "val/circle").iterdir():
        path.write_bytes(b"")

    with pytest.raises(DataError, match="val/circle holds no picture"):
        check_pictures(own)


def test_the_same_pictures_elsewhere_are_no_change(own: Path, tmp_path: Path) -> None:
    """A data set that was only moved has not changed."""
    before = check_pictures(own).provenance

    now = check_pictures(own.rename(tmp_path / "elsewhere")).provenance

    assert describe_change(before, now) is None
    assert (before["sha256"], now["folder"]) == (now["sha256"], "elsewhere")


def test_a_change_is_described_by_folder(own: Path) -> None:
    """A removed, an altered and a renamed picture are each found, and their folder named."""
    before = check_pictures(own).provenance
    (own / "train/circle/0.jpg").unlink()
    shutil.copy(own / "train/square/0.jpg", own / "train/square/1.jpg")
    (own / "val/square/0.jpg").rename(own / "val/square/x.jpg")

    now = check_pictures(own).provenance

    assert describe_change(before, now) == (
        "train/circle (6 pictures then, 5 now), train/square (other names or contents), "
        "val/square (other names or contents)"
    )
    assert before["sha256"] != now["sha256"]
