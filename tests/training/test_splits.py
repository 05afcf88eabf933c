"""Pictures that are divided into some to train on and some to validate on."""

import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from antbee.errors import DataError
from antbee.training.data import Pictures, check_pictures, describe_change, find_splits
from antbee.training.splits import choose_val
from tests.training.folders import fill

CONTENTS = {"ant": [f"a{number}" for number in range(50)], "bee": [f"b{n}" for n in range(10)]}


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
    assert len(pictures.provenance["left_out"]) == 20


def test_packing_finds_the_same_division(tmp_path: Path) -> None:
    """Without decoding, and knowing what was left out, the files are divided in the same way."""
    fill(tmp_path, {"ant": 10, "bee": 20})
    (tmp_path / "ant/broken.jpg").write_bytes(b"\xff\xd8\xff")
    pictures = check_pictures(tmp_path, 0.3, seed=5)

    found = find_splits(tmp_path, 0.3, 5, pictures.provenance["left_out"])

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


def test_a_change_of_divided_pictures_is_described(tmp_path: Path) -> None:
    """A picture less is noticed on the side that it was on."""
    fill(tmp_path, {"ant": 10, "bee": 10})
    pictures = check_pictures(tmp_path, 0.2)
    pictures.val[0].path.unlink()

    change = describe_change(pictures.provenance, check_pictures(tmp_path, 0.2).provenance)

    assert change is not None
    assert "val/ant" in change
    assert "bee" not in change
