"""A run's report, from its checkpoint and pictures to the files in its folder."""

import json
import random
from dataclasses import MISSING, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from antbee.accuracy import HeldOut, Proportion, most_confused
from antbee.calibration import reliability, softmax
from antbee.command import printable, say
from antbee.errors import CheckpointError, DataError
from antbee.files import canonical
from antbee.images import Preprocessing
from antbee.training.checkpoint import Metrics, load_checkpoint
from antbee.training.data import Pictures
from antbee.training.device import choose_device
from antbee.training.folder import BEST, METRICS, write_file
from antbee.training.report.held_out import read_result, try_again_later, write_result
from antbee.training.report.measure import answer, explain, load_network, shrink
from antbee.training.report.page import MOST_LABELS, MOST_SUSPECTS, Content, render
from antbee.training.suspects import SUSPECTS, find_suspects, read_marks, to_csv

REPORT: Final = "report.html"
TEST_REPORT: Final = "report-test.html"
METRICS_BYTES: Final = 10_000_000
"""Of metrics.jsonl, in which an epoch takes some 200; what is longer is no run's."""
SHOWN: Final = 12
"""Mistakes, and uncertain answers, that are shown."""
MOST_TRAINING: Final = 200
"""Training pictures that are asked about, too. Of more the figure would hardly be another, and each
takes as long as a validation picture: their interval is at most 14 points wide."""


def write_report(
    folder: Path,
    pictures: Pictures,
    device: torch.device | None = None,
    pooled: torch.Tensor | None = None,
    *,
    split: str = "val",
) -> Path:
    """Ask the best network about the validation pictures, or the test pictures; write the report.

    Args:
        folder: of the run: `best.pt`, `metrics.jsonl` and `test.json` are read; `report.html`, its
            charts and `suspects.csv` are written, over those of an earlier report. What a person
            wrote into the column `move` stays. For the test pictures `test.json` and
            `report-test.html` are written, and charts that are called after it.
        pictures: those of the split are used, and of `train` up to `MOST_TRAINING`; suspects are
            looked for in all.
        device: where the network runs; None for the first that is there.
        pooled: see `antbee.training.suspects.find_suspects`.
        split: `val` or `test`.

    Returns:
        The path of the page.

    Raises:
        CheckpointError: the run has no finished epoch, or its files are damaged or cannot be
            written.
        DataError: a picture can no longer be read, or the labels are not those of the run.
    """
    # Takes a second to load, which a run begins without.
    from antbee.training.report import figures  # noqa: PLC0415

    checkpoint = load_checkpoint(folder / BEST)
    if checkpoint.best is None:
        raise CheckpointError(f"{folder / BEST} is of a run without a finished epoch")
    if set(map(canonical, checkpoint.labels)) != set(map(canonical, pictures.labels)):
        raise DataError(
            f"{folder / BEST} has the labels {', '.join(map(printable, checkpoint.labels))}, "
            f"and the pictures {', '.join(map(printable, pictures.labels))}: "
            "name its own with --data"
        )
    pictures = pictures.respelt(checkpoint.labels)
    history = read_metrics(folder / METRICS)

    device = device or choose_device("auto")
    network = load_network(checkpoint, device)
    preprocessing = Preprocessing.of_size(checkpoint.arguments["size"])
    tested = split == "test"
    marks, suspects = {}, None
    if tested:
        answers = answer(network, pictures.test, device, preprocessing, calibrated=False)
        held_out: HeldOut | None = write_result(folder, checkpoint, answers, pictures)
    else:
        answers = answer(network, pictures.val, device, preprocessing)
        held_out = read_result(folder / BEST)
        try:
            marks = read_marks(folder / SUSPECTS)
            suspects = find_suspects(checkpoint, pictures, device, pooled)
        except DataError as error:
            say(f"no pictures to look at: {error}")
    worst, uncertain = answers.worst(SHOWN), answers.least_certain(SHOWN)
    content = Content(
        name=folder.resolve().name,
        made=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        checkpoint=checkpoint,
        best=checkpoint.best,
        history=history,
        answers=answers,
        explanations=explain(network, answers, {*worst, *uncertain}, device, preprocessing),
        worst=worst,
        uncertain=uncertain,
        split=split,
        held_out=held_out,
        trained=None if tested else _ask_about_training(network, pictures, device, preprocessing),
        suspects=suspects,
        thumbnails={path: shrink(path) for path in suspects.first(MOST_SUSPECTS)}
        if suspects
        else {},
    )

    kept = most_confused(content.counts, MOST_LABELS)
    made = {"confusion.png": figures.draw_confusion(content.counts, checkpoint.labels, kept)}
    if not tested:
        made["curves.png"] = figures.draw_curves(history, content.best.epoch)
        made["reliability.png"] = figures.draw_reliability(
            reliability(softmax(answers.logits), answers.truth),
            reliability(answers.probabilities, answers.truth),
            answers.calibration.temperature,
        )
    for name, title, indices in (
        ("mistakes.png", "Most confident mistakes", worst),
        ("uncertain.png", "Least certain answers", uncertain),
    ):
        explanations = [content.explanations[index] for index in indices]
        captions = [
            (content.caption(index), answers.pictures[index].path.name) for index in indices
        ]
        made[name] = figures.draw_sheet(title, explanations, captions)
    if suspects:
        made[SUSPECTS] = to_csv(suspects, pictures.folder, marks).encode()
    made[REPORT] = render(content, made).encode()
    if tested:
        made = {name.replace(".", "-test."): data for name, data in made.items()}
    for name, data in made.items():  # the page last: where it is, its charts are
        write_file(folder / name, data)
    return folder / (TEST_REPORT if tested else REPORT)


def _ask_about_training(
    network: nn.Module, pictures: Pictures, device: torch.device, preprocessing: Preprocessing
) -> Proportion | None:
    """Of some training pictures, read as validation pictures are, those that are recognised."""
    generator = random.Random(0)  # noqa: S311 - nothing secret
    drawn = generator.sample(pictures.train, min(MOST_TRAINING, len(pictures.train)))
    try:
        answers = answer(network, drawn, device, preprocessing, calibrated=False)
    except DataError as error:
        say(f"no training accuracy in the report: {error}")
        return None
    return Proportion(int((answers.labels == answers.truth).sum()), len(drawn))


def try_report(
    folder: Path,
    pictures: Pictures,
    device: torch.device | None = None,
    pooled: torch.Tensor | None = None,
) -> None:
    """Write the report at the end of a run, which no failure of a report may lose.

    Where the report is, or what went wrong, is said on stderr. The arguments are those of
    `write_report`.
    """
    with try_again_later("no report", folder):
        say(f"report: {write_report(folder, pictures, device, pooled)}")


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Read metrics.jsonl: one dictionary an epoch.

    Raises:
        CheckpointError: it is missing, damaged or too large, or holds no epoch.
    """
    # A pipe may never end.
    if path.exists() and not (path.is_file() and path.stat().st_size <= METRICS_BYTES):
        raise CheckpointError(f"{path} is no file of at most {METRICS_BYTES / 1e6:g} MB")
    needed = {field.name for field in fields(Metrics) if field.default is MISSING}
    try:
        lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        whole = lines and all(line.keys() >= needed for line in lines)
    except (OSError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    if not whole:
        raise CheckpointError(f"{path} has no epochs, or they lack {', '.join(sorted(needed))}")
    return lines
