"""The report's page."""

from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from PIL import Image

from antbee.training.checkpoint import Checkpoint
from antbee.training.report.about import duration
from antbee.training.report.page import CONFUSION, CURVES, RELIABILITY, render
from tests.conftest import encode
from tests.training.report.drawn import content

CHARTS = dict.fromkeys((CURVES, CONFUSION, RELIABILITY), encode(Image.new("RGB", (90, 60)), "PNG"))
VOID = {"img", "meta"}


class Page(HTMLParser):
    """Reads a page, and fails where its elements do not nest."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Close the element that was opened last."""
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Note text."""
        self.text += f"{data}\n"


def page_of(checkpoint: Checkpoint, labels: Sequence[str] = ("ant", "bee"), each: int = 10) -> Page:
    """Render and read a report."""
    return Page(render(content(checkpoint, labels, each), CHARTS))


def test_page_needs_nothing_else(checkpoint: Checkpoint) -> None:
    """Nothing is loaded from elsewhere, nothing is run, and the browser is told to hold to it."""
    page = page_of(checkpoint)
    names = {name for name, _ in page.elements}
    addresses = [
        value or ""
        for _, attributes in page.elements
        for name, value in attributes.items()
        if name in {"src", "href", "srcset", "style", "action"} or name.startswith("on")
    ]
    policy = next(
        attributes["content"] or ""
        for name, attributes in page.elements
        if name == "meta" and "http-equiv" in attributes
    )

    assert names.isdisjoint({"script", "link", "iframe", "object", "base", "form"})
    assert len(addresses) > 3
    assert all(address.startswith("data:image/") for address in addresses)
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")


@pytest.mark.parametrize(
    "labels",
    [("<script>alert(1)</script>", '"><b>&amp;'), ("\udcff\udcfe", "\u8702\n"), ("$x$", "'")],
)
def test_labels_are_arbitrary(checkpoint: Checkpoint, labels: Sequence[str]) -> None:
    """Labels that look like HTML, or are no text at all, are shown and do nothing."""
    plain, odd = page_of(checkpoint), page_of(checkpoint, labels)

    assert [name for name, _ in odd.elements] == [name for name, _ in plain.elements]
    assert labels[1].replace("\n", "\\n") in odd.text
    odd.text.encode()


def test_figures_are_those_of_the_answers(checkpoint: Checkpoint) -> None:
    """Accuracy, recall, precision, temperature and errors are in the text."""
    told = content(checkpoint, ("ant", "bee"))
    page = Page(render(told, CHARTS))
    right = int((told.answers.labels == told.answers.truth).sum())
    found = told.answers.calibration

    assert f"{right} of 20" in page.text
    assert f"{100 * right / 20:.1f} %" in page.text
    assert f"{told.counts[1, 1]} of 10" in page.text
    assert f"{told.counts[1, 1]} of {told.counts[:, 1].sum()}" in page.text
    assert f"{found.temperature:.3f}" in page.text
    for error in (found.ece_before, found.ece_after, found.ece_cross_validated):
        assert error is not None
        assert f"{100 * error:.1f} %" in page.text
    assert "2 of 3" in page.text


def test_every_shown_picture_has_its_facts(checkpoint: Checkpoint) -> None:
    """Each thumbnail has truth, answer, probability and file name, and its map beside it."""
    told = content(checkpoint, ("ant", "bee", "moth"))
    page = Page(render(told, CHARTS))
    first = told.worst[0]
    truth, answer = (told.labels[row[first]] for row in (told.answers.truth, told.answers.labels))
    sure = 100 * told.answers.probabilities[first].max()

    assert f"{truth} taken for {answer}, {sure:.1f} %" in page.text
    assert "/".join(told.answers.pictures[first].path.parts[-3:]) in page.text
    images = sum(name == "img" for name, _ in page.elements)
    assert images == len(CHARTS) + 2 * (len(told.worst) + len(told.uncertain))


def test_a_perfect_run_has_no_mistakes(checkpoint: Checkpoint) -> None:
    """Where every answer is right the page says so."""
    told = content(checkpoint, ("ant", "bee"))
    told.answers.logits[:] = 0
    told.answers.logits[range(20), told.answers.truth] = 9
    fresh = replace(told, answers=replace(told.answers), worst=[])

    page = Page(render(fresh, CHARTS))
    assert "There is no mistake." in page.text
    assert "100.0 %" in page.text


def test_many_labels_are_listed(checkpoint: Checkpoint) -> None:
    """A hundred labels have a line each, and the chart says how many of them it shows."""
    labels = [f"species {number}" for number in range(120)]
    page = page_of(checkpoint, labels, each=2)

    assert all(label in page.text for label in labels)
    assert "the 15 of 120 labels most often confused" in page.text


def test_data_set_is_described(checkpoint: Checkpoint) -> None:
    """Counts by split and label, files left out with their reasons, and duplicates are listed."""
    checkpoint.data.update(
        pictures={"train": {"ant": 7, "bee": 8}, "val": {"ant": 3, "bee": 4}},
        left_out={"val/ant/<x>.jpg": "broken"},
        duplicates={
            "across": 3,
            "contradicting": 0,
            "names": {"across": [["train/ant/1.jpg", "val/ant/2.jpg"]], "contradicting": []},
        },
    )
    text = page_of(checkpoint).text

    assert all(word in text for word in ("train\n", "val\n", "together", "15\n", "val/ant/<x>.jpg"))
    assert "Files left out: 1" in text
    assert "in training and validation at once" in text
    assert "val/ant/2.jpg" in text
    assert "under more than one label" not in text


def test_settings_versions_and_times_are_listed(checkpoint: Checkpoint) -> None:
    """What a run was begun with, what it ran on and how long it took can be read."""
    checkpoint.arguments.update(patience=None)
    checkpoint.weights.update(what="file", missing=["a", "b"])
    text = page_of(checkpoint).text

    assert all(word in text for word in ("patience\nnone\n", "precision\nfloat32\n"))
    assert "missing\n2 tensors\n" in text
    assert "torch\n2\n" in text
    assert "all epochs\n3 min 30 s\n" in text


def test_another_accuracy_than_the_runs_is_noticed(checkpoint: Checkpoint) -> None:
    """Where the pictures give another accuracy than the run recorded, the page says so."""
    told = content(checkpoint, ("ant", "bee"))
    other = replace(told, best=replace(told.best, val_top1=0.2))

    assert "The run itself recorded" not in Page(render(told, CHARTS)).text
    assert "The run itself recorded 20.0 %" in Page(render(other, CHARTS)).text


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(12.14, "12.1 s"), (65, "1 min 05 s"), (7800, "2 h 10 min"), (0, "0.0 s")],
)
def test_durations_are_for_people(seconds: float, expected: str) -> None:
    """A time is in the units that a person would choose."""
    assert duration(seconds) == expected
