"""What is said of a data set before anybody trains on it."""

import shutil
from pathlib import Path

import pytest

from antbee.training.data import check_pictures
from antbee.training.survey import list_warnings
from tests.training.folders import fill

ENOUGH = {"val/ant": 10, "val/bee": 10}


def test_good_pictures_are_not_warned_of(tmp_path: Path) -> None:
    """Ten pictures of each label on each side, and no more than four times as many of any."""
    fill(tmp_path, {"train/ant": 10, "train/bee": 40, **ENOUGH})

    assert list_warnings(check_pictures(tmp_path)) == []


def test_unbalanced_labels_are_counted(tmp_path: Path) -> None:
    """Above four to one the labels are named with how many pictures there are of each."""
    fill(tmp_path, {"train/ant": 10, "train/bee": 41, **ENOUGH})

    (line,) = list_warnings(check_pictures(tmp_path))

    assert line.startswith(
        "warning: unbalanced labels: 41 training pictures of bee, and ant 10: "
        "the small ones will be answered too seldom"
    )


def test_a_long_list_of_labels_is_cut_short(tmp_path: Path) -> None:
    """Of many small labels the ten smallest are named, and the others are counted."""
    small = {f"train/{number:02}": 10 + number for number in range(13)}
    val = {f"val/{number:02}": 10 for number in range(13)}
    fill(tmp_path, {**small, **val, "train/zebra": 100, "val/zebra": 10})

    (line,) = list_warnings(check_pictures(tmp_path))

    assert "zebra, and 00 10, 01 11, 02 12, " in line
    assert ", 09 19 and 3 more: " in line


@pytest.mark.parametrize(
    ("split", "purpose"), [("train", "to learn from"), ("val", "to validate on")]
)
def test_labels_with_few_pictures_are_named(tmp_path: Path, split: str, purpose: str) -> None:
    """Fewer than ten pictures of a label on one side are said, with the number."""
    fill(tmp_path, {"train/ant": 10, "train/bee": 10, **ENOUGH})
    (tmp_path / split / "bee/0.png").unlink()

    (line,) = list_warnings(check_pictures(tmp_path))

    assert line.startswith(f"warning: fewer than 10 pictures {purpose}: bee 9: ")


def test_a_picture_on_both_sides_is_reported(tmp_path: Path) -> None:
    """The same contents in train and val are counted, named, recorded, and left where they are."""
    fill(tmp_path, {"train/ant": 10, "train/bee": 10, **ENOUGH})
    shutil.copy(tmp_path / "train/ant/4.png", tmp_path / "val/ant/seen.png")

    pictures = check_pictures(tmp_path)

    line, pair = list_warnings(pictures)
    assert line.startswith("warning: the same contents in both train and val, 1 time(s): ")
    assert pair == "  train/ant/4.png = val/ant/seen.png"
    assert pictures.provenance["duplicates"] == {
        "across": 1,
        "contradicting": 0,
        "names": {"across": [["train/ant/4.png", "val/ant/seen.png"]], "contradicting": []},
    }
    assert (len(pictures.train), len(pictures.val)) == (20, 21)


def test_a_picture_under_two_labels_is_reported(tmp_path: Path) -> None:
    """The same contents under two labels are counted, named, recorded, and left where they are."""
    fill(tmp_path, {"train/ant": 10, "train/bee": 10, **ENOUGH})
    shutil.copy(tmp_path / "train/ant/4.png", tmp_path / "train/bee/is-it.png")

    pictures = check_pictures(tmp_path)

    line, pair = list_warnings(pictures)
    assert line.startswith("warning: the same contents under more than one label, 1 time(s): ")
    assert pair == "  train/ant/4.png = train/bee/is-it.png"
    assert (pictures.provenance["duplicates"]["across"], len(pictures.train)) == (0, 21)
    assert pictures.provenance["duplicates"]["contradicting"] == 1


def test_a_picture_under_three_labels_is_one(tmp_path: Path) -> None:
    """Contents are counted, not files, and two of these are enough to find the others by."""
    fill(tmp_path, {f"{split}/{label}": 2 for split in ("train", "val") for label in "abc"})
    for label in "bc":
        shutil.copy(tmp_path / "train/a/0.png", tmp_path / f"train/{label}/copy.png")

    duplicates = check_pictures(tmp_path).provenance["duplicates"]

    assert duplicates["contradicting"] == 1
    assert duplicates["names"]["contradicting"] == [["train/a/0.png", "train/b/copy.png"]]


def test_a_picture_under_another_label_on_the_other_side_is_both(tmp_path: Path) -> None:
    """The two kinds of duplicates are counted each for itself."""
    fill(tmp_path, {"train/ant": 10, "train/bee": 10, **ENOUGH})
    shutil.copy(tmp_path / "train/ant/4.png", tmp_path / "val/bee/is-it.png")

    duplicates = check_pictures(tmp_path).provenance["duplicates"]

    assert (duplicates["across"], duplicates["contradicting"]) == (1, 1)


def test_copies_in_one_label_folder_are_passed_over(tmp_path: Path) -> None:
    """Copies that are neither on both sides nor under two labels are no reason for a warning."""
    fill(tmp_path, {"train/ant": 10, "train/bee": 10, **ENOUGH})
    shutil.copy(tmp_path / "train/ant/4.png", tmp_path / "train/ant/again.png")

    assert list_warnings(check_pictures(tmp_path)) == []


def test_many_duplicates_are_named_in_part(tmp_path: Path) -> None:
    """Ten are named, in the folder's order, and the others are counted."""
    fill(tmp_path, {"train/ant": 12, "train/bee": 10, "val/bee": 10})
    shutil.copytree(tmp_path / "train/ant", tmp_path / "val/ant")

    pictures = check_pictures(tmp_path)

    first, *pairs, more = list_warnings(pictures)
    assert "12 time(s)" in first
    assert (pairs[0], len(pairs)) == ("  train/ant/0.png = val/ant/0.png", 10)
    assert more == "  and 2 more"
    assert pictures.provenance["duplicates"]["across"] == 12
