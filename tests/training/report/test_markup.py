"""HTML from Python."""

import base64
import io
from html.parser import HTMLParser

import pytest
from PIL import Image

from antbee.training.report.markup import Markup, empty, facts, table, tag, thumbnail
from tests.conftest import noise


class Texts(HTMLParser):
    """Collects elements and text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element and its attributes."""
        self.elements.append(tag)
        self.texts += [value for _, value in attrs if value]

    def handle_data(self, data: str) -> None:
        """Note text."""
        self.texts.append(data)


@pytest.mark.parametrize("text", ["<b>", '"><script>', "a & b", "'", "&lt;"])
def test_text_stays_text(text: str) -> None:
    """What was not made as HTML comes out as it went in, in content and in attributes."""
    found = Texts(tag("p", text, title=text))

    assert found.elements == ["p"]
    assert found.texts == [text, text]


def test_what_is_no_text_is_spelt_out() -> None:
    """Bytes of a file's name that are no UTF-8, and control characters, can be written."""
    page = tag("p", b"\xff\n".decode(errors="surrogateescape"))

    assert Texts(page.encode().decode()).texts == ["\\udcff\\n"]


def test_elements_nest() -> None:
    """Elements within elements stay elements; a name that Python keeps for itself can be had."""
    page = tag("p", tag("b", "x"), empty("img", alt=""), class_="y")

    assert page == '<p class="y"><b>x</b><img alt=""></p>'
    assert isinstance(page, Markup)


def test_table_has_headings() -> None:
    """Columns and rows have headings, which tell those who cannot see where they are."""
    page = table(("label", "pictures"), [("<ant>", 3)])

    assert '<th scope="col">pictures</th>' in page
    assert '<tr><th scope="row">&lt;ant&gt;</th><td>3</td></tr>' in page


def test_facts_are_pairs() -> None:
    """A name goes with its value."""
    assert facts([("seed", 0)]) == "<dl><div><dt>seed</dt><dd>0</dd></div></dl>"


def test_thumbnail_is_embedded() -> None:
    """A picture is in the page itself, with its size and a description."""
    page = thumbnail(noise(40, 30), "an <ant>")
    data = page.partition("base64,")[2].partition('"')[0]

    assert Image.open(io.BytesIO(base64.b64decode(data))).size == (40, 30)
    assert 'alt="an &lt;ant&gt;" width="40" height="30"' in page
