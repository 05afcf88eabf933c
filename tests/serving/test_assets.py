"""The page's files, as they are served."""

import asyncio
import re
import tomllib
from pathlib import Path

import httpx
import pytest
import yaml
from starlette.applications import Starlette

from antbee.serving.assets import FOLDER, PAGES, TYPES, routes
from tests.conftest import REPOSITORY

PATHS = [route.path for route in routes]
STYLE = (FOLDER / "page.css").read_text()
TEXT_ON_GROUND = [
    (text, ground) for text in ("ink", "faint", "link", "wrong") for ground in ("paper", "sheet")
]


def ask(path: str, method: str = "GET", **headers: str) -> httpx.Response:
    """Ask for one file; an underscore in a header's name stands for a hyphen."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}

    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(Starlette(routes=routes))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.request(method, path, headers=sent)

    return asyncio.run(send())


def test_every_file_has_a_route() -> None:
    """Nothing lies in the folder that is not served, under a name that the metrics may know."""
    served = {PAGES[path] if path in PAGES else path.removeprefix("/page/") for path in PATHS}

    assert {path.name for path in FOLDER.iterdir()} == served


@pytest.mark.parametrize("path", PATHS)
def test_file_is_served_whole_with_its_type(path: str) -> None:
    """A file comes as it lies in the folder, as UTF-8 text of its own type."""
    file = FOLDER / PAGES.get(path, path.removeprefix("/page/"))
    answer = ask(path)

    assert (answer.status_code, answer.content) == (200, file.read_bytes())
    assert answer.headers["content-type"].partition(";")[0] == TYPES[file.suffix]


@pytest.mark.parametrize("path", PATHS)
def test_policy_allows_nothing_inline_and_nothing_from_elsewhere(path: str) -> None:
    """The browser is told to run and load only what this server serves."""
    headers = ask(path).headers
    policy = headers["content-security-policy"]

    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
    assert not re.search(r"unsafe|\*|http|data:", policy)
    assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", PATHS)
def test_file_that_a_browser_has_is_not_sent_again(path: str) -> None:
    """The tag is asked about every time, and answered with 304 while the file is the same."""
    first = ask(path)
    again = ask(path, If_None_Match=f'"other", W/{first.headers["etag"]}')

    assert first.headers["cache-control"] == "no-cache"
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]


def test_other_tag_gets_the_file() -> None:
    """A browser with an old file gets the new one."""
    assert ask("/", If_None_Match='"old"').status_code == 200


def test_tags_differ() -> None:
    """Each file has a tag of its own."""
    assert len({ask(path).headers["etag"] for path in PATHS}) == len(PATHS)


def test_head_says_the_same_as_get() -> None:
    """A monitor may ask without taking the body."""
    assert ask("/", "HEAD").headers["content-length"] == str(len(ask("/").content))


@pytest.mark.parametrize("file", sorted(FOLDER.iterdir()), ids=lambda file: file.name)
def test_nothing_is_named_from_elsewhere(file: Path) -> None:
    """No file names an address of another server; the namespace of SVG is only a name."""
    text = file.read_text().replace('xmlns="http://www.w3.org/2000/svg"', "")

    assert re.findall(r"https?://|//cdn|innerHTML|style=", text) == []


@pytest.mark.parametrize("file", sorted(FOLDER.iterdir()), ids=lambda file: file.name)
def test_what_a_file_names_is_there(file: Path) -> None:
    """Every script, style and picture that a file asks for has a route."""
    pattern = r'(?:src|href)="(page/[^"]+)"|from "\./([^"]+)"|url\("([^"]+)"\)'
    found = [next(filter(None, match)) for match in re.findall(pattern, file.read_text())]

    assert {f"/page/{name.removeprefix('page/')}" for name in found} <= set(PATHS)


@pytest.mark.parametrize(("text", "ground"), TEXT_ON_GROUND)
@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_text_stands_out(text: str, ground: str, theme: int) -> None:
    """Every text colour has the contrast that WCAG 2.2 AA asks for, on both grounds."""
    assert contrast(text, ground, theme) >= 4.5


@pytest.mark.parametrize("ground", ["paper", "sheet"])
@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_edges_stand_out(ground: str, theme: int) -> None:
    """A control's edge has the contrast that WCAG 2.2 AA asks for, on both grounds."""
    assert contrast("edge", ground, theme) >= 3


def test_files_go_into_the_bento_and_the_wheel() -> None:
    """Whoever installs antbee or serves a bento has the page too."""
    bento = yaml.safe_load((REPOSITORY / "bentofile.yaml").read_text())
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())

    assert {"antbee/serving/page/*", "antbee/serving/openapi.yaml"} <= set(bento["include"])
    packed = project["tool"]["setuptools"]["package-data"]["antbee.serving"]
    assert packed == ["openapi.yaml", "page/*"]


def contrast(one: str, other: str, theme: int) -> float:
    """Return the contrast ratio of two of the style's colours, by the formula of WCAG 2.2."""
    first, second = sorted((luminance(one, theme), luminance(other, theme)))
    return (second + 0.05) / (first + 0.05)


def luminance(name: str, theme: int) -> float:
    """Return a colour's relative luminance, 0 to 1; `theme` is 0 for light and 1 for dark."""
    colour = re.findall(rf"--{name}: #(\w\w)(\w\w)(\w\w)", STYLE)[theme]
    shares = (int(channel, 16) / 255 for channel in colour)
    red, green, blue = (
        share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
