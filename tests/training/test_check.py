"""What is said of a data set before anybody trains on it, and `train.py --check`, which says it."""

import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from antbee.training.check import check_pictures, list_warnings
from antbee.training.provenance import describe_change
from tests.conftest import REPOSITORY, encode, noise
from tests.training.folders import fill
from train import main

ENOUGH = {"val/ant": 10, "val/bee": 10}


def check(data: Path, *more: str) -> int:
    """Run the command in this process."""
    return main(["--check", "--data", str(data), *more])


def test_the_table_counts_and_measures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Labels with their pictures, the sums, sizes and duplicates are printed, and 0 is returned."""
    fill(tmp_path, {"train/ant": 12, "train/wasp": 10, "val/ant": 10, "val/wasp": 10})
    (tmp_path / "train/ant/notes.txt").write_text("no picture")
    (tmp_path / "val/wasp/dot.png").write_bytes(encode(Image.new("RGB", (1, 1)), "PNG"))
    (tmp_path / "val/wasp/wide.png").write_bytes(encode(Image.new("RGB", (9, 2)), "PNG"))

    code = check(tmp_path)

    captured = capsys.readouterr()
    assert code == 0
    assert captured.out.splitlines() == [
        "label  train  val  left out",
        "ant       12   10         1",
        "wasp      10   12         0",
        "total     22   22         1",
        "",
        "pixels: smallest 1 x 1, median 4 x 4, largest 9 x 2",
        "duplicates: 0 in both train and val, 0 under more than one label",
    ]
    assert "left out train/ant/notes.txt: this is not a JPEG" in captured.err


def test_warnings_are_part_of_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What a run would warn of is printed below the table."""
    fill(tmp_path, {"train/ant": 50, "train/bee": 10, "val/bee": 10})
    shutil.copytree(tmp_path / "train/ant", tmp_path / "val/ant")

    assert check(tmp_path) == 0

    lines = capsys.readouterr().out.splitlines()
    assert "duplicates: 50 in both train and val, 0 under more than one label" in lines
    assert [line.split(": ")[1][:20] for line in lines if line.startswith("warning: ")] == [
        "unbalanced labels",
        "the same contents in",
    ]


def test_near_copies_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A picture that was saved anew is named with its original; the same file only as such."""
    fill(tmp_path, {"train/ant": 10, "train/bee": 10, **ENOUGH})
    (tmp_path / "test/ant").mkdir(parents=True)
    files = (("train/ant/a", 90), ("val/bee/b", 50), ("val/ant/a", 90), ("test/ant/c", 60))
    for name, quality in files:
        (tmp_path / f"{name}.jpg").write_bytes(encode(noise(320, 240), quality=quality))

    assert check(tmp_path) == 0

    lines = capsys.readouterr().out.splitlines()
    warnings = [line for line in lines if line.startswith("warning: ")]
    assert [line.split(",")[0] for line in warnings] == [
        "warning: the same contents in both train and val",
        "warning: nearly the same picture in two splits or under two labels",
    ]
    assert "  train/ant/a.jpg = val/ant/a.jpg" in lines
    near = {line for line in lines if " ~ " in line}
    assert "  train/ant/a.jpg ~ val/bee/b.jpg" in near
    assert any(line.endswith(" ~ test/ant/c.jpg") for line in near)


def test_divided_pictures_are_counted_as_they_will_be(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With --val-fraction the table shows both sides."""
    fill(tmp_path, {"ant": 20, "bee": 40})

    assert check(tmp_path, "--val-fraction", "0.25") == 0

    assert capsys.readouterr().out.splitlines()[1:4] == [
        "ant       15    5         0",
        "bee       30   10         0",
        "total     45   15         0",
    ]


def test_a_thousand_labels_are_looked_through(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A thousand labels are a thousand lines, and one for each warning."""
    labels = [f"label{number:03}" for number in range(1000)]
    fill(tmp_path, {f"{split}/{label}": 1 for split in ("train", "val") for label in labels})

    assert check(tmp_path) == 0

    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines[1:1001]] == [[label, "1", "1", "0"] for label in labels]
    assert lines[1001].split() == ["total", "1000", "1000", "0"]
    assert [line for line in lines if line.endswith("and 990 more")] == []
    assert sum("label000 1" in line and "and 990 more" in line for line in lines) == 2


def test_what_cannot_be_trained_on_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where a run would fail, so does this, with the same reason."""
    fill(tmp_path, {"train/ant": 2, "train/bee": 2, "val/ant": 2})

    code = check(tmp_path)

    captured = capsys.readouterr()
    assert (code, captured.out) == (1, "")
    assert captured.err.splitlines()[-1].startswith("error: ")
    assert "at least two are needed" in captured.err


def test_it_needs_no_torch_and_leaves_nothing(tmp_path: Path) -> None:
    """Neither torch nor the network nor a folder to save in is needed."""
    data = fill(tmp_path / "data", {"train/a": 1, "train/b": 1, "val/a": 1, "val/b": 1})
    before = sorted(tmp_path.rglob("*"))
    script = "import sys, train\nprint(train.main(['--check']), 'torch' in sys.modules)"
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "PYTHONDONTWRITEBYTECODE": "1"}

    run = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )

    assert run.stdout.splitlines()[-1] == "0 False"
    assert sorted(tmp_path.rglob("*")) == before
    assert data.is_dir()


def test_a_name_that_no_terminal_can_show_is_escaped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Control characters of a label, and bytes of a file's name that are no text, are spelt out."""
    label = "be\x1b[31me"
    fill(tmp_path, {f"{split}/{one}": 1 for split in ("train", "val") for one in ("a", label)})
    (tmp_path / "train/a" / os.fsdecode(b"caf\xe9\x1b.txt")).touch()

    assert check(tmp_path) == 0

    out, err = capsys.readouterr()
    assert "be\\x1b[31me" in out
    assert "left out train/a/caf\\udce9\\x1b.txt: " in err
    assert "\x1b" not in out + err


def test_a_label_that_is_no_text_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What no answer of a server can spell is no label."""
    name = os.fsdecode(b"caf\xe9")
    fill(tmp_path, {f"{split}/{label}": 1 for split in ("train", "val") for label in ("a", name)})

    assert check(tmp_path) == 1

    assert capsys.readouterr().err.endswith("caf\\udce9 has a name that is no UTF-8: rename it\n")


def test_a_stdout_of_few_letters_is_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where standard output is ASCII, other letters are spelt out."""
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, "ascii", write_through=True))
    fill(
        tmp_path,
        {f"{split}/{label}": 1 for split in ("train", "val") for label in ("蚂蚁", "蜜蜂")},
    )

    assert check(tmp_path) == 0

    assert b"\\u8702  " in written.getvalue()


def test_what_is_left_out_alike_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Three hundred files of one kind are a line with ten names, and counted for their label."""
    fill(tmp_path, {f"{split}/{label}": 1 for split in ("train", "val") for label in ("a", "b")})
    for number in range(300):
        (tmp_path / f"train/b/{number:03}.xml").write_text("<annotation/>")
    (tmp_path / "train/b/phone.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    with (tmp_path / "train/a/film.mov").open("wb") as file:
        file.truncate(10**12)

    assert check(tmp_path) == 0

    out, err = capsys.readouterr()
    assert out.splitlines()[1:4] == [
        "a          1    1         1",
        "b          1    1       301",
        "total      2    2       302",
    ]
    first, second, third, last = err.splitlines()
    assert first.startswith("left out 300 files that end in .xml: this is not a JPEG, PNG, ")
    assert first.endswith("train/b/008.xml, train/b/009.xml and 290 more")
    assert second == "left out train/a/film.mov: it is larger than 500 MB"
    assert third.startswith("left out train/b/phone.heic: this is a HEIC picture")
    assert "magick mogrify -format jpg" in third
    assert last == "left out 302 of 306 files"


def test_pictures_in_no_label_s_folder_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Pictures that were put beside the labels' folders are not used, and that is said."""
    counts = {f"{split}/{label}": 1 for split in ("train", "val", "test") for label in ("a", "b")}
    fill(tmp_path, counts)
    shutil.copy(tmp_path / "test/a/0.png", tmp_path / "train/loose.png")
    (tmp_path / "train/notes.csv").write_text("a,b")

    assert check(tmp_path) == 0

    assert capsys.readouterr().err.splitlines() == [
        "left out train/loose.png: it lies in no label's folder",
        "left out 1 of 5 files",
        f"2 pictures in {tmp_path / 'test'}: nothing is learned or chosen by them",
    ]


def test_test_pictures_are_counted_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Unknown labels, broken files and copies in test are said; nothing stops, nothing mixes."""
    fill(tmp_path, {f"{split}/{label}": 2 for split in ("train", "val") for label in ("a", "b")})
    alone = check_pictures(tmp_path)
    fill(tmp_path / "test", {"wasp": 1, "a/deep": 1, "b": 1})
    shutil.copy(tmp_path / "val/b/1.png", tmp_path / "test/b/copy.png")
    (tmp_path / "test/a/broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    capsys.readouterr()

    pictures = check_pictures(tmp_path)
    err = capsys.readouterr().err
    assert "left out test/wasp/0.png: no pictures of wasp are trained on\n" in err
    assert "left out test/a/broken.png: " in err
    assert f"3 pictures in {tmp_path / 'test'}: nothing is learned or chosen by them\n" in err
    assert (pictures.train, pictures.val) == (alone.train, alone.val)
    assert describe_change(alone.provenance, pictures.provenance) is None
    assert [(one.path.name, one.label) for one in pictures.test] == [
        ("0.png", 0), ("0.png", 1), ("copy.png", 1),
    ]  # fmt: skip
    # Pictures are drawn in one order, so that some of these have been drawn before.
    assert pictures.provenance["test"]["copies"] == 3
    assert ["test/b/copy.png", "val/b/1.png"] in pictures.provenance["test"]["names"]
    assert "in test and in train or val, 3 time(s)" in "\n".join(list_warnings(pictures))
    assert check(tmp_path) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == ["label", "train", "val", "test", "left", "out"]
    assert rows[0].split() == ["a", "2", "2", "1", "0"]


def test_test_pictures_are_the_same_however_their_labels_are_spelt(tmp_path: Path) -> None:
    """é in one character sorts behind z, and in two before: their sum does not tell."""
    sums = set()
    for name, spelt in (("one", "\xe9"), ("two", "e\u0301")):
        folder = tmp_path / name
        labels = {f"{split}/{label}": 1 for split in ("train", "val") for label in (spelt, "z")}
        tested = check_pictures(fill(folder, labels | {"test/\xe9": 2, "test/z": 1}))
        sums.add(tested.provenance["test"]["sha256"])

    assert len(sums) == 1


def test_an_empty_test_folder_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where nothing can be measured nothing is, and that is no reason to stop."""
    fill(tmp_path, {f"{split}/{label}": 2 for split in ("train", "val") for label in ("a", "b")})
    (tmp_path / "test/a").mkdir(parents=True)

    pictures = check_pictures(tmp_path)
    assert pictures.test == []
    assert "test" not in pictures.provenance
    assert "test holds no picture of these labels that can be read" in capsys.readouterr().err


def test_a_checkpoint_is_not_for_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--check` with -c is wrong usage."""
    with pytest.raises(SystemExit) as end:
        check(tmp_path, "-c", "last.pt")

    assert end.value.code == 2
    assert "--check" in capsys.readouterr().err.splitlines()[-1]


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
    assert line.endswith("or train with --balance")
    (balanced,) = list_warnings(check_pictures(tmp_path), balance=True)
    assert "they weigh alike" in balanced


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
