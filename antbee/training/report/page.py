"""The report as one page of HTML: no script, and nothing that is not in the file.

`page.html` is its template and `page.css` its style.
"""

import base64
import hashlib
import io
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from antbee.accuracy import (
    Counts,
    HeldOut,
    Proportion,
    balanced_accuracy,
    confusion,
    frequent_mistakes,
    most_confused,
    precision,
    recall,
    within,
)
from antbee.calibration import BINS, FOLDS, error_by_chance
from antbee.command import printable
from antbee.training.checkpoint import Checkpoint, Metrics
from antbee.training.provenance import list_names
from antbee.training.report.measure import Answers, Illustration
from antbee.training.suspects import Suspects

MOST_LABELS: Final = 15
"""Labels of which a confusion matrix can be read."""
MOST_PAIRS: Final = 10
"""Of a true label and a wrong answer that are listed."""
MOST_ROWS: Final = 20
"""Labels that a table has before the others are folded away."""
TOP: Final = 5
"""Answers among which the true label is looked for, where there are labels enough."""
TOP_LABELS: Final = 2 * TOP
"""Of fewer, so many answers would be hard to miss with."""
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
        answers: to the pictures of the split.
        explanations: by index, of the worst and the uncertain ones.
        worst: indices of the most confident wrong answers.
        uncertain: indices of the least certain answers.
        split: `val` or `test`, whose pictures the page is about.
        held_out: what the test pictures came to, where they were measured.
        trained: of some training pictures, read as for validation, those that were recognised.
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
    split: str = "val"
    held_out: HeldOut | None = None
    trained: Proportion | None = None
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
    """Write the page; the charts are PNG files: confusion.png, curves.png and reliability.png.

    The last two are of validation, and not on a page about test pictures.
    """
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
    environment.filters.update(percent=percent, duration=duration, spread=spread)
    environment.filters.update(embed_chart=embed_chart, embed_picture=embed_picture)
    answers, checkpoint = content.answers, content.checkpoint
    kept = most_confused(content.counts, MOST_LABELS)
    labels, left_out = checkpoint.labels, checkpoint.data.get("left_out", ())
    shares = [
        (label, recall(content.counts, index), precision(content.counts, index))
        for index, label in enumerate(labels)
    ]
    held_out = content.held_out.labels if content.held_out else {}
    splits = dict(checkpoint.data.get("pictures", {}))
    if held_out:  # which need not be the run's own test pictures
        splits["test"] = {label: one.of for label, one in held_out.items()}
    elif tested := checkpoint.data.get("test"):
        splits["test"] = tested["pictures"]
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
        matrix=[
            [labels[row], *(with_share(content.counts, row, column) for column in kept)]
            for row in kept
        ],
        balanced=balanced_accuracy(recalled for _, recalled, _ in shares),
        held_out_balanced=balanced_accuracy(held_out.values()),
        validated=_validated(content),
        top=TOP if len(labels) >= TOP_LABELS else None,
        top_right=within(answers.logits, answers.truth, TOP),
        largest=Proportion(int(content.counts.sum(1).max()), len(answers.truth)),
        lines=by_recall(shares),
        most_rows=MOST_ROWS,
        splits=splits,
        totals=[sum(counts.values()) for counts in splits.values()],
        counted=[[label, *(one.get(label, 0) for one in splits.values())] for label in labels],
        held_out_lines=by_recall(held_out.items()),
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


def _validated(content: Content) -> Proportion:
    """What the run itself recorded of its validation pictures."""
    counts = content.checkpoint.data.get("pictures", {}).get("val", {})
    pictures = sum(counts.values())
    return Proportion(round(content.best.val_top1 * pictures), pictures)


def by_recall(labels: Iterable[tuple[str, Proportion, *tuple[Proportion, ...]]]) -> list[list[str]]:
    """Rows of a table of labels, each with its recall and whatever else, the lowest recall first.

    A label without pictures has no place in that order, and comes last.
    """
    rows = sorted(labels, key=lambda row: (not row[1].of, row[1].value))
    return [
        [
            label,
            *(
                cell
                for one in shares
                for cell in (f"{one.hits} of {one.of}", percent(one.value), spread(one))
            ),
        ]
        for label, *shares in rows
    ]


def with_share(counts: Counts, row: int, column: int) -> str:
    """Write a cell of a confusion matrix: pictures, and their share of the true label's."""
    count, of = int(counts[row, column]), int(counts[row].sum())
    return f"{count} ({100 * count / of:.0f} %)" if count else "0"


def spread(share: Proportion) -> str:
    """Write an interval for a person."""
    return " to ".join(map(percent, share.interval))


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


def embed_picture(picture: Image.Image) -> Embedded:
    """Put a picture into the page."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=QUALITY)
    jpeg = base64.b64encode(buffer.getvalue()).decode()
    return Embedded(f"data:image/jpeg;base64,{jpeg}", *picture.size)
