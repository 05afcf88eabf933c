"""HTML from Python, in which nothing that was not meant as HTML can become any."""

import base64
import io
from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

from PIL import Image

from antbee.command import printable

SHARPNESS: Final = 1.5
"""Pixels of a chart for each of the page's."""
PHONE: Final = 480
"""From what width on a chart is not squeezed onto a phone, but scrolled."""
QUALITY: Final = 85
"""Of a picture as JPEG; as PNG it would take eight times as much."""


class Markup(str):
    """HTML. Any other text is spelt so that it can be printed, and escaped."""

    __slots__ = ()


def tag(name: str, /, *content: object, **attributes: str) -> Markup:
    """Make an element; of an attribute's name an underscore at the end is dropped."""
    named = [f' {key.rstrip("_")}="{_text(value)}"' for key, value in attributes.items()]
    return Markup(f"<{name}{''.join(named)}>{join(content)}</{name}>")


def empty(name: str, /, **attributes: str) -> Markup:
    """Make an element that has no content and no end, such as `img`."""
    return Markup(tag(name, **attributes).removesuffix(f"</{name}>"))


def join(content: Iterable[object]) -> Markup:
    """Put pieces side by side."""
    return Markup("".join(one if isinstance(one, Markup) else _text(one) for one in content))


def table(head: Sequence[object], rows: Iterable[Sequence[object]]) -> Markup:
    """Make a table; the first cell of a row is its heading."""
    body = [
        tag("tr", tag("th", row[0], scope="row"), *(tag("td", cell) for cell in row[1:]))
        for row in rows
    ]
    top = tag("tr", *(tag("th", cell, scope="col") for cell in head))
    return tag("div", tag("table", tag("thead", top), tag("tbody", *body)), class_="wide")


def facts(pairs: Iterable[tuple[object, object]]) -> Markup:
    """Make a list of names and values."""
    return tag("dl", *(tag("div", tag("dt", name), tag("dd", value)) for name, value in pairs))


def section(title: str, *content: object) -> Markup:
    """Make a part of the page."""
    return tag("section", tag("h2", title), *content)


def chart(data: bytes, described: str) -> Markup:
    """Embed a chart; `described` is for those who cannot see it."""
    width, height = (round(side / SHARPNESS) for side in Image.open(io.BytesIO(data)).size)
    return empty(
        "img",
        src=_data_url("image/png", data),
        alt=described,
        width=str(width),
        height=str(height),
        class_="large" if width > PHONE else "small",
    )


def thumbnail(picture: Image.Image, described: str) -> Markup:
    """Embed a small picture."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=QUALITY)
    return empty(
        "img",
        src=_data_url("image/jpeg", buffer.getvalue()),
        alt=described,
        width=str(picture.width),
        height=str(picture.height),
    )


def _data_url(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def _text(value: object) -> str:
    return escape(printable(str(value)))
