"""The page without a mouse, without sight, on a small screen, and in the dark."""

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import VIEWS, watched
from tests.browser.gestures import Paths, give
from tests.browser.stub import Stub

COUNT_SHIFTS = """
window.moved = 0;
const count = (list) => list.getEntries().forEach((entry) => (moved += entry.value));
new PerformanceObserver(count).observe({ type: "layout-shift", buffered: true });
"""


def test_keyboard_alone_is_enough(page: Page, pictures: Paths) -> None:
    """Everything can be reached and done with the keyboard, in the order of reading."""
    page.goto("/")
    expect(page.get_by_role("heading", level=1)).to_have_text("Ant or bee?")
    for name in ("antbee", "API documentation", "Choose pictures"):
        page.keyboard.press("Tab")
        expect(page.locator(":focus")).to_have_accessible_name(name)
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files(pictures[1])
    expect(page.locator(".verdict")).to_have_text("bee 98.2%")
    if page.get_by_role("button", name="Take a photo").is_visible():
        page.keyboard.press("Tab")
    for name in ("Save as CSV", "Remove all", "Remove bee.jpg", "Heat map"):
        page.keyboard.press("Tab")
        expect(page.locator(":focus")).to_have_accessible_name(name)
    page.keyboard.press("Space")
    expect(page.locator(".map")).to_be_visible()
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowDown")
    expect(page.locator("figcaption")).to_have_text("What speaks for ant")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")

    expect(page.get_by_role("button", name="Copy")).to_be_visible()


def test_screen_readers_are_told(page: Page, stub: Stub, pictures: Paths) -> None:
    """Answers and failures are announced; a picture that is looked at is marked as busy."""
    stub.open.clear()
    stub.refuse("corrupt_image", "it is broken")
    card = give(page, pictures[0])
    expect(card).to_have_attribute("aria-busy", "true")
    stub.open.set()
    expect(card).to_have_attribute("aria-busy", "false")
    page.locator("#files").set_input_files(pictures[1])
    expect(card.locator(".verdict")).to_have_text("bee 98.2%")

    told = page.get_by_role("log").locator("p")
    expect(told).to_have_text(["ant.jpg: it is broken", "bee.jpg: bee, 98.2%"])


@pytest.mark.parametrize("many", [False, True], ids=["two labels", "ten labels"])
@pytest.mark.parametrize("view", VIEWS)
def test_nothing_jumps_and_nothing_is_cut(
    browser: Browser, stub: Stub, pictures: Paths, view: str, *, many: bool
) -> None:
    """Neither the model nor an answer moves what is there already; nothing is too wide."""
    stub.know(**dict.fromkeys("abcdefghij", 0.1) if many else {"ant": 0.018, "bee": 0.982})
    stub.open.clear()
    with watched(browser, stub.url, view) as page:
        page.add_init_script(COUNT_SHIFTS)
        page.goto("/")
        expect(page.locator("#model-facts")).to_be_visible()
        assert page.evaluate("moved") < 0.01
        page.locator("#files").set_input_files(pictures)
        expect(page.locator(".verdict", has_text="Looking…")).to_have_count(2)
        page.wait_for_timeout(200)
        page.evaluate("moved = 0")  # new pictures push away what stood below, as they should
        stub.open.set()
        expect(page.locator(".card[data-state=done]")).to_have_count(3)
        page.get_by_role("button", name="Heat map").first.click()
        expect(page.locator(".map:visible")).to_have_count(1)
        page.wait_for_timeout(200)

        assert page.evaluate("moved") == 0
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_nothing_moves_for_those_who_asked_for_it(page: Page, pictures: Paths) -> None:
    """With reduced motion there is no animation."""
    card = give(page, pictures[0])
    expect(card.locator(".verdict")).to_have_text("bee 98.2%")

    assert page.evaluate("document.getAnimations().length") == 0


def test_themes_differ(browser: Browser, stub: Stub) -> None:
    """The page follows the system between light and dark."""
    grounds = set()
    for view in ("desktop-light", "desktop-dark"):
        with watched(browser, stub.url, view) as page:
            page.goto("/")
            grounds.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))

    assert grounds == {"rgb(248, 243, 232)", "rgb(22, 19, 14)"}
