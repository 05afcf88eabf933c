"""A run's report, as a browser shows it."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from antbee.calibration import reliability, softmax
from antbee.training.report.figures import draw_confusion, draw_curves, draw_reliability
from antbee.training.report.page import render
from tests.browser.conftest import VIEWS, watched
from tests.training.report.drawn import content


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a report of labels that take much room."""
    labels = ("<b>ant</b>", "a" * 80, "bee")
    told = content(labels)
    before = reliability(softmax(told.answers.logits), told.answers.truth)
    charts = {
        "curves.png": draw_curves(told.history, told.best.epoch),
        "confusion.png": draw_confusion(told.counts, labels, range(len(labels))),
        "reliability.png": draw_reliability(before, before, 1.0),
    }
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(render(told, charts), "utf-8")
    return path


@pytest.mark.parametrize("view", VIEWS)
def test_report_is_whole_and_alone(browser: Browser, report: Path, view: str) -> None:
    """On any screen every picture is there, nothing else is asked for, nothing sticks out.

    A click on a picture opens it large, without a script.
    """
    with watched(browser, report.as_uri(), view) as page:
        page.goto(report.as_uri())
        page.wait_for_function("[...document.images].every((image) => image.complete)")
        widths = page.evaluate("[...document.images].map((image) => image.naturalWidth)")
        screen, content_width = page.evaluate("[innerWidth, document.documentElement.scrollWidth]")
        styled = page.evaluate("getComputedStyle(document.querySelector('main')).display")
        page.get_by_label("open the picture large").first.click()
        large = page.locator("[popover]:popover-open")
        expect(large.get_by_role("img")).to_be_visible()
        large.get_by_role("button", name="Close").click()
        expect(large).to_have_count(0)

    assert len(widths) > 20
    assert min(widths) > 0
    assert content_width <= screen
    assert styled == "grid"  # the policy lets the style in
