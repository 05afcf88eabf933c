"""The report's page."""

import base64
import hashlib
import io
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from antbee.accuracy import HeldOut, Proportion
from antbee.training.report import page
from antbee.training.report.measure import Answers
from antbee.training.report.page import Content, by_recall, duration, embed_picture, render
from antbee.training.suspects import Suspect, Suspects
from tests.conftest import encode, noise
from tests.training.report.drawn import content

CHARTS = dict.fromkeys(
    ("curves.png", "confusion.png", "reliability.png"), encode(Image.new("RGB", (90, 60)), "PNG")
)
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
        """Note text, with a line for each piece of it."""
        if data.strip():
            self.text += f"{data.strip()}\n"


def page_of(told: Content) -> Page:
    """Render and read a report."""
    return Page(render(told, CHARTS))


def test_page_needs_nothing_else() -> None:
    """Nothing is loaded from elsewhere, nothing is run, and the browser is told to hold to it."""
    html = render(content(("ant", "bee")), CHARTS)
    style = html.partition("<style>")[2].partition("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    page = Page(html)
    names = {name for name, _ in page.elements}
    addresses = [
        value or ""
        for _, attributes in page.elements
        for name, value in attributes.items()
        if name in {"src", "href", "srcset", "style", "action"} or name.startswith("on")
    ]
    policies = [a["content"] for name, a in page.elements if name == "meta" and "http-equiv" in a]

    assert names.isdisjoint({"script", "link", "iframe", "object", "base", "form"})
    assert len(addresses) > 3
    assert all(address.startswith("data:image/") for address in addresses)
    assert policies == [f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'"]


@pytest.mark.parametrize(
    "labels",
    [("<script>alert(1)</script>", '"><b>&amp;'), ("\udcff\udcfe", "\u8702\n"), ("$x$", "'")],
)
def test_labels_are_arbitrary(labels: Sequence[str]) -> None:
    """Labels that look like HTML, or are no text at all, are shown and do nothing."""
    plain, odd = page_of(content(("ant", "bee"))), page_of(content(labels))
    described = [attributes.get("alt") or "" for _, attributes in odd.elements]
    spelt = labels[1].replace("\n", "\\n").encode(errors="backslashreplace").decode()

    assert [(name, *attributes) for name, attributes in odd.elements] == [
        (name, *attributes) for name, attributes in plain.elements
    ]
    assert spelt in odd.text
    assert any(spelt in text for text in described)
    odd.text.encode()


def test_figures_are_those_of_the_answers() -> None:
    """Accuracy, recall, precision, temperature and errors are in the text."""
    told = content(("ant", "bee"))
    page = page_of(told)
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


def test_the_confusion_is_text_too() -> None:
    """Labels of any script can be read beside their counts, whatever fonts the charts have."""
    told = content(("ant", "\u8702"), each=30)
    wrong, right = told.counts[1]
    cells = f"<td>{wrong} ({wrong / 0.3:.0f} %)</td><td>{right} ({right / 0.3:.0f} %)</td>"

    assert wrong
    assert f'<tr><th scope="row">\u8702</th>{cells}</tr>' in render(told, CHARTS)


def test_every_shown_picture_has_its_facts() -> None:
    """Each has truth, answer, probability and file name, its map beside it, and is there large."""
    told = content(("ant", "bee", "moth"))
    page = page_of(told)
    first = told.worst[0]
    truth, answer = (
        told.checkpoint.labels[row[first]] for row in (told.answers.truth, told.answers.labels)
    )
    sure = 100 * told.answers.probabilities[first].max()

    assert f"{truth} taken for {answer}, {sure:.1f} %" in page.text
    assert "/".join(told.answers.pictures[first].path.parts[-3:]) in page.text
    images = sum(name == "img" for name, _ in page.elements)
    assert images == len(CHARTS) + 3 * (len(told.worst) + len(told.uncertain))


def test_tables_have_headings() -> None:
    """Columns and rows have headings, which tell those who cannot see where they are."""
    html = render(content(("<ant>", "bee")), CHARTS)

    assert '<th scope="col">recall</th>' in html
    assert html.count('<tr><th scope="row">&lt;ant&gt;</th>') >= 2


def test_thumbnails_are_embedded() -> None:
    """A picture is in the page itself, with its size."""
    embedded = embed_picture(noise(40, 30))
    kind, _, data = embedded.address.partition("base64,")

    assert kind == "data:image/jpeg;"
    assert embedded[1:] == (40, 30)
    assert Image.open(io.BytesIO(base64.b64decode(data))).size == (40, 30)


def test_a_perfect_run_has_no_mistakes() -> None:
    """Where every answer is right the page says so."""
    told = content(("ant", "bee"))
    told.answers.logits[:] = 0
    told.answers.logits[range(20), told.answers.truth] = 9
    fresh = replace(told, answers=Answers(told.answers.pictures, told.answers.logits), worst=[])

    page = page_of(fresh)
    assert "There is no mistake." in page.text
    assert "100.0 %" in page.text


def test_many_labels_are_listed() -> None:
    """A hundred labels have a line each, and the chart says how many of them it shows."""
    labels = [f"species {number}" for number in range(120)]
    page = page_of(content(labels, each=2))

    assert all(label in page.text for label in labels)
    assert "the 15 of 120 labels most often confused" in page.text


def test_labels_come_by_their_recall() -> None:
    """The worst first, those without pictures last; from the twenty-first on they are folded."""
    rows = by_recall([("a", Proportion(2, 2)), ("b", Proportion(0, 0)), ("c", Proportion(1, 3))])
    assert [row[:2] for row in rows] == [["c", "1 of 3"], ["a", "2 of 2"], ["b", "0 of 0"]]

    page = page_of(content([f"species {number}" for number in range(40)], each=2))
    assert "The other 20" in page.text


@pytest.mark.parametrize(("count", "shown"), [(9, False), (10, True)])
def test_many_labels_have_a_top_5(count: int, shown: bool) -> None:
    """Where the five likeliest are not most of the labels, how often the true one is among them."""
    told = content([f"species {number}" for number in range(count)], each=2)
    best = np.argsort(-told.answers.logits, 1)[:, :5]
    share = 100 * (best == told.answers.truth[:, None]).any(1).mean()
    text = page_of(told).text

    assert (f"top-5 accuracy\n{share:.1f} %\n" in text) is shown
    assert f"by chance: one of {count} labels\n{100 / count:.1f} %\n" in text


def test_validation_is_optimistic_and_test_is_not() -> None:
    """Both figures stand above everything, with what each is worth."""
    told = content(("ant", "bee"))
    alone = page_of(replace(told, trained=Proportion(19, 20))).text
    labels = {"ant": Proportion(7, 10), "bee": Proportion(1, 2)}
    result = HeldOut("training", "c0de", "5ab", 0, labels)
    both = page_of(replace(told, held_out=result)).text

    assert "optimistic: the epoch was chosen on these pictures" in alone
    assert "On test pictures" not in alone
    assert "on 20 training pictures\n95.0 %\n" in alone
    assert "8 of 12, " in both
    assert "balanced accuracy\n60.0 %\n" in both
    assert "copies" not in both
    assert "ant\n7 of 10\n" in both


@pytest.mark.parametrize(("freeze", "told"), [("layer3", True), ("stem", False), ("none", False)])
def test_what_packing_promises_is_said(freeze: str, *, told: bool) -> None:
    """Where packing can fit what tells strangers, the page says what that is worth."""
    run = content(("ant", "bee"))
    run.checkpoint.arguments["freeze"] = freeze

    assert ("about 5 in 100 pictures" in page_of(run).text) is told
    assert "about 5 in 100 pictures" not in page_of(replace(run, split="test")).text


def test_the_data_set_has_the_test_pictures_that_were_measured() -> None:
    """They may be another folder's than the run's own, whose number is on neither page."""
    told = content(("ant", "bee"))
    told.checkpoint.data.update(test={"pictures": {"ant": 70, "bee": 80}})
    result = HeldOut(
        "training", "c0de", "5ab", 0, {"ant": Proportion(7, 9), "bee": Proportion(1, 4)}
    )

    assert "together\n20\n150\n" in page_of(told).text
    assert "together\n20\n13\n" in page_of(replace(told, held_out=result)).text


def test_data_set_is_described() -> None:
    """Counts by split and label, files left out with their reasons, and duplicates are listed."""
    told = content(("ant", "bee"))
    told.checkpoint.data.update(
        pictures={"train": {"ant": 7, "bee": 8}, "val": {"ant": 3, "bee": 4}},
        left_out=[
            {"reason": "broken", "ending": ".jpg", "count": 12, "names": ["val/ant/<x>.jpg"]},
        ],
        duplicates={
            "across": 3,
            "contradicting": 0,
            "names": {"across": [["train/ant/1.jpg", "val/ant/2.jpg"]], "contradicting": []},
        },
    )
    text = page_of(told).text

    assert all(word in text for word in ("train\n", "val\n", "together", "15\n", "val/ant/<x>.jpg"))
    assert "Files left out: 1" in text
    assert "in training and validation at once" in text
    assert "val/ant/2.jpg" in text
    assert "under more than one label" not in text


def test_settings_versions_and_times_are_listed() -> None:
    """What a run was begun with, what it ran on and how long it took can be read."""
    told = content(("ant", "bee"))
    told.checkpoint.weights.update(what="file", missing=["a", "b"], unexpected=[])
    text = page_of(told).text

    assert all(word in text for word in ("patience\nnone\n", "precision\nfloat32\n"))
    assert "missing\n2 tensors\nunexpected\nnone\n" in text
    assert "torch\n2\n" in text
    assert "all epochs\n3 min 30 s\n" in text


def test_another_accuracy_than_the_runs_is_noticed() -> None:
    """Where the pictures give another accuracy than the run recorded, the page says so."""
    told = content(("ant", "bee"))
    other = replace(told, best=replace(told.best, val_top1=0.2))

    assert "The run itself recorded" not in page_of(told).text
    assert "The run itself recorded 20.0 %" in page_of(other).text


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(12.14, "12.1 s"), (65, "1 min 05 s"), (7800, "2 h 10 min"), (0, "0.0 s")],
)
def test_durations_are_for_people(seconds: float, expected: str) -> None:
    """A time is in the units that a person would choose."""
    assert duration(seconds) == expected


def test_pictures_to_look_at_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Suspects are shown with their label, what they look like and how surely; pairs side by side.

    Of many the first are shown and all are counted.
    """
    monkeypatch.setattr(page, "MOST_SUSPECTS", 2)
    paths = [Path(f"data/train/<ant>/{number}.jpg") for number in range(5)]
    suspects = Suspects(
        [Suspect("label", path, "<ant>", "bee", 0.93) for path in paths[:3]],
        [Suspect("copy", paths[3], "<ant>", "bee", 0.81, paths[4])],
        right=0.9,
    )
    thumbnails = {path: noise(20, 20) for path in suspects.first(2)}
    told = replace(content(("<ant>", "bee")), suspects=suspects, thumbnails=thumbnails)

    text = page_of(told).text

    assert "that look like those of another label: 3, and here are the 2 surest" in text
    assert text.count("<ant>, looks like bee, 93.0 %\n") == 2
    assert "<ant> and bee, 81.0 % alike\ntrain/<ant>/3.jpg\ntrain/<ant>/4.jpg\n" in text
    assert "train/<ant>/2.jpg" not in text
    assert "python -m antbee.training.clean RUN" in text


def test_a_run_without_suspects_says_so() -> None:
    """Nothing to look at, and why labels were not judged, is said; who could not look is silent."""
    told = content(("ant", "bee"))
    text = page_of(replace(told, suspects=Suspects(reason="nothing was frozen"))).text

    assert "Labels were not judged: nothing was frozen." in text
    assert "No two pictures in different splits or under different labels" in text
    assert "antbee.training.clean" not in text
    assert "Pictures to look at" not in page_of(told).text
