"""The report as one page of HTML: no script, and nothing that is not in the file.

`page.html` is its template and `page.css` its style.
"""

import base64
import hashlib
import io
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from antbee.calibration import BINS, FOLDS, error_by_chance
from antbee.command import printable
from antbee.training.checkpoint import Checkpoint, Metrics
from antbee.training.data import list_names
from antbee.training.report.measure import Answers, Illustration
from antbee.training.report.numbers import (
    Counts,
    Proportion,
    confusion,
    frequent_mistakes,
    most_confused,
    precision,
    recall,
)
from antbee.training.suspects import Suspects

MOST_LABELS: Final = 15
"""Labels of which a confusion matrix can be read."""
MOST_PAIRS: Final = 10
"""Of a true label and a wrong answer that are listed."""
SHARPNESS: Final = 1.5
"""Pixels of a chart for each of the page's."""
MOST_SUSPECTS: Final = 12
"""Of each kind that are shown."""
QUALITY: Final = 85
"""Of a picture as JPEG; as PNG it would take eight times as much."""


@dataclass(frozen=True)
class Content:
    """What the page tells.

    Attributes:
        name: of the run's folder.
        made: when the report was made, for a person.
        checkpoint: of the best epoch.
        best: what that epoch came to.
        history: lines of metrics.jsonl.
        answers: to the validation pictures.
        explanations: by index, of the worst and the uncertain ones.
        worst: indices of the most confident wrong answers.
        uncertain: indices of the least certain answers.
        suspects: pictures to look at; None if nobody could look.
        thumbnails: by path, of the first `MOST_SUSPECTS` of each kind.
    """

    name: str
    made: str
    checkpoint: Checkpoint
    best: Metrics
    history: Sequence[Mapping[str, Any]]
    answers: Answers
    explanations: Mapping[int, Illustration]
    worst: Sequence[int]
    uncertain: Sequence[int]
    suspects: Suspects | None = None
    thumbnails: Mapping[Path, Image.Image] = field(default_factory=dict)

    @cached_property
    def counts(self) -> Counts:
        """Pictures by true label and answer."""
        return confusion(self.answers.truth, self.answers.labels, len(self.checkpoint.labels))

    def caption(self, index: int) -> str:
        """Say what a picture is, what it was taken for, and how surely."""
        answers, labels = self.answers, self.checkpoint.labels
        truth, answer = labels[answers.truth[index]], labels[answers.labels[index]]
        sure = percent(float(answers.probabilities[index].max()))
        return f"{truth}, {sure} sure" if truth == answer else f"{truth} taken for {answer}, {sure}"


class Embedded(NamedTuple):
    """A picture that is in the page itself: its address, and its size in the page's pixels."""

    address: str
    width: int
    height: int


def render(content: Content, charts: Mapping[str, bytes]) -> str:
    """Write the page; the charts are PNG files: curves.png, confusion.png and reliability.png."""
    here = Path(__file__).parent
    style = (here / "page.css").read_text("utf-8")
    environment = Environment(
        loader=FileSystemLoader(here),
        autoescape=True,
        # Before it is escaped, whatever is no HTML is spelt so that it can be printed.
        finalize=lambda value: value if hasattr(value, "__html__") else printable(str(value)),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(percent=percent, duration=duration)
    environment.filters.update(embed_chart=embed_chart, embed_thumbnail=embed_thumbnail)
    answers, checkpoint = content.answers, content.checkpoint
    kept = most_confused(content.counts, MOST_LABELS)
    labels, left_out = checkpoint.labels, checkpoint.data.get("left_out", ())
    return environment.get_template("page.html").render(
        content=content,
        charts=charts,
        style=style,
        style_digest=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
        right=Proportion(int((answers.labels == answers.truth).sum()), len(answers.truth)),
        most_labels=MOST_LABELS,
        most_suspects=MOST_SUSPECTS,
        mistakes=[
            (labels[row], labels[column], count)
            for row, column, count in frequent_mistakes(content.counts, MOST_PAIRS)
        ],
        kept=[labels[index] for index in kept],
        matrix=[[labels[row], *content.counts[row, kept].tolist()] for row in kept],
        recall=recall,
        precision=precision,
        error_by_chance=error_by_chance(answers.probabilities),
        left_out=[(list_names(one), one["count"], one["reason"]) for one in left_out],
        bins=BINS,
        folds=FOLDS,
        settings=checkpoint.arguments
        | {"precision": checkpoint.precision, "threads": checkpoint.threads},
        # Tensors by name would fill pages; how many there are is enough.
        weights={
            name: f"{len(value)} tensors" if isinstance(value, list) and value else value or None
            for name, value in checkpoint.weights.items()
        },
        seconds=sum(line["seconds"] for line in content.history),
        speed=statistics.median_high(line["pictures_per_second"] for line in content.history),
    )


def percent(share: float | None) -> str:
    """Write a share of 0 to 1 for a person."""
    return "-" if share is None or math.isnan(share) else f"{100 * share:.1f} %"


def duration(seconds: float) -> str:
    """Write a time for a person: 12.1 s, 3 min 05 s, 2 h 10 min."""
    minutes = round(seconds) // 60
    if seconds < 60:  # noqa: PLR2004 - a minute
        return f"{seconds:.1f} s"
    if minutes < 60:  # noqa: PLR2004 - an hour
        return f"{minutes} min {round(seconds) % 60:02} s"
    return f"{minutes // 60} h {minutes % 60:02} min"


def embed_chart(png: bytes) -> Embedded:
    """Put a chart into the page as it is."""
    width, height = (round(side / SHARPNESS) for side in Image.open(io.BytesIO(png)).size)
    return Embedded(f"data:image/png;base64,{base64.b64encode(png).decode()}", width, height)


def embed_thumbnail(picture: Image.Image) -> Embedded:
    """Put a small picture into the page."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=QUALITY)
    jpeg = base64.b64encode(buffer.getvalue()).decode()
    return Embedded(f"data:image/jpeg;base64,{jpeg}", *picture.size)
