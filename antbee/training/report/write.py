"""A run's report, from its checkpoint and pictures to the files in its folder."""

import json
import shlex
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import torch

from antbee.calibration import reliability, softmax
from antbee.command import printable, say
from antbee.errors import AntBeeError, CheckpointError, DataError
from antbee.files import write_atomically
from antbee.training.checkpoint import load_checkpoint
from antbee.training.data import Pictures
from antbee.training.device import choose_device
from antbee.training.folder import BEST, METRICS
from antbee.training.report.measure import Network, answer, look
from antbee.training.report.numbers import most_confused
from antbee.training.report.page import (
    CONFUSION,
    CURVES,
    MISTAKES,
    MOST_LABELS,
    RELIABILITY,
    UNCERTAIN,
    Content,
    render,
)

REPORT: Final = "report.html"
SHOWN: Final = 12
"""Mistakes, and uncertain answers, that are shown."""
_NEEDED: Final = {
    *("epoch", "train_loss", "val_loss", "val_top1"),
    *("seconds", "pictures_per_second"),
}
"""Of a line of metrics.jsonl."""


def write_report(folder: Path, pictures: Pictures, device: torch.device | None = None) -> Path:
    """Ask the best network about the validation pictures and write the report.

    Args:
        folder: of the run: `best.pt` and `metrics.jsonl` are read; `report.html` and its charts
            are written, over those of an earlier report.
        pictures: `val` is used.
        device: where the network runs; None for the first that is there.

    Returns:
        The path of `report.html`.

    Raises:
        CheckpointError: the run has no finished epoch, or its files are damaged or cannot be
            written.
        DataError: a picture can no longer be read, or the labels are not those of the run.
    """
    content = _examine(folder, pictures, device or choose_device("auto"))
    charts = _draw(content)
    made = {**charts, REPORT: render(content, charts).encode()}
    for name, data in made.items():  # the page last: where it is, its charts are
        _write(folder / name, data)
    return folder / REPORT


def try_report(folder: Path, pictures: Pictures, device: torch.device | None = None) -> None:
    """Write the report at the end of a run, which no failure of a report may lose.

    Where the report is, or what went wrong, is said on stderr.

    Args:
        folder: see `write_report`.
        pictures: see `write_report`.
        device: see `write_report`.
    """
    try:
        say(f"report: {write_report(folder, pictures, device)}")
    except Exception as error:  # noqa: BLE001 - whatever it is, the run is worth more
        again = f"python -m antbee.training.report {shlex.quote(str(folder))}"
        what = str(error) if isinstance(error, AntBeeError) else repr(error)
        say(f"no report: {what}; to try again: {again}")


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Read metrics.jsonl: one dictionary an epoch.

    Raises:
        CheckpointError: it is missing or damaged, or holds no epoch.
    """
    try:
        lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        whole = lines and all(line.keys() >= _NEEDED for line in lines)
    except (OSError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    if not whole:
        raise CheckpointError(f"{path} has no epochs, or they lack {', '.join(sorted(_NEEDED))}")
    return lines


def _examine(folder: Path, pictures: Pictures, device: torch.device) -> Content:
    checkpoint = load_checkpoint(folder / BEST)
    if checkpoint.best is None:
        raise CheckpointError(f"{folder / BEST} is of a run without a finished epoch")
    if checkpoint.labels != pictures.labels:
        raise DataError(
            f"{folder / BEST} has the labels {', '.join(map(printable, checkpoint.labels))}, and the "
            f"pictures {', '.join(map(printable, pictures.labels))}: name its own with --data"
        )
    history = read_metrics(folder / METRICS)
    network = Network(checkpoint, device)
    answers = answer(network, pictures.val)
    worst, uncertain = answers.worst(SHOWN), answers.least_certain(SHOWN)
    return Content(
        name=folder.resolve().name,
        made=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        checkpoint=checkpoint,
        best=checkpoint.best,
        history=history,
        answers=answers,
        looked={index: look(network, answers, index) for index in {*worst, *uncertain}},
        worst=worst,
        uncertain=uncertain,
    )


def _draw(content: Content) -> dict[str, bytes]:
    # Takes a second to load, which a run begins without.
    from antbee.training.report import figures  # noqa: PLC0415

    answers, counts = content.answers, content.counts
    reliabilities = (
        reliability(softmax(answers.logits), answers.truth),
        reliability(answers.probabilities, answers.truth),
    )
    return {
        CURVES: figures.draw_curves(content.history, content.best.epoch),
        CONFUSION: figures.draw_confusion(
            counts, content.labels, most_confused(counts, MOST_LABELS)
        ),
        RELIABILITY: figures.draw_reliability(*reliabilities, answers.calibration.temperature),
        MISTAKES: _sheet(content, "Most confident mistakes", content.worst),
        UNCERTAIN: _sheet(content, "Least certain answers", content.uncertain),
    }


def _sheet(content: Content, title: str, indices: Sequence[int]) -> bytes:
    from antbee.training.report.figures import draw_sheet  # noqa: PLC0415 - see `_draw`

    looked = [content.looked[index] for index in indices]
    captions = [
        (content.caption(index), content.answers.pictures[index].path.name) for index in indices
    ]
    return draw_sheet(title, looked, captions)


def _write(path: Path, data: bytes) -> None:
    try:
        write_atomically(path, data)
    except OSError as error:
        raise CheckpointError(f"{path} could not be written: {error.strerror}") from error
