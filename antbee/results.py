"""What came of each file: a table for a person, CSV and JSON lines for a program."""

import csv
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import Any, Final, TextIO

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

    Args:
        csv_file: a path, `STDOUT` or None.
        jsonl_file: likewise.
        labels: of the model.
        model: what it is called.

    Raises:
        OSError: a file cannot be written.
    """
    with ExitStack() as stack:
        writers = []
        if csv_file:
            writers.append(csv_lines(_open(stack, csv_file), labels))
        if jsonl_file:
            writers.append(json_lines(_open(stack, jsonl_file), model))
        if not writers:
            writers.append(table(_open(stack, STDOUT), labels))
        yield writers


def table(file: TextIO, labels: Sequence[str]) -> Writer:
    """Align what a person wants to see; what failed is left to stderr."""
    width = max(map(len, (*labels, "label")))
    print(f"probability  {'label':<{width}}  picture", file=file)

    def write(outcome: Outcome) -> None:
        if outcome.prediction is not None:
            found = outcome.prediction
            line = f"{found.probability:11.4f}  {found.label:<{width}}  {shown(outcome.path)}"
            print(line, file=file)

    return write


def csv_lines(file: TextIO, labels: Sequence[str]) -> Writer:
    """Write CSV (RFC 4180, lines ended as Unix does) with a column for each label's probability."""
    named = [f"probability_{label}" for label in labels]
    lines = csv.DictWriter(
        file, ["path", "label", "probability", *named, "error"], lineterminator="\n"
    )
    lines.writeheader()

    def write(outcome: Outcome) -> None:
        row: dict[str, Any] = {"path": str(outcome.path), "error": outcome.error or ""}
        if outcome.prediction is not None:
            found = outcome.prediction
            probabilities = dict(
                zip(named, (found.probabilities[one] for one in labels), strict=True)
            )
            row |= {"label": found.label, "probability": found.probability, **probabilities}
        lines.writerow(row)

    return write


def json_lines(file: TextIO, model: str) -> Writer:
    """Write one JSON object a line, shaped as the server's answers, and the `path`.

    Args:
        file: gets the lines.
        model: what the answers call it.
    """

    def write(outcome: Outcome) -> None:
        content: dict[str, object] = {"path": str(outcome.path)}
        if outcome.prediction is not None:
            content |= {**asdict(outcome.prediction), "model": model}
        else:
            code = getattr(outcome.error, "code", "unreadable_file")
            content["error"] = {"code": code, "message": str(outcome.error)}
        print(json.dumps(content), file=file)

    return write


def shown(path: Path | str) -> str:
    """Spell a path or label so that nothing in it can move a terminal's cursor, or fails to print.

    A file's name need not be text: its odd bytes come as surrogates, and are spelt out.
    """
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in str(path)
    )


def _open(stack: ExitStack, name: str) -> TextIO:
    # Names of files need not be text: surrogates carry their bytes through.
    if name != STDOUT:
        path = Path(name)
        return stack.enter_context(
            path.open("w", encoding="utf-8", errors="surrogateescape", newline="")
        )
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")
    return sys.stdout
