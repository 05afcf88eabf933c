"""The documentation, in a real browser."""

import json
import re
import subprocess
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser.conftest import VIEWS, watched
from tests.browser.stub import MODEL, Stub

PREDICT = "post-predict"
TYPES = (
    "image/jpeg", "image/png", "image/webp", "image/gif", "image/bmp", "application/octet-stream",
    "multipart/form-data", "application/x-www-form-urlencoded", "application/json",
)  # fmt: skip


def open_route(page: Page, route: str = PREDICT) -> Locator:
    """Open the documentation of one route."""
    page.goto(f"/docs#{route}")
    return page.locator(f"#{route}[open]")


def send(route: Locator) -> Locator:
    """Send the route's form; return where its answer is shown."""
    route.get_by_role("button", name="Send").click()
    expect(route.locator(".result .curl")).to_be_visible()
    return route.locator(".result")


def test_every_route_is_there(page: Page) -> None:
    """What `docs.json` describes is listed, method and path, and the first one is open."""
    page.goto("/docs")

    described = page.request.get("/docs.json").json()["paths"]
    names = [f"{method.upper()} {path}" for path, item in described.items() for method in item]
    expect(page.get_by_role("heading", level=2)).to_have_text(names)
    expect(page.locator("details[open]")).to_have_count(1)
    expect(page.locator("#about")).to_contain_text(MODEL)


def test_errors_are_listed(page: Page) -> None:
    """Each status has its row, with the codes that come with it."""
    route = open_route(page)

    codes = "415 unsupported_encoding, unsupported_image"
    expect(route.get_by_role("row", name=codes)).to_be_visible()


@pytest.mark.parametrize("content_type", TYPES)
def test_example_works_when_tried(page: Page, stub: Stub, content_type: str) -> None:
    """Each way to send a picture has an example that is answered, with nothing filled in."""
    route = open_route(page)
    route.get_by_label("Content-Type").select_option(content_type)
    result = send(route)

    expect(result).to_contain_text(re.compile(r"200 OK · application/json · \d+ bytes · \d+ ms"))
    expect(result).to_contain_text('"label": "bee"')
    assert stub.seen[0][2]["content-type"].startswith(content_type)


def test_own_picture_is_sent(page: Page, stub: Stub, pictures: list[Path]) -> None:
    """A chosen file takes the drawn one's place; the line shown sends it from a shell."""
    route = open_route(page)
    route.get_by_label("A picture").set_input_files(pictures[0])
    result = send(route)
    shell = ["sh", "-c", f"{result.locator('code').text_content()} --silent"]
    answer = subprocess.run(shell, cwd=pictures[0].parent, capture_output=True, check=True)

    assert json.loads(answer.stdout)["label"] == "bee"
    assert [body for _, body, _ in stub.seen] == [pictures[0].read_bytes()] * 2


def test_refusal_is_shown(page: Page, stub: Stub) -> None:
    """An error is an answer like any other."""
    stub.refuse("corrupt_image", "it is broken")
    result = send(open_route(page))

    expect(result).to_contain_text("422")
    expect(result).to_contain_text('"message": "it is broken"')


@pytest.mark.parametrize(
    ("route", "text"),
    [
        ("get-ping", '"success": "pong"'),
        ("get-metrics", "requests_total"),
        ("get-", "<title>antbee</title>"),
    ],
)
def test_route_without_a_body(page: Page, route: str, text: str) -> None:
    """A plain question needs no more than the button."""
    expect(send(open_route(page, route))).to_contain_text(text)


def test_parameter_and_picture(page: Page, stub: Stub) -> None:
    """A query's parameter has a field, and a picture in the answer is shown."""
    result = send(open_route(page, "post-explain"))
    expect(result.get_by_role("img")).to_be_visible()
    assert page.evaluate("document.querySelector('.result img').naturalWidth") == 64
    page.locator("#post-explain").get_by_label(re.compile("^label")).select_option("ant")
    page.locator("#post-explain").get_by_role("button", name="Send").click()

    expect(result.locator("code")).to_contain_text("label=ant")
    assert [path for path, _, _ in stub.seen] == ["/explain", "/explain?label=ant"]


def test_key_is_asked_for(page: Page, stub: Stub) -> None:
    """A server with a key is documented to those who have it, who give it once."""
    stub.key = "open-sesame"
    page.goto("/docs")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#problem")).to_contain_text("bearer token")
    page.get_by_role("button", name="Try again").click()
    page.get_by_role("textbox", name="Key").fill("open-sesame")
    page.keyboard.press("Enter")

    expect(page.locator("details[open]")).to_have_count(1)
    expect(send(page.locator("#post-predict"))).to_contain_text("200 OK")


def test_keyboard_alone_is_enough(page: Page) -> None:
    """A route is opened and sent with the keyboard."""
    page.goto("/docs")
    expect(page.locator("details[open]")).to_have_count(1)
    page.locator("#get-ping > summary").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#get-ping").get_by_role("button", name="Send")).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.locator(":focus")).to_have_text("Send")
    page.keyboard.press("Enter")

    expect(page.locator("#get-ping .result")).to_contain_text("pong")


@pytest.mark.parametrize("view", VIEWS)
def test_nothing_is_cut(browser: Browser, stub: Stub, view: str) -> None:
    """No route is wider than the screen, its answer included."""
    with watched(browser, stub.url, view) as page:
        send(open_route(page))

        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
