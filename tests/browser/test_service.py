"""The page and the documentation, served by the real service with a real network."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import watched
from tests.conftest import LABELS, Server


@pytest.fixture
def service(browser: Browser, server: Server) -> Iterator[Page]:
    """Give an empty tab of the service's own."""
    with watched(browser, server.url, "desktop-light") as opened:
        yield opened


def test_picture_is_classified_and_explained(service: Page, pictures: list[Path]) -> None:
    """The page gets its answers and heat maps, for every label, from the service beside it."""
    service.goto("/")
    expect(service.get_by_role("complementary")).to_contain_text("ant_bee_classifier:")
    service.locator("#files").set_input_files(pictures[0])
    card = service.locator(".card")
    expect(card.locator(".verdict")).to_have_text(re.compile(rf"({'|'.join(LABELS)}) [\d.]+%"))
    card.get_by_role("button", name="Heat map").click()
    for label in LABELS:
        card.get_by_role("combobox", name="for").select_option(label)
        drawn = card.get_by_role("img", name=f"ant.jpg with what speaks for {label} marked")
        expect(drawn).to_be_visible()

        assert drawn.evaluate("map => map.decode().then(() => map.naturalWidth)") > 200


def test_every_example_works(service: Page, server: Server) -> None:
    """Every route, sent from the documentation in every way with nothing filled in, answers 200."""
    service.goto("/docs")
    expect(service.locator("details[open]")).to_have_count(1)
    for route in service.locator(".operation").all():
        route.evaluate("route => (route.open = true)")
        expect(route.get_by_role("button", name="Send")).to_be_visible()
        kinds = route.get_by_label("Content-Type")
        types = kinds.locator("option").all_text_contents() if kinds.count() else [None]
        for content_type in types:
            if content_type is not None:
                kinds.select_option(content_type)
            with service.expect_response(f"{server.url}/**") as answer:
                route.get_by_role("button", name="Send").click()

            assert answer.value.status == 200, (answer.value.url, content_type)
