"""The report as one page of HTML: no script, and nothing that is not in the file."""

import base64
import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from typing import Any, Final

from antbee.calibration import BINS, FOLDS, error_by_chance
from antbee.training.checkpoint import Checkpoint, Metrics
from antbee.training.report.about import data_section, run_section
from antbee.training.report.markup import (
    Markup,
    chart,
    empty,
    facts,
    section,
    table,
    tag,
    thumbnail,
)
from antbee.training.report.measure import Answers, Looked
from antbee.training.report.numbers import (
    Counts,
    Share,
    confusion,
    frequent_mistakes,
    precision,
    recall,
)

MOST_LABELS: Final = 15
"""Labels of which a confusion matrix can be read."""
MOST_PAIRS: Final = 10
"""Of a true label and a wrong answer that are listed."""
CURVES: Final = "curves.png"
CONFUSION: Final = "confusion.png"
RELIABILITY: Final = "reliability.png"
MISTAKES: Final = "mistakes.png"
UNCERTAIN: Final = "uncertain.png"


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
        looked: by index, those pictures that are shown.
        worst: indices of the most confident wrong answers.
        uncertain: indices of the least certain answers.
    """

    name: str
    made: str
    checkpoint: Checkpoint
    best: Metrics
    history: Sequence[Mapping[str, Any]]
    answers: Answers
    looked: Mapping[int, Looked]
    worst: Sequence[int]
    uncertain: Sequence[int]

    @property
    def labels(self) -> list[str]:
        """The labels' names."""
        return self.checkpoint.labels

    @cached_property
    def counts(self) -> Counts:
        """Pictures by true label and answer."""
        return confusion(self.answers.truth, self.answers.labels, len(self.labels))

    def caption(self, index: int) -> str:
        """Say what a picture is, what it was taken for, and how surely."""
        answers, truth = self.answers, self.labels[self.answers.truth[index]]
        answer = self.labels[answers.labels[index]]
        sure = percent(float(answers.probabilities[index].max()))
        return f"{truth}, {sure} sure" if truth == answer else f"{truth} taken for {answer}, {sure}"


def render(content: Content, charts: Mapping[str, bytes]) -> str:
    """Write the page.

    Args:
        content: what it tells.
        charts: PNG files by name: `CURVES`, `CONFUSION` and `RELIABILITY`.
    """
    style = files(__package__).joinpath("page.css").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'"
    head = tag(
        "head",
        empty("meta", charset="utf-8"),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{policy}">'),
        empty("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", f"{content.name}: report"),
        tag("style", Markup(style)),
    )
    return f'<!doctype html>\n<html lang="en">{head}{tag("body", _body(content, charts))}</html>\n'


def percent(share: float) -> str:
    """Write a share of 0 to 1 for a person."""
    return "-" if math.isnan(share) else f"{100 * share:.1f} %"


def _body(content: Content, charts: Mapping[str, bytes]) -> Markup:
    return tag(
        "main",
        _header(content),
        section("Training", _chart(charts[CURVES], "Loss and accuracy by epoch")),
        _confusion(content, charts[CONFUSION]),
        _by_label(content),
        _calibration(content.answers, charts[RELIABILITY]),
        _gallery(content, "Most confident mistakes", content.worst, "There is no mistake."),
        _gallery(content, "Least certain answers", content.uncertain, ""),
        data_section(content.checkpoint.data),
        run_section(content.checkpoint, content.history, content.made),
    )


def _header(content: Content) -> Markup:
    answers, best = content.answers, content.best
    right = Share(int((answers.labels == answers.truth).sum()), len(answers.truth))
    pairs = [
        ("top-1 accuracy", tag("strong", percent(right.value))),
        ("right, with 95 % interval", f"{right.hits} of {right.of}, {_interval(right)}"),
        ("best epoch", f"{best.epoch} of {len(content.history)}"),
        ("validation loss", f"{best.val_loss:.4f}"),
    ]
    return tag("header", tag("h1", content.name), facts(pairs), _doubt(right, best.val_top1))


def _doubt(right: Share, recorded: float) -> Markup:
    if abs(right.value - recorded) * right.of < 1:
        return Markup()
    return tag(
        "p",
        f"The run itself recorded {percent(recorded)}: these are other pictures, or another kind "
        "of processor.",
        class_="doubt",
    )


def _confusion(content: Content, png: bytes) -> Markup:
    many = len(content.labels) > MOST_LABELS
    kept = (
        f": the {MOST_LABELS} of {len(content.labels)} labels most often confused" if many else ""
    )
    pairs = frequent_mistakes(content.counts, MOST_PAIRS)
    rows = [(content.labels[row], content.labels[column], count) for row, column, count in pairs]
    return section(
        "Confusion",
        _chart(png, f"Pictures by true label and answer{kept}"),
        table(("true label", "answer", "pictures"), rows) if rows else tag("p", "No mistakes."),
    )


def _by_label(content: Content) -> Markup:
    rows = []
    for index, label in enumerate(content.labels):
        shares = (recall(content.counts, index), precision(content.counts, index))
        cells = [f(share) for share in shares for f in (_hits, _value, _interval)]
        rows.append((label, *cells))
    head = ("label", "recognised", "recall", "95 % interval", "right", "precision", "95 % interval")
    return section(
        "Labels",
        tag(
            "p",
            "Recall: of a label's pictures, the share that was recognised. Precision: of the "
            "pictures given a label, the share that has it. Intervals are Wilson's.",
        ),
        table(head, rows),
    )


def _calibration(answers: Answers, png: bytes) -> Markup:
    found = answers.calibration
    errors = (found.ece_before, found.ece_after, found.ece_cross_validated)
    before, after, held_out = (percent(math.nan if one is None else one) for one in errors)
    return section(
        "Calibration",
        _chart(png, "Share of right answers by confidence, before and after"),
        facts(
            [
                ("temperature", f"{found.temperature:.3f}"),
                ("error before", before),
                ("error after, on the same pictures", after),
                ("error after, cross-validated", held_out),
                ("error by chance alone", percent(error_by_chance(answers.probabilities))),
            ]
        ),
        tag(
            "p",
            f"What is served is the softmax of the logits divided by the temperature, which makes "
            f"the labels of these {found.pictures} validation pictures most likely; no answer "
            f"changes. The error is the expected calibration error in {BINS} bins of equal width: "
            "how far the share of right answers lies from their probability on average (Guo et al. "
            "2017, arXiv:1706.04599). On the pictures that the temperature was fitted on it is "
            f"flattering; cross-validated, each of {FOLDS} parts of the pictures has the "
            "temperature fitted on the others. By chance alone is what an error would be if the "
            "probabilities were true, for there are only so many pictures: below that, nothing is "
            "known to be wrong.",
        ),
    )


def _gallery(content: Content, title: str, indices: Sequence[int], none: str) -> Markup:
    if not indices:
        return section(title, tag("p", none))
    explained = tag(
        "p",
        "Beside each picture, what in it spoke for the answer: its class activation map. "
        "Probabilities are calibrated.",
    )
    cards = [_card(content, index) for index in indices]
    return section(title, explained, tag("div", *cards, class_="gallery"))


def _card(content: Content, index: int) -> Markup:
    caption, looked = content.caption(index), content.looked[index]
    path = content.answers.pictures[index].path
    return tag(
        "figure",
        tag(
            "div",
            thumbnail(looked.picture, caption),
            thumbnail(looked.heat, "the same picture with its heat map"),
        ),
        tag("figcaption", tag("strong", caption), tag("code", "/".join(path.parts[-3:]))),
    )


def _chart(png: bytes, caption: str) -> Markup:
    return tag("figure", chart(png, caption), tag("figcaption", caption), class_="chart")


def _hits(share: Share) -> str:
    return f"{share.hits} of {share.of}"


def _value(share: Share) -> str:
    return percent(share.value)


def _interval(share: Share) -> str:
    low, high = share.interval
    return f"{percent(low)} to {percent(high)}"
