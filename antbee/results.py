"""What came of each file: a table for a person, CSV and JSON lines for a program."""

import csv
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from io import TextIOWrapper
from pathlib import Path
from typing import Any, Final, TextIO

from antbee.command import printable
from antbee.errors import AntBeeError
from antbee.predictor import Prediction

STDOUT: Final = "-"


@dataclass(frozen=True)
class Outcome:
    """One file's prediction, or why there is none: exactly one of the two."""

    path: Path
    prediction: Prediction | None = None
    error: AntBeeError | None = None


Writer = Callable[[Outcome], None]
"""Writes a line for an outcome, once for each file and in their order."""


@contextmanager
def open_writers(
    csv_file: str | None, jsonl_file: str | None, labels: Sequence[str], model: str
) -> Iterator[list[Writer]]:
    """Open what was asked for, or a table on stdout where nothing was.

    The CSV is that of RFC 4180, its lines ended as Unix does. Either file is a path, `STDOUT` or
    None; `model` is what the model with these labels is called.

    Raises:
        OSError: a file cannot be written.
    """
    with ExitStack() as stack:
        writers: list[Writer] = []
        if csv_file:
            head = ["path", "label", "probability", *map("probability_{}".format, labels), "error"]
            rows = csv.DictWriter(_open(stack, csv_file), head, lineterminator="\n")
            rows.writeheader()
            writers.append(partial(write_csv, rows))
        if jsonl_file:
            writers.append(partial(write_json, _open(stack, jsonl_file), model))
        if not writers:
            file, width = _open(stack, STDOUT), max(map(len, (*labels, "label")))
            print(f"probability  {'label':<{width}}  picture", file=file)
            writers.append(partial(write_row, file, width))
        yield writers


def write_row(file: TextIO, width: int, outcome: Outcome) -> None:
    """Write what a person wants to see, as soon as it is there; what failed is left to stderr."""
    if outcome.prediction is not None:
        found = outcome.prediction
        line = f"{found.probability:11.4f}  {found.label:<{width}}  {printable(outcome.path)}"
        print(line, file=file)


def write_csv(rows: "csv.DictWriter[str]", outcome: Outcome) -> None:
    """Write a row with a column for each label's probability, and one for what went wrong."""
    row: dict[str, Any] = {"path": str(outcome.path), "error": outcome.error or ""}
    if outcome.prediction is not None:
        found = outcome.prediction
        row |= {"label": found.label, "probability": found.probability}
        row |= {f"probability_{label}": share for label, share in found.probabilities.items()}
    rows.writerow(row)


def write_json(file: TextIO, model: str, outcome: Outcome) -> None:
    """Write one JSON object a line, shaped as the server's answers, and the `path`."""
    content: dict[str, object] = {"path": str(outcome.path)}
    if outcome.prediction is not None:
        content |= {**asdict(outcome.prediction), "model": model}
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
