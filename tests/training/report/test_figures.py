"""The report's charts."""

import io
import runpy
import sys
from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from antbee.calibration import BINS, reliability
from antbee.training.report import figures
from antbee.training.report.figures import (
    draw_confusion,
    draw_curves,
    draw_reliability,
    draw_sheet,
    shortened,
)
from antbee.training.report.measure import Illustration
from tests.conftest import noise
from tests.training.report.drawn import answers, history

ODD = ["$x", "a_b^c", "\u8702", "\udcff", "<b>", "x" * 300, "\n", " "]
"""Labels that mathematics, fonts, encodings or the layout could stumble over."""


def opened(data: bytes) -> Image.Image:
    """Read a chart, and see that there is something on it."""
    picture = Image.open(io.BytesIO(data))
    assert picture.format == "PNG"
    assert len(set(picture.convert("L").tobytes())) > 1
    return picture


@pytest.mark.parametrize("epochs", [1, 2, 300])
def test_curves_of_any_length(epochs: int) -> None:
    """A run of one epoch has its point, and one of hundreds fits, too."""
    opened(draw_curves(history(epochs), best=1))


@pytest.mark.parametrize("epochs", [1, 2, 30])
def test_there_are_no_parts_of_epochs(epochs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The axis counts whole epochs, even where there is one."""
    ticks: list[float] = []

    def note(figure: Figure) -> bytes:
        for axes in figure.axes:
            ticks.extend(axes.get_xticks())
        return b""

    monkeypatch.setattr(figures, "_png", note)
    draw_curves(history(epochs), best=1)

    assert 1 in ticks or epochs > 2
    assert all(tick == round(tick) for tick in ticks)


def test_best_epoch_is_marked() -> None:
    """Another best epoch is another chart."""
    assert draw_curves(history(3), best=2) != draw_curves(history(3), best=3)


@pytest.mark.parametrize("labels", [["a", "b"], ODD, [str(number) for number in range(15)]])
def test_confusion_of_any_labels(labels: Sequence[str]) -> None:
    """Labels of any number and spelling are drawn, and no chart becomes as large as a wall."""
    counts = np.random.default_rng(0).integers(0, 99, (len(labels), len(labels)))
    picture = opened(draw_confusion(counts, labels, range(len(labels))))

    assert max(picture.size) < 2000


def test_a_part_of_the_labels_can_be_drawn() -> None:
    """Of many labels only those asked for are drawn, and only their pictures count."""
    counts = np.random.default_rng(0).integers(1, 99, (100, 100))
    labels = [f"label {number}" for number in range(100)]
    before = draw_confusion(counts, labels, [3, 50])
    counts[7, 8] += 1

    assert draw_confusion(counts, labels, [3, 50]) == before
    counts[3, 50] += 1
    assert draw_confusion(counts, labels, [3, 50]) != before


@pytest.mark.parametrize("each", [1, 100])
def test_reliability(each: int) -> None:
    """Bins without a picture are left out, and no number of pictures is too few."""
    found = answers(2, each)

    opened(
        draw_reliability(
            reliability(found.probabilities, found.truth),
            reliability(found.probabilities, found.truth, BINS),
            1.5,
        )
    )


@pytest.mark.parametrize("count", [0, 1, 12])
def test_sheet_of_pictures(count: int) -> None:
    """As many pictures as there are, of any shape and caption, have their place; none is fine."""
    sizes = [(30, 40), (200, 10), (1, 50)]
    explanations = [Illustration(*[noise(*sizes[i % 3], i)] * 3) for i in range(count)]

    opened(
        draw_sheet("$ mistakes", explanations, [ODD[index % len(ODD) :] for index in range(count)])
    )


def test_long_labels_are_shortened() -> None:
    """A label of a chart is short, and can be printed."""
    assert shortened("x" * 300) == "x" * 17 + "\u2026"
    assert shortened("\udcff") == "\\udcff"


def test_drawing_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Matplotlib's settings are as they were, and pyplot, which keeps figures, is not loaded."""
    names = set(mpl.rcParams) - {"backend"}  # to look at the backend's setting would choose one
    before = {name: mpl.rcParams[name] for name in names}
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)  # an import of it fails
    runpy.run_path(figures.__file__)["draw_curves"](history(3), 1)

    assert {name: mpl.rcParams[name] for name in names} == before
