"""Wrong labels, and the table of what is to be looked at."""

import csv
import io
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from antbee.errors import DataError
from antbee.training.check import check_pictures
from antbee.training.checkpoint import load_checkpoint
from antbee.training.data import Copies, Pictures
from antbee.training.suspects import (
    COLUMNS,
    Suspect,
    Suspects,
    confident_answers,
    find_suspects,
    pool_features,
    predict_out_of_fold,
    read_marks,
    read_suspects,
    to_csv,
    unquote_path,
)

CPU = torch.device("cpu")
ODD = ("=1+1/a.jpg", "@x/ü.jpg", "a;=b/\t=c.jpg", "100%25/a.jpg", os.fsdecode(b"x/\xfe\r\n.jpg"))


def blobs(counts: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Draw features of labels that are well apart."""
    generator = np.random.default_rng(0)
    labels = np.repeat(np.arange(len(counts)), counts)
    return generator.normal(0, 1, (len(labels), 16)) + 4 * np.eye(16)[labels], labels


def test_changed_labels_are_found_and_no_others() -> None:
    """Most of what lies under another label is told where it belongs, small labels' too."""
    features, labels = blobs((60, 20, 60))
    changed = [3, 5, 7, 62, 70, 100, 110, 120]
    given = labels.copy()
    given[changed] = (labels[changed] + 1) % 3

    answers = confident_answers(predict_out_of_fold(features, given, 3), given)

    found = np.flatnonzero(answers != given)
    assert set(found) <= set(changed)
    assert len(found) > len(changed) / 2
    assert {62, 70} & set(found)
    assert (answers[found] == labels[found]).all()


def test_features_that_tell_nothing_accuse_few() -> None:
    """Noise is no reason to doubt a label with confidence: fewer than by tossing a coin."""
    noise = np.random.default_rng(0).normal(0, 1, (200, 16))
    labels = np.arange(200) % 2

    answers = confident_answers(predict_out_of_fold(noise, labels, 2), labels)

    assert (answers != labels).mean() < 0.5


def test_a_label_of_few_pictures_is_passed_over() -> None:
    """Of four pictures some fold has none: neither are they doubted, nor is anything called so."""
    features, labels = blobs((30, 30, 4))

    answers = confident_answers(predict_out_of_fold(features, labels, 3), labels)

    assert answers.tolist() == labels.tolist()


def test_where_nothing_is_frozen_no_label_is_judged(finished: Path, data: Path) -> None:
    """A network that was trained on every label answers with it; copies are found all the same."""
    suspects = find_suspects(load_checkpoint(finished / "best.pt"), check_pictures(data), CPU)

    assert "nothing was frozen" in suspects.reason
    assert (suspects.labels, suspects.right) == ([], None)


def test_of_copies_in_training_the_less_believed_goes(finished: Path, data: Path) -> None:
    """Of copies under two labels the one that looks like the other's label is the one to move."""
    pictures = check_pictures(data)
    circle, square = pictures.train[0], pictures.train[-1]
    pictures = replace(pictures, copies=[Copies(circle, square, 0.9)])
    checkpoint = load_checkpoint(finished / "best.pt")
    frozen = replace(checkpoint, arguments=checkpoint.arguments | {"freeze": "layer3"})
    features = torch.eye(2)[[one.label for one in pictures.train]]
    for wrong, other in ((circle, square), (square, circle)):
        pooled = features.clone()
        pooled[pictures.train.index(wrong)] = features[pictures.train.index(other)]

        (pair,) = find_suspects(frozen, pictures, CPU, pooled).copies

        assert (pair.path, pair.other) == (wrong.path, other.path)


@pytest.mark.parametrize("name", ODD)
def test_a_name_survives_the_table(name: str, tmp_path: Path) -> None:
    """Whatever a picture is called, no spreadsheet runs it, and it is found again."""
    suspects = Suspects([Suspect("label", Path("data", name), "=ant", "bee", 0.9)])

    (tmp_path / "suspects.csv").write_text(to_csv(suspects, Path("data"), {}), "utf-8")
    (row,) = read_suspects(tmp_path / "suspects.csv")

    assert Path(unquote_path(row["path"])) == Path(name)
    assert not row["path"].startswith(("=", "@", "+", "-", "\t", "\r", "'"))
    assert row["label"] == "'=ant"


def test_marks_stay_when_it_is_made_again(tmp_path: Path) -> None:
    """What a person wrote is there after another report, in the rows that are still there."""
    old = Suspect("label", Path("data/a.jpg"), "ant", "bee", 0.9)
    copy = Suspect("copy", Path("data/a.jpg"), "ant", "ant", 0.8, Path("data/b.jpg"))
    table = tmp_path / "suspects.csv"
    assert read_marks(table) == {}
    text = to_csv(Suspects([old], [copy]), Path("data"), {})
    table.write_text(text.replace("\n,copy", "\nother,copy"))

    again = to_csv(Suspects([replace(old, sure=0.7)], [copy]), Path("data"), read_marks(table))

    rows = list(csv.DictReader(io.StringIO(again)))
    assert [(row["move"], row["kind"], row["sure"]) for row in rows] == [
        ("", "label", "0.700"),
        ("other", "copy", "0.800"),
    ]


def test_a_table_that_a_spreadsheet_saved_is_read(tmp_path: Path) -> None:
    """Semicolons, a byte-order mark and Windows' line ends make no difference."""
    table = tmp_path / "suspects.csv"
    cells = ("yes", "label", "train/ant/a.jpg", "ant", "bee", "0,9", "")
    lines = "\r\n".join([";".join(COLUMNS), ";".join(cells), ""])
    table.write_bytes(lines.encode("utf-8-sig"))

    (row,) = read_suspects(table)

    assert row == dict(zip(COLUMNS, cells, strict=True))


@pytest.mark.parametrize("contents", [None, b"", b"path,label\n", b"\xff\xfe"])
def test_what_is_no_such_table_is_refused(contents: bytes | None, tmp_path: Path) -> None:
    """A table that is missing, empty or another is named."""
    table = tmp_path / "suspects.csv"
    if contents is not None:
        table.write_bytes(contents)

    with pytest.raises(DataError, match=r"suspects\.csv"):
        read_suspects(table)


def test_a_quotation_mark_too_many_is_refused(tmp_path: Path) -> None:
    """It would hide the rows after it, and what a person wrote into them."""
    table = tmp_path / "suspects.csv"
    head, row = ",".join(COLUMNS), "yes,label,train/ant/a.jpg,ant,bee,0.9,"
    table.write_text("\n".join([head, row, f'"{row}', *[row] * 5000, ""]))

    with pytest.raises(DataError, match=r"suspects\.csv has a quotation mark too many"):
        read_marks(table)


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("views", [0, 3])
def test_features_are_those_of_the_run(finished: Path, data: Path, views: int) -> None:
    """Made again from the checkpoint, they have a row for each picture, the same every time."""
    checkpoint = load_checkpoint(finished / "best.pt")
    frozen = replace(checkpoint, views=views, arguments=checkpoint.arguments | {"freeze": "layer3"})
    pictures: Pictures = check_pictures(data)

    one, other = (pool_features(frozen, pictures, CPU) for _ in range(2))

    assert one.shape == (len(pictures.train), 2 * 8)
    assert torch.equal(one, other)
