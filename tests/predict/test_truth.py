"""`python -m antbee.predict --truth`: folders that are called as labels say what is right."""

import csv
import json
from pathlib import Path

import pytest

from antbee.artifact import PackedModel
from antbee.predict import describe_truth, find_truth
from tests.conftest import encode, noise
from tests.predict.command import Capture, run

CAFE = "caf\xe9"


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """Make a folder of pictures in the folders of two labels, and one in neither."""
    folder = tmp_path / "pictures"
    for seed, name in enumerate(("circle/a.png", "circle/deep/b.png", "square/c.png", "d.png")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(encode(noise(40, 30, seed), "PNG"))
    return folder


def test_answers_are_compared_with_folders(
    packed: PackedModel, labelled: Path, tmp_path: Path, capsys: Capture
) -> None:
    """Every line has its true label; how many are right is said, and who has no label apart."""
    (labelled / "square/broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    table = tmp_path / "answers.csv"
    assert run(packed, labelled, "--truth", "--csv", table, "--jsonl", "-") == 1

    out, err = capsys.readouterr()
    lines = list(map(json.loads, out.splitlines()))
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    truth = {Path(line["path"]).name: line["true_label"] for line in lines}
    assert truth == {
        "a.png": "circle", "b.png": "circle", "c.png": "square", "broken.png": "square",
        "d.png": None,
    }  # fmt: skip
    assert [row["true_label"] for row in rows] == [line["true_label"] or "" for line in lines]
    right = sum(line.get("label") == line["true_label"] for line in lines)
    assert f"{right} of 3 right, " in err
    assert "in no folder that is called as a label: 1\n" in err
    assert "1 of 5 could not be classified\n" in err

    run(packed, labelled, "--truth")
    head, first, *_ = capsys.readouterr().out.splitlines()
    assert head.split() == ["probability", "label", "true", "label", "picture"]
    assert first.split()[2:] == ["-", str(labelled / "d.png")]


def test_without_truth_nothing_is_compared(
    packed: PackedModel, labelled: Path, capsys: Capture
) -> None:
    """What is read by programs keeps its columns and fields."""
    assert run(packed, labelled, "--jsonl", "-") == 0

    out, err = capsys.readouterr()
    assert "true_label" not in out
    assert "right" not in err


@pytest.mark.parametrize(
    ("path", "top", "expected"),
    [
        ("/x/ant/1.jpg", None, "ant"),
        ("/x/ant/sub/deep/1.jpg", "/x", "ant"),
        ("/x/ant/bee/1.jpg", "/x", "bee"),  # the nearest
        ("/x/ant/1.jpg", "/x/ant", "ant"),
        ("/ant/new/1.jpg", "/ant/new", None),  # above what was asked for
        ("/x/cafe\u0301/1.jpg", None, CAFE),  # another spelling of the same name
        ("/x/1.jpg", None, None),
    ],
)
def test_the_nearest_label_s_folder_counts(path: str, top: str | None, expected: str) -> None:
    """A picture's label is the nearest folder's above it, up to the one that was asked for."""
    labels = {one: one for one in ("ant", "bee", CAFE)}

    assert find_truth(Path(path), labels, {Path(top)} if top else ()) == expected


def test_what_was_taken_for_what_is_a_table() -> None:
    """A row a true label, a column an answer, and each label's share of right answers."""
    compared = {("ant", "ant"): 3, ("ant", "bee"): 1, (None, "bee"): 2}
    accuracy, balanced, table, unknown = describe_truth(compared, ("ant", "bee"))

    assert accuracy.startswith("3 of 4 right, 75.0% (95 % interval 30.1% to 95.4%)")
    assert balanced.endswith("75.0%")
    assert [line.split() for line in table.splitlines()] == [
        ["true", "label", "ant", "bee", "right"],
        ["ant", "3", "1", "75.0%"],
        ["bee", "0", "0", "-"],
    ]
    assert unknown.endswith(": 2")


def test_of_many_labels_the_mistakes_are_listed() -> None:
    """A table of a hundred columns could not be read."""
    labels = [f"species {number}" for number in range(120)]
    table = describe_truth({(labels[7], labels[9]): 5, (labels[8], labels[8]): 1}, labels)[2]

    assert table.splitlines()[1].split() == ["species", "7", "species", "9", "5"]
    assert describe_truth({(None, labels[0]): 1}, labels) == [
        "in no folder that is called as a label: 1"
    ]
