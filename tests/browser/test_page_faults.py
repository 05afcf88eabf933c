"""The page, when the server refuses, is away, or asks for a key."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from starlette.responses import PlainTextResponse

from tests.browser.gestures import Paths, give
from tests.browser.stub import Stub


def test_heat_map_that_fails_says_so(page: Page, stub: Stub, pictures: Paths) -> None:
    """The API's message stands where the heat map would, and asking again works."""
    card = give(page, pictures[1])
    expect(card.locator(".verdict")).to_have_text("bee 98.2%")
    stub.refuse("timeout", "not drawn in time")
    button = card.get_by_role("button", name="Heat map")
    button.click()

    expect(card.locator("figcaption")).to_have_text("not drawn in time")
    expect(button).to_have_attribute("aria-pressed", "false")
    button.click()
    expect(card.locator(".map")).to_be_visible()


@pytest.mark.parametrize("code", ["unsupported_image", "corrupt_image", "body_too_large"])
def test_error_is_told_in_the_apis_words(
    page: Page, stub: Stub, pictures: Paths, code: str
) -> None:
    """What the API refuses is explained beside its picture, and may be tried again."""
    stub.refuse(code, f"it was {code}: do something about it")
    card = give(page, pictures[0])

    expect(card.locator(".problem")).to_have_text(f"it was {code}: do something about it")
    expect(card.get_by_role("button", name="Heat map")).to_be_hidden()
    card.get_by_role("button", name="Try again").click()
    expect(card.locator(".verdict")).to_have_text("bee 98.2%")
    expect(card.locator(".problem")).to_be_hidden()


def test_file_that_is_no_picture_has_no_preview(page: Page, stub: Stub, tmp_path: Path) -> None:
    """A file that the browser cannot show is sent all the same: the server may know better."""
    file = tmp_path / "notes.jpg"
    file.write_bytes(b"not a picture")
    stub.refuse("unsupported_image", "no picture")
    card = give(page, file)

    expect(card.locator(".picture")).to_be_hidden()
    expect(card.locator(".problem")).to_have_text("no picture")


def test_busy_server_is_asked_again(page: Page, stub: Stub, pictures: Paths) -> None:
    """After 429 the page waits as long as it is told to, says so, and tries again."""
    stub.refuse("overloaded", "busy")
    card = give(page, pictures[0])

    expect(card.locator(".verdict")).to_have_text("Busy; again in 1 s…")
    expect(card.locator(".verdict")).to_have_text("bee 98.2%")
    assert len(stub.seen) == 2


def test_answer_of_no_shape_of_ours_is_told(page: Page, stub: Stub, pictures: Paths) -> None:
    """A router's own error page becomes a message too."""
    stub.refusals.append(PlainTextResponse("<h1>Bad request</h1>", 400))
    card = give(page, pictures[0])

    expect(card.locator(".problem")).to_have_text("The server answered 400 Bad Request")


def test_server_that_is_away_is_told(browser: Browser, stub: Stub, pictures: Paths) -> None:
    """Without a network there is a message, and trying again works when it is back."""
    context = browser.new_context(base_url=stub.url)
    page = context.new_page()
    card = give(page, pictures[0])
    expect(card.locator(".verdict")).to_have_text("bee 98.2%")
    context.set_offline(True)
    page.locator("#files").set_input_files(pictures[1])
    expect(card.locator(".problem")).to_contain_text("No answer: the server is away")
    context.set_offline(False)
    card.get_by_role("button", name="Try again").click()

    expect(card.locator(".verdict")).to_have_text("bee 98.2%")
    context.close()


def test_key_is_asked_for_once(page: Page, stub: Stub, pictures: Paths) -> None:
    """A server with a key gets it: asked for at first, a wrong one again, kept for the tab."""
    stub.key = "open-sesame"
    page.goto("/")
    dialog = page.get_by_role("dialog", name="This server asks for a key")
    expect(dialog.get_by_role("textbox", name="Key")).to_be_focused()
    page.keyboard.type("wrong")
    page.keyboard.press("Enter")
    expect(dialog).to_contain_text("did not accept that key")
    page.keyboard.type("open-sesame")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Ant or bee?")
    page.locator("#files").set_input_files(pictures)
    expect(page.locator(".verdict", has_text="bee 98.2%")).to_have_count(3)
    page.reload()

    expect(page.get_by_role("heading", level=1)).to_have_text("Ant or bee?")
    expect(dialog).to_have_count(0)
    assert page.evaluate("[localStorage.length, document.cookie]") == [0, ""]


def test_key_may_be_withheld(page: Page, stub: Stub, pictures: Paths) -> None:
    """Whoever has no key reads why nothing is answered, and is asked again on trying again."""
    stub.key = "open-sesame"
    page.goto("/")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    about = page.get_by_role("complementary")
    expect(about.locator(".problem")).to_have_text("send the server's key as a bearer token")
    page.locator("#files").set_input_files(pictures)
    page.get_by_role("button", name="Not now").click()
    expect(page.locator(".card .problem:visible")).to_have_count(3)
    about.get_by_role("button", name="Try again").click()
    page.get_by_role("textbox", name="Key").fill("open-sesame")
    page.get_by_role("button", name="Use this key").click()

    expect(page.get_by_role("heading", level=1)).to_have_text("Ant or bee?")
    page.locator(".card").first.get_by_role("button", name="Try again").click()
    expect(page.locator(".verdict").first).to_have_text("bee 98.2%")


def test_key_is_not_in_the_curl_line(page: Page, stub: Stub, pictures: Paths) -> None:
    """A line that people paste elsewhere names the key's variable, not the key."""
    page.goto("/")
    expect(page.get_by_role("heading", level=1)).to_have_text("Ant or bee?")
    stub.key = "open-sesame"
    page.locator("#files").set_input_files(pictures[0])
    page.get_by_role("textbox", name="Key").fill("open-sesame")
    page.keyboard.press("Enter")
    expect(page.locator(".verdict")).to_have_text("bee 98.2%")

    line = page.locator(".card code").text_content() or ""
    assert '-H "Authorization: Bearer $ANTBEE_API_KEY"' in line
    assert "sesame" not in line
