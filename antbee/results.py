"""What came of each file: a table for a person, CSV and JSON lines for a program."""

import csv
import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from io import TextIOWrapper
from pathlib import Path
from typing import Final, TextIO

from antbee.artifact import PackedModel
from antbee.command import printable
from antbee.errors import AntBeeError
from antbee.predictor import Prediction

STDOUT: Final = "-"
_FORMULA: Final = re.compile(
    r"^(?=\s*[=+@\uff1d\uff0b\uff0d\uff20-]|[\t\r\n])|(?<=[;\t\r\n])(?=[^\S\t\r\n]*[=+@-])"
)
"""Where a cell begins that a spreadsheet may run (OWASP, CSV Injection): with a sign, also in full
width, or with white space that it passes over. Some spreadsheets begin a cell at a semicolon or a
tab as well: at the last of several, so that no run of them is read more than once."""


def disarm(cell: str) -> str:
    """Put an apostrophe before what a spreadsheet would take for a formula."""
    return _FORMULA.sub("'", cell)


@dataclass(frozen=True)
class Outcome:
    """One file's prediction, or why there is none: exactly one of the two.

    `truth` is the label that its folder is called by, if it is one.
    """

    path: Path
    prediction: Prediction | None = None
    error: AntBeeError | None = None
    truth: str | None = None


class CsvTable:
    """Rows of a table as RFC 4180 has them, but for their ends, which are Unix's.

    A column for each label's probability, two for whether it is any label's where the model can
    tell, and one for what went wrong. What a spreadsheet would take for a formula has an apostrophe
    before it.

    Args:
        file: where they go.
        name: what the first column is called.
        model: whose answers they are.
        truth: whether there is a column for the true label.
    """

    def __init__(self, file: TextIO, name: str, model: PackedModel, *, truth: bool = False) -> None:
        self._file = file
        self._labels = model.labels
        self._truth = truth
        self._judged = ["known", "typicality"] if model.tells_unknown else []
        shares = (f"probability_{label}" for label in model.labels)
        true = ["true_label"] if truth else []
        self._write([name, *true, "label", "probability", *shares, *self._judged, "error"])

    def write(
        self, name: str, prediction: Prediction | None, error: str = "", truth: str = ""
    ) -> None:
        """Write a row for a picture: what it shows, or why that is not known."""
        found: list[str | float] = [""] * (2 + len(self._labels) + len(self._judged))
        if prediction is not None:
            shares = (prediction.probabilities[label] for label in self._labels)
            found = [prediction.label, prediction.probability, *shares]
            if self._judged and prediction.typicality is not None:
                found += ["true" if prediction.known else "false", prediction.typicality]
        self._write([name, *([truth] if self._truth else []), *found, error])

    def _write(self, row: Sequence[str | float]) -> None:
        cells = [disarm(cell) if isinstance(cell, str) else cell for cell in row]
        # Left to itself, the writer quotes the line end that it writes, and not the other one.
        other = any("\r" in cell for cell in row if isinstance(cell, str))
        dialect = csv.unix_dialect if other else csv.excel
        csv.writer(self._file, dialect, lineterminator="\n").writerow(cells)


Writer = Callable[[Outcome], None]
"""Writes a line for an outcome, once for each file and in their order."""


@contextmanager
def open_writers(
    csv_file: str | None,
    jsonl_file: str | None,
    model: PackedModel,
    name: str,
    *,
    truth: bool = False,
) -> Iterator[list[Writer]]:
    """Open what was asked for, or a table on stdout where nothing was.

    Either file is a path, `STDOUT` or None; `name` is what the model is called; `truth` adds the
    true labels.

    Raises:
        OSError: a file cannot be written.
    """
    with ExitStack() as stack:
        writers: list[Writer] = []
        if csv_file:
            rows = CsvTable(_open(stack, csv_file), "path", model, truth=truth)
            writers.append(partial(write_csv, rows))
        if jsonl_file:
            writers.append(partial(write_json, _open(stack, jsonl_file), name, truth=truth))
        if not writers:
            file = _open(stack, STDOUT)
            width = max(len(printable(one)) for one in (*model.labels, "label"))
            width = max(width, len("true label")) if truth else width
            known = "  known" if model.tells_unknown else ""
            true = f"  {'true label':<{width}}" if truth else ""
            print(f"probability  {'label':<{width}}{known}{true}  picture", file=file)
            writers.append(partial(write_row, file, width, truth=truth))
        yield writers


def write_row(file: TextIO, width: int, outcome: Outcome, *, truth: bool = False) -> None:
    """Write what a person wants to see, as soon as it is there; what failed is left to stderr."""
    if outcome.prediction is not None:
        found = outcome.prediction
        known = "" if found.known is None else f"  {'yes' if found.known else 'no':<5}"
        true = f"  {printable(outcome.truth or '-'):<{width}}" if truth else ""
        label, name = printable(found.label), printable(outcome.path)
        line = f"{found.probability:11.4f}  {label:<{width}}{known}{true}  {name}"
        print(line, file=file)


def write_csv(rows: "CsvTable", outcome: Outcome) -> None:
    """Write a row; its error is the message."""
    error, truth = str(outcome.error or ""), outcome.truth or ""
    rows.write(str(outcome.path), outcome.prediction, error, truth)


def write_json(file: TextIO, model: str, outcome: Outcome, *, truth: bool = False) -> None:
    """Write one JSON object a line, shaped as the server's answers, and the `path`."""
    content: dict[str, object] = {"path": str(outcome.path)}
    if truth:
        content["true_label"] = outcome.truth
    if outcome.prediction is not None:
        content |= outcome.prediction.describe(model)
    else:
        code = getattr(outcome.error, "code", "unreadable_file")
        content["error"] = {"code": code, "message": str(outcome.error)}
    print(json.dumps(content), file=file)


def _open(stack: ExitStack, name: str) -> TextIO:
    # Names of files need not be text: surrogates carry their bytes through.
    if name != STDOUT:
        return stack.enter_context(
            Path(name).open("w", encoding="utf-8", errors="surrogateescape", newline="")
        )
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")
    return sys.stdout
