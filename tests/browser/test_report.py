"""A run's report, as a browser shows it."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser

from antbee.calibration import reliability, softmax
from antbee.training.checkpoint import Checkpoint
from antbee.training.report.figures import draw_confusion, draw_curves, draw_reliability
from antbee.training.report.page import CONFUSION, CURVES, RELIABILITY, Content, render
from tests.browser.conftest import VIEWS, watched
from tests.training.conftest import checkpoint
from tests.training.report.drawn import content

__all__ = ["checkpoint"]  # a fixture of training's


def charts(told: Content) -> dict[str, bytes]:
    """Draw the charts of the page."""
    answers = told.answers
    before = reliability(softmax(answers.logits), answers.truth)
    return {
        CURVES: draw_curves(told.history, told.best.epoch),
        CONFUSION: draw_confusion(told.counts, told.labels, range(len(told.labels))),
        RELIABILITY: draw_reliability(before, before, 1.0),
    }


@pytest.fixture
def report(checkpoint: Checkpoint, tmp_path: Path) -> Path:
    """Write a report of labels that take much room."""
    told = content(checkpoint, ("<b>ant</b>", "a" * 80, "bee"))
    path = tmp_path / "report.html"
    path.write_text(render(told, charts(told)), "utf-8")
    return path


@pytest.mark.parametrize("view", VIEWS)
def test_report_is_whole_and_alone(browser: Browser, report: Path, view: str) -> None:
    """On any screen every picture is there, nothing else is asked for, and nothing sticks out."""
    with watched(browser, report.as_uri(), view) as page:
        page.goto(report.as_uri())
        page.wait_for_function("[...document.images].every((image) => image.complete)")
        widths = page.evaluate("[...document.images].map((image) => image.naturalWidth)")
        screen, content_width = page.evaluate("[innerWidth, document.documentElement.scrollWidth]")
        styled = page.evaluate("getComputedStyle(document.querySelector('main')).display")

    assert len(widths) > 20
    assert min(widths) > 0
    assert content_width <= screen
    assert styled == "grid"  # the policy lets the style in
