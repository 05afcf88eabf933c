"""The pictures' folder."""

import errno
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from antbee.errors import DataError
from antbee.training.check import check_pictures
from antbee.training.data import Pictures, choose_val, find_pictures, find_splits, hash_files
from antbee.training.provenance import describe_change
from tests.training.conftest import draw_picture, make_data
from tests.training.folders import fill

UNREACHABLE = "x" * 300
"""A name that is too long for a disk: following a link to it fails, for root, too."""

CONTENTS = {"ant": [f"a{number}" for number in range(50)], "bee": [f"b{n}" for n in range(10)]}


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
    groups = pictures.provenance["left_out"]
    assert {one["names"][0]: one["reason"] for one in groups} == reasons
    assert pictures.provenance["unreadable"] == ["train/circle/0.jpg"]
    said = capsys.readouterr().err
    assert all(f"left out {name}: {reason}" in said for name, reason in reasons.items())
    assert "left out 3 of 18 files" in said
    assert (len(pictures.train), len(pictures.val)) == (11, 4)
    assert pictures.provenance["pictures"]["train"] == {"circle": 5, "square": 6}


def test_folders_below_a_label_belong_to_it(own: Path, tmp_path: Path) -> None:
    """Pictures of a label may lie in folders of its own, links to others among them."""
    before = check_pictures(own)
    (own / "train/circle/day1").mkdir()
    (own / "train/circle/0.jpg").rename(own / "train/circle/day1/0.jpg")
    elsewhere = shutil.move(own / "val/square", tmp_path / "elsewhere")
    (own / "val/square").mkdir()
    for name in ("linked", "again"):
        (own / "val/square" / name).symlink_to(elsewhere)

    pictures = check_pictures(own)

    assert pictures.provenance["pictures"] == before.provenance["pictures"]
    assert own / "train/circle/day1/0.jpg" in [one.path for one in pictures.train]
    assert pictures.provenance["left_out"] == []


@pytest.mark.parametrize("target", [".", "..", "../..", "../square", "../../.."])
def test_a_link_that_leads_round_adds_nothing(own: Path, target: str) -> None:
    """A link to the folder that it is in, or above it, or to another label, is not followed."""
    before = check_pictures(own)
    (own / "train/circle/link").symlink_to(target)

    assert check_pictures(own) == before


def test_a_pipe_is_not_waited_for(own: Path) -> None:
    """What nobody writes to is no picture."""
    os.mkfifo(own / "train/circle/pipe")
    os.mkfifo(own / "source.txt")

    (group,) = check_pictures(own).provenance["left_out"]

    assert (group["names"], group["reason"]) == (["train/circle/pipe"], "it is not a file")
    assert hash_files([own / "train/circle/pipe"]) == {}


def test_what_cannot_be_reached_is_left_out_by_name(own: Path) -> None:
    """A link into a place where nobody may look costs that file, wherever it is."""
    for name in ("train/circle/link.jpg", "train/link.jpg"):
        (own / name).symlink_to(UNREACHABLE)

    pictures = check_pictures(own)

    (group,) = pictures.provenance["left_out"]
    assert group["names"] == ["train/circle/link.jpg", "train/link.jpg"]
    assert group["reason"] == "File name too long"
    assert len(pictures.train) == 12


@pytest.mark.parametrize("name", ["", "train", "val"])
def test_a_folder_that_cannot_be_reached_is_one_line(own: Path, name: str) -> None:
    """The same of the pictures' folders themselves is an error that names them."""
    shutil.rmtree(own / name)
    (own / name).symlink_to(UNREACHABLE)

    with pytest.raises(DataError, match=rf"{own / name} cannot be reached: File name too long"):
        check_pictures(own)


def test_a_folder_that_may_not_be_looked_into_is_named(
    own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else's folder is an error where it is a label's, and left out below one."""
    closed, look = own / "train/square/deeper", os.scandir

    def refuse(folder: Path) -> object:
        if folder == closed:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))
        return look(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    closed.mkdir()

    (group,) = check_pictures(own).provenance["left_out"]
    assert (group["names"], group["reason"]) == (["train/square/deeper"], "Permission denied")

    closed = own / "train/square"
    with pytest.raises(DataError, match=r"train/square cannot be looked into: Permission denied"):
        check_pictures(own)


@pytest.mark.parametrize("name", ["valid", "validation"])
def test_the_validation_pictures_have_other_names(own: Path, name: str) -> None:
    """What other programs call val is val, with --val-fraction too, and one is enough."""
    before = check_pictures(own)
    (own / "val").rename(own / name)

    assert check_pictures(own).provenance == before.provenance
    with pytest.raises(DataError, match=f"has a folder {name} to validate on"):
        check_pictures(own, 0.5)
    (own / "val").mkdir()
    with pytest.raises(DataError, match=f"has val and {name}, which mean the same"):
        check_pictures(own)


def test_a_test_set_and_others_are_no_labels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Beside label folders that are divided, test pictures and those of no label are neither."""
    fill(tmp_path, {"ant": 4, "bee": 4, "test/ant": 2, "test/bee": 2, "others": 4})

    pictures = check_pictures(tmp_path, 0.5)
    assert (pictures.labels, len(pictures.test)) == (["ant", "bee"], 4)
    assert capsys.readouterr().err.count("is left alone") == 1
    fill(tmp_path, {"train/others": 4, "train/test": 4})
    assert check_pictures(tmp_path, 0.5).labels == ["others", "test"]


def test_a_letter_may_be_spelt_in_two_ways(tmp_path: Path) -> None:
    """An accent of one's own, as macOS writes it, is the same label, in train's order."""
    fill(tmp_path, {"train/z": 2, "train/e\u0301": 2, "val/z": 1, "val/\xe9": 1})

    pictures = check_pictures(tmp_path)

    assert pictures.labels == ["e\u0301", "z"]
    assert [(one.path.parent.name, one.label) for one in pictures.val] == [("\xe9", 0), ("z", 1)]
    (tmp_path / "train/e\u0301").rename(tmp_path / "train/\xe9")
    (tmp_path / "train/\xe9").rename(tmp_path / "train/e\u0301")
    assert describe_change(pictures.provenance, check_pictures(tmp_path).provenance) is None
    fill(tmp_path, {"train/\xe9": 1})
    with pytest.raises(DataError, match=r"'e\\u0301' and '\\xe9': make them one"):
        check_pictures(tmp_path)


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


def names(pictures: Pictures, folder: Path) -> tuple[list[str], list[str]]:
    """Return the names of the pictures to train on, and of those to validate on."""
    sides = (pictures.train, pictures.val)
    train, val = ([str(one.path.relative_to(folder)) for one in side] for side in sides)
    return train, val


@pytest.mark.parametrize(("fraction", "ants", "bees"), [(0.2, 10, 2), (0.5, 25, 5), (0.28, 14, 3)])
def test_each_label_gives_its_share(fraction: float, ants: int, bees: int) -> None:
    """The share is of each label, rounded, and not of all pictures together."""
    chosen = choose_val(CONTENTS, fraction, 0)

    assert (len(chosen & {*CONTENTS["ant"]}), len(chosen & {*CONTENTS["bee"]})) == (ants, bees)


@pytest.mark.parametrize("fraction", [0.001, 0.999])
def test_each_side_has_a_picture_of_each_label(fraction: float) -> None:
    """However small or large the share, one picture is on either side."""
    pairs = {label: sums[:2] for label, sums in CONTENTS.items()}

    chosen = choose_val(pairs, fraction, 0)

    assert [len(chosen.intersection(pair)) for pair in pairs.values()] == [1, 1]


def test_the_choice_is_the_seed_s() -> None:
    """The same seed chooses the same, whatever the pictures' order; another seed does not."""
    reverse = {label: sums[::-1] for label, sums in reversed(CONTENTS.items())}

    assert choose_val(CONTENTS, 0.2, 7) == choose_val(reverse, 0.2, 7)
    assert choose_val(CONTENTS, 0.2, 7) != choose_val(CONTENTS, 0.2, 8)


@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.5, 0.8])
def test_an_added_picture_moves_one_other_at_most(fraction: float) -> None:
    """When a picture is added those there were stay on their sides, but for one."""
    moved = []
    for count in range(2, 50):
        before = choose_val({"ant": CONTENTS["ant"][:count]}, fraction, 0)
        after = choose_val({"ant": CONTENTS["ant"][: count + 1]}, fraction, 0)
        moved.append(len((before ^ after) - {CONTENTS["ant"][count]}))

    assert max(moved) <= 1


def test_copies_count_once() -> None:
    """A picture of which there are many copies is one picture when the share is reckoned."""
    copied = [*CONTENTS["bee"], *CONTENTS["bee"][:1] * 30]

    assert choose_val({"bee": copied}, 0.4, 0) == choose_val({"bee": CONTENTS["bee"]}, 0.4, 0)


@pytest.mark.parametrize(
    ("contents", "label"),
    [
        ({"ant": ["1"], "bee": ["2", "3"]}, "ant"),
        ({"ant": ["1", "2"], "bee": ["3", "3", "3"]}, "bee"),
        ({"ant": ["1", "2"], "bee": []}, "bee"),
        ({"ant": ["1", "2"], "bee": ["1"]}, "bee"),
        ({"ant": ["1", "2"], "bee": ["2"]}, "bee"),
    ],
)
def test_one_picture_cannot_be_divided(contents: Mapping[str, list[str]], label: str) -> None:
    """A label with one picture, in several copies or another's too, is an error that says so."""
    with pytest.raises(
        DataError, match=f"^{label} has too few pictures of its own .*--val-fraction"
    ):
        choose_val(contents, 0.5, 0)


@pytest.mark.parametrize("root", ["", "train/"])
def test_both_kinds_of_folder_are_divided(tmp_path: Path, root: str) -> None:
    """Label folders, alone or in `train`, are divided, each picture to one side."""
    fill(tmp_path, {f"{root}ant": 10, f"{root}bee": 20})

    pictures = check_pictures(tmp_path, 0.2)

    train, val = names(pictures, tmp_path)
    assert pictures.labels == ["ant", "bee"]
    assert sorted(train + val) == sorted(
        f"{root}{label}/{number}.png"
        for label, count in (("ant", 10), ("bee", 20))
        for number in range(count)
    )
    assert pictures.provenance["pictures"] == {
        "train": {"ant": 8, "bee": 16},
        "val": {"ant": 2, "bee": 4},
    }


def test_what_is_divided_keeps_its_order_and_labels(tmp_path: Path) -> None:
    """On either side the pictures are sorted by label, then by name, as they are elsewhere."""
    fill(tmp_path, {"ant": 9, "bee": 9})

    pictures = check_pictures(tmp_path, 0.4)

    for side in (pictures.train, pictures.val):
        assert [one.path for one in side] == sorted(one.path for one in side)
        assert all(one.path.parent.name == pictures.labels[one.label] for one in side)


def test_copies_stay_together(tmp_path: Path) -> None:
    """Files with the same contents are on the same side, whatever their names and labels."""
    fill(tmp_path, {"ant": 20, "bee": 20})
    for number in range(20):
        shutil.copy(tmp_path / f"ant/{number}.png", tmp_path / f"ant/copy{number}.png")
    shutil.copy(tmp_path / "ant/3.png", tmp_path / "bee/three.png")

    pictures = check_pictures(tmp_path, 0.3)

    sums = [{one.path.read_bytes() for one in side} for side in (pictures.train, pictures.val)]
    assert sums[0] & sums[1] == set()
    assert pictures.provenance["duplicates"]["across"] == 0


def test_a_new_name_changes_no_side(tmp_path: Path) -> None:
    """Which side a picture is on depends on its contents, not on its name or its folder."""
    fill(tmp_path / "data", {"ant": 10, "bee": 10})
    _, before = names(check_pictures(tmp_path / "data", 0.3), tmp_path / "data")
    moved = (tmp_path / "data").rename(tmp_path / "elsewhere")
    for path in [*moved.glob("*/*.png")]:
        path.rename(path.with_name(f"photo-{path.name}"))

    _, after = names(check_pictures(moved, 0.3), moved)

    assert [name.replace("/", "/photo-") for name in before] == after


def test_unreadable_files_have_no_part_in_it(tmp_path: Path) -> None:
    """A file that is left out takes nobody's place, not even where there are only two pictures."""
    fill(tmp_path, {"ant": 2, "bee": 2})
    for number in range(20):
        (tmp_path / f"ant/note{number}.txt").write_text(f"no picture {number}")

    pictures = check_pictures(tmp_path, 0.5)

    assert pictures.provenance["pictures"]["val"] == {"ant": 1, "bee": 1}
    assert [one["count"] for one in pictures.provenance["left_out"]] == [20]


def test_packing_finds_the_same_division(tmp_path: Path) -> None:
    """Without decoding, and knowing what was left out, the files are divided in the same way."""
    fill(tmp_path, {"ant": 10, "bee": 20})
    (tmp_path / "ant/broken.jpg").write_bytes(b"\xff\xd8\xff")
    pictures = check_pictures(tmp_path, 0.3, seed=5)

    (tmp_path / "ant/notes.txt").write_text("no picture")
    found = find_splits(tmp_path, 0.3, 5, pictures.provenance["unreadable"])

    assert found["train"].labels == found["val"].labels == pictures.labels
    assert (found["train"].pictures, found["val"].pictures) == (pictures.train, pictures.val)


def test_without_a_fraction_the_two_folders_are_found(tmp_path: Path) -> None:
    """A folder with `train` and `val` is what it says."""
    fill(tmp_path, {"train/ant": 2, "train/bee": 3, "val/ant": 1, "val/bee": 1})

    found = find_splits(tmp_path)

    assert [len(found[split].pictures) for split in ("train", "val")] == [5, 2]


def test_a_val_of_one_s_own_contradicts_it(tmp_path: Path) -> None:
    """With a folder `val` there is nothing to divide, and the message says what to do."""
    fill(tmp_path, {"train/ant": 2, "train/bee": 2, "val/ant": 1, "val/bee": 1})

    with pytest.raises(DataError, match=r"has a folder val .* leave --val-fraction out"):
        check_pictures(tmp_path, 0.5)


@pytest.mark.parametrize(
    ("root", "missing", "divided"),
    [("", "train", "/<label>/"), ("train/", "val", "/train/<label>/")],
)
def test_the_message_names_the_way_out(
    tmp_path: Path, root: str, missing: str, divided: str
) -> None:
    """Pictures without a `val` are an error that says which of them could be divided."""
    fill(tmp_path, {f"{root}ant": 2, f"{root}bee": 2})

    with pytest.raises(DataError) as caught:
        check_pictures(tmp_path)

    assert f"has no folder {missing}" in str(caught.value)
    assert str(caught.value).endswith(
        f"--val-fraction 0.2 validates on a fifth of {tmp_path}{divided}"
    )


def test_a_val_without_train_is_not_to_be_divided(tmp_path: Path) -> None:
    """Where `val` is there and `train` is not, dividing is not proposed."""
    fill(tmp_path, {"val/ant": 2, "val/bee": 2})

    with pytest.raises(DataError, match=r"has no folder train: .*/val/<label>/$"):
        check_pictures(tmp_path)


def test_a_label_without_readable_pictures_is_named(tmp_path: Path) -> None:
    """Where all pictures of a label are broken its own folder is named."""
    fill(tmp_path, {"ant": 3, "bee": 3})
    for path in (tmp_path / "bee").iterdir():
        path.write_bytes(b"")

    with pytest.raises(DataError, match="bee holds no picture that can be read"):
        check_pictures(tmp_path, 0.5)
