"""A real browser, watched: a complaint, or a request to another server, fails the test."""

import random
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

import pytest
from playwright.sync_api import (
    Browser,
    ConsoleMessage,
    Page,
    Request,
    ViewportSize,
    sync_playwright,
)

from antbee.pictures.sample import draw_flyer, draw_picture, draw_walker
from tests.browser.stub import Stub, serve

CHROMIUM: Final = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
ARGUMENTS: Final = (
    *("--no-sandbox", "--disable-gpu", "--disable-background-networking"),
    "--renderer-process-limit=1",  # starting one for each page takes a fifth of the time
)
PHONE: Final = ViewportSize(width=390, height=844)
DESKTOP: Final = ViewportSize(width=1280, height=900)
Theme = Literal["light", "dark"]
VIEWS: Final[dict[str, tuple[ViewportSize, Theme]]] = {
    "phone-light": (PHONE, "light"),
    "phone-dark": (PHONE, "dark"),
    "desktop-light": (DESKTOP, "light"),
    "desktop-dark": (DESKTOP, "dark"),
}
# A status that is not 2xx is an answer like any other; the browser reports it all the same.
_REFUSED: Final = re.compile(r"Failed to load resource: the server responded with a status of [45]")


@pytest.fixture(scope="package")  # gone before other tests: it keeps an event loop running
def browser() -> Iterator[Browser]:
    """Start Chromium."""
    if CHROMIUM is None:
        pytest.skip("there is no Chromium here: apt-get install chromium")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        yield started
        started.close()


@pytest.fixture(scope="package")
def stubs() -> Iterator[list[Stub]]:
    """Serve the page with the API of the last of the stubs."""
    stubs: list[Stub] = []
    with serve(stubs) as url:
        stubs.append(Stub(url=url))
        yield stubs


@pytest.fixture
def stub(stubs: list[Stub]) -> Iterator[Stub]:
    """Serve the page with an API that does as it is told."""
    stubs[:] = [Stub(url=stubs[-1].url)]
    yield stubs[-1]
    stubs[-1].open.set()


@contextmanager
def watched(browser: Browser, url: str, view: str) -> Iterator[Page]:
    """Give a page of one view; afterwards, fail for whatever was wrong with it."""
    size, theme = VIEWS[view]
    phone = size == PHONE
    context = browser.new_context(
        base_url=url,
        viewport=size,
        color_scheme=theme,
        has_touch=phone,
        is_mobile=phone,
        permissions=["clipboard-read", "clipboard-write"],
        reduced_motion="reduce",
    )
    page = context.new_page()
    wrong: list[str] = []

    def complain(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not _REFUSED.match(message.text):
            wrong.append(message.text)

    def follow(request: Request) -> None:
        if not request.url.startswith((url, f"blob:{url}")):
            wrong.append(f"asked {request.url}")

    page.on("console", complain)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", follow)
    page.on("filechooser", lambda _: None)  # from the start, or the first one may go unseen
    page.set_default_timeout(10_000)
    try:
        yield page
    finally:
        context.close()
    assert wrong == []


@pytest.fixture(params=["phone-dark", "desktop-light"])
def page(request: pytest.FixtureRequest, browser: Browser, stub: Stub) -> Iterator[Page]:
    """Give an empty tab, as a phone's in the dark and as a desktop's in the light."""
    with watched(browser, stub.url, request.param) as opened:
        yield opened


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Draw three pictures and save them as files."""
    folder = tmp_path_factory.mktemp("pictures")
    drawn = {"ant": draw_walker, "bee": draw_flyer, "another bee": draw_flyer}
    for name, draw in drawn.items():
        rng = random.Random(name)  # noqa: S311 - no secret
        (folder / f"{name}.jpg").write_bytes(draw_picture(rng, draw))
    return [folder / f"{name}.jpg" for name in drawn]
