"""`python -m antbee.training.clean`."""

import errno
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from antbee.training.clean import main
from antbee.training.suspects import COLUMNS
from tests.conftest import encode, noise

Capture = pytest.CaptureFixture[str]
CIRCLE, SQUARE = "train/circle/0.jpg", "val/square/1.jpg"


@pytest.fixture
def place(data: Path, tmp_path: Path) -> Path:
    """Return a folder with pictures in `data`, and nothing else in it."""
    shutil.copytree(data, tmp_path / "data")
    (tmp_path / "run").mkdir()
    return tmp_path


def mark(place: Path, *rows: Sequence[str]) -> None:
    """Write a table of marks, kinds and paths, and of the other picture in a pair."""
    lines = [f"{row[0]},{row[1]},{row[2]},a,b,0.9,{''.join(row[3:])}" for row in rows]
    (place / "run/suspects.csv").write_text("\n".join([",".join(COLUMNS), *lines, ""]))


def clean(place: Path, *more: str) -> int:
    """Run the command in this process."""
    folders = map(str, (place / "run", "--data", place / "data", "--move", place / "aside"))
    return main([*folders, *more])


def files(folder: Path) -> set[str]:
    """Name the files in and below a folder."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_what_is_marked_moves_and_can_be_moved_back(place: Path, capsys: Capture) -> None:
    """Marked pictures keep their folders and contents, and where they are now is printed."""
    before = files(place / "data")
    contents = (place / "data" / CIRCLE).read_bytes()
    mark(
        place,
        ("yes", "label", CIRCLE),
        ("No", "label", "train/circle/1.jpg"),
        ("", "label", "train/circle/2.jpg"),
        (" Other ", "copy", "train/square/0.jpg", SQUARE),
    )

    assert clean(place) == 0

    out, error = capsys.readouterr()
    assert out.splitlines() == [str(place / "aside" / name) for name in (CIRCLE, SQUARE)]
    assert f"moved 2 picture(s) from {place / 'data'}" in error
    assert files(place / "data") == before - {CIRCLE, SQUARE}
    assert files(place / "aside") == {CIRCLE, SQUARE}
    assert (place / "aside" / CIRCLE).read_bytes() == contents

    shutil.copytree(place / "aside", place / "data", dirs_exist_ok=True)
    assert files(place / "data") == before


def test_all_but_what_is_marked_no(place: Path, capsys: Capture) -> None:
    """With --all every suspect moves, of a pair the first, and a second time nothing is left."""
    mark(
        place,
        ("no", "label", "train/circle/1.jpg"),
        ("", "label", CIRCLE),
        ("", "copy", CIRCLE, SQUARE),
    )

    assert clean(place, "--all") == 0
    assert files(place / "aside") == {CIRCLE}
    assert clean(place, "--all") == 0
    assert "1 had gone before" in capsys.readouterr().err


def test_without_a_mark_nothing_moves(place: Path, capsys: Capture) -> None:
    """What nobody has confirmed stays, and how to confirm it is said."""
    mark(place, ("", "label", CIRCLE))

    assert clean(place) == 0

    assert not (place / "aside").exists()
    assert "write yes into the column move" in capsys.readouterr().err


def test_nothing_is_written_over(place: Path, capsys: Capture) -> None:
    """Where a picture is in the way none moves, those before it neither."""
    taken = place / "aside" / SQUARE
    taken.parent.mkdir(parents=True)
    taken.write_bytes(b"mine")
    mark(place, ("yes", "label", CIRCLE), ("yes", "label", SQUARE))

    assert clean(place) == 1

    assert f"error: {taken} is there already" in capsys.readouterr().err
    assert files(place / "aside") == {SQUARE}
    assert taken.read_bytes() == b"mine"
    assert (place / "data" / CIRCLE).is_file()


@pytest.mark.parametrize(
    ("failure", "code"),
    [(OSError(errno.ENOSPC, "No space left on device"), 1), (KeyboardInterrupt(), 130)],
)
def test_no_half_of_a_picture_is_left(
    place: Path, failure: BaseException, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On another disk a move is a copy: one that ends early is taken back, and moves later."""

    def copy_half(source: str, destination: str, **_: object) -> None:
        Path(destination).write_bytes(Path(source).read_bytes()[:100])
        raise failure

    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    mark(place, ("yes", "label", CIRCLE))
    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", refuse)
        patch.setattr(shutil, "copyfile", copy_half)
        assert clean(place) == code
    assert files(place / "aside") == set()
    assert clean(place) == 0

    assert files(place / "aside") == {CIRCLE}


@pytest.mark.parametrize(
    "name", ["../own.jpg", "train/../../own.jpg", "%2E%2E/own.jpg", "link/own.jpg"]
)
def test_what_lies_outside_is_refused_by_name(place: Path, name: str, capsys: Capture) -> None:
    """A table cannot move what is not in the pictures' folder, nor by way of a linked folder."""
    (place / "own.jpg").write_bytes(encode(noise(8, 8)))
    (place / "data/link").symlink_to(place)
    mark(place, ("yes", "label", CIRCLE), ("yes", "label", name))

    assert clean(place) == 1

    error = capsys.readouterr().err
    assert f"{name.replace('%2E', '.')} lies outside" in error
    assert error.count("\n") == 1
    assert (place / "own.jpg").is_file()
    assert (place / "data" / CIRCLE).is_file()


def test_an_absolute_path_is_refused(place: Path, capsys: Capture) -> None:
    """Not even a picture's own: the table has names within the folder."""
    mark(place, ("yes", "label", str(place / "data" / CIRCLE)))

    assert clean(place) == 1
    assert "lies outside" in capsys.readouterr().err


def test_what_is_no_picture_is_refused(place: Path, capsys: Capture) -> None:
    """Other files of the folder are none of the table's business."""
    (place / "data/train/notes.txt").write_text("mine")
    mark(place, ("yes", "label", "train/notes.txt"))

    assert clean(place) == 1
    assert "is no picture" in capsys.readouterr().err
    assert (place / "data/train/notes.txt").is_file()


def test_a_link_to_nothing_is_refused(place: Path, capsys: Capture) -> None:
    """A picture that cannot be looked at is named in a line, before anything moves."""
    (place / "data/train/circle/link.jpg").symlink_to(place / "gone.jpg")
    mark(place, ("yes", "label", CIRCLE), ("yes", "label", "train/circle/link.jpg"))

    assert clean(place) == 1

    error = capsys.readouterr().err
    assert "link.jpg cannot be read: No such file or directory" in error
    assert error.count("\n") == 1
    assert (place / "data" / CIRCLE).is_file()


def test_pictures_that_are_elsewhere_have_not_gone(place: Path, capsys: Capture) -> None:
    """A run's folder of pictures may be relative: from another place it is named, and --data."""
    mark(place, ("yes", "label", CIRCLE))
    (place / "data").rename(place / "moved")

    assert clean(place) == 1

    error = capsys.readouterr().err
    assert f"there is no folder {place / 'data'}" in error
    assert "--data" in error


def test_an_unknown_mark_is_refused(place: Path, capsys: Capture) -> None:
    """A mark that means nothing is said, with the picture's name, before anything moves."""
    mark(place, ("yes", "label", CIRCLE), ("maybe", "label", SQUARE))

    assert clean(place) == 1
    assert f"move is 'maybe' for {SQUARE}" in capsys.readouterr().err
    assert (place / "data" / CIRCLE).is_file()


def test_the_folder_aside_is_outside(place: Path, capsys: Capture) -> None:
    """In the pictures' folder it would be another label's, or found again."""
    mark(place, ("yes", "label", CIRCLE))

    assert clean(place, "--move", str(place / "data/aside")) == 1
    assert "found again" in capsys.readouterr().err


def test_a_linked_picture_still_leads_to_its_file(place: Path) -> None:
    """A link is moved, not what it leads to, and leads there from its new place, too."""
    original = place / "elsewhere.jpg"
    original.write_bytes(encode(noise(8, 8)))
    link = place / "data/train/circle/link.jpg"
    link.symlink_to(os.path.relpath(original, link.parent))
    mark(place, ("yes", "label", "train/circle/link.jpg"))

    assert clean(place) == 0

    assert not link.is_symlink()
    assert (place / "aside/train/circle/link.jpg").resolve() == original
    assert original.is_file()


def test_the_folder_is_the_runs_own(copied: Path, data: Path, capsys: Capture) -> None:
    """Without --data the run says where its pictures are; one whose table is gone is refused."""
    (copied / "suspects.csv").write_text(",".join(COLUMNS) + "\nyes,label,no/such.jpg,a,b,1,\n")

    assert main([str(copied), "--move", str(copied / "aside")]) == 0
    assert f"from {data}" in capsys.readouterr().err

    (copied / "suspects.csv").unlink()
    assert main([str(copied), "--move", str(copied / "aside")]) == 1
    assert "suspects.csv" in capsys.readouterr().err
