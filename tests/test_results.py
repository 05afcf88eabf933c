"""What is written of pictures, for programs and spreadsheets."""

import csv
import io
import time
from pathlib import Path

import pytest

from antbee.artifact import PackedModel
from antbee.predictor import Prediction
from antbee.results import CsvTable, Outcome, open_writers


def rows(name: str, label: str = "a", error: str = "") -> list[list[str]]:
    """Write one picture's row; return what a program reads, the head included."""
    file = io.StringIO(newline="")
    prediction = None if error else Prediction(label, 0.75, {label: 0.75, "b": 0.25})
    CsvTable(file, "name", PackedModel("", (label, "b"), "")).write(name, prediction, error)
    return list(csv.reader(io.StringIO(file.getvalue(), newline="")))


@pytest.mark.parametrize("name", ["ant.jpg", "a-b+c@d=e", 'a "b", c\nd', "größe;x", "", "2"])
def test_names_come_back(name: str) -> None:
    """What no spreadsheet would run is read as it was written."""
    head, row = rows(name)

    assert head == ["name", "label", "probability", "probability_a", "probability_b", "error"]
    assert row == [name, "a", "0.75", "0.75", "0.25", ""]


@pytest.mark.parametrize("text", ["=1", "+1", "-1", "@x", " =1", "\t=1", "\tx", "\r=1", "\uff1d1"])
def test_no_cell_is_a_formula(text: str) -> None:
    """A cell that a spreadsheet would run begins with an apostrophe, whichever it is."""
    cell = rows(text)[1][0]

    assert cell.startswith("'")
    assert cell.replace("'", "") == text
    assert rows("x", label=text)[1][1].startswith("'")
    assert rows("x", error=text)[1][-1].startswith("'")


@pytest.mark.parametrize("separator", [";", "\t", "\n", "; "])
def test_nor_is_what_comes_after_a_semicolon(separator: str) -> None:
    """Spreadsheets that begin a cell at a semicolon or a tab run nothing there, either."""
    (cell, *_) = rows(f"x{separator}=1")[1]

    assert "'" in cell[1:]
    assert cell.replace("'", "") == f"x{separator}=1"


@pytest.mark.parametrize("character", "\t\n;\r ")
def test_long_runs_take_no_time(character: str) -> None:
    """A stranger's name of nothing but separators is written at once."""
    began = time.process_time()
    rows(f"x{character * 50_000}y")

    assert time.process_time() - began < 5


def test_no_label_moves_the_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    """What a person reads is spelt out, labels too, and stays in its columns."""
    labels = ("\x1b[2J", "b")
    with open_writers(None, None, PackedModel("", labels, ""), "", truth=True) as (write,):
        for label in labels:
            shown = Prediction(label, 0.75, dict.fromkeys(labels, 0.5))
            write(Outcome(Path("x.jpg"), shown, truth=label))

    head, *lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines] == [
        ["0.7500", one, one, "x.jpg"] for one in ("\\x1b[2J", "b")
    ]
    assert {line.index("x.jpg") for line in lines} == {head.index("picture")}
