"""An HTTP request's body to pictures' bytes, however the client sent them.

Knows HTTP bodies; knows nothing of pixels beyond a file's first bytes, and nothing of networks.
"""

import asyncio
import base64
import binascii
import io
import json
import re
import string
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote

from starlette.requests import Request

from antbee.errors import RequestError
from antbee.images import looks_like_image

Fetch = Callable[[str], Awaitable[bytes]]
"""Downloads what lies at an address; raises `RequestError`."""
Reserve = Callable[[int], None]
"""Is told of every piece's length as it arrives; what it raises ends the upload."""

MOST_PARTS: Final = 2000
"""Parts that a form is read with, so that they can be counted; with more it is not read."""
MOST_VALUES: Final = 100_000
"""Commas of a JSON text that is read: what stands between two takes seventy bytes of memory."""
MOST_HEADERS: Final = 8192
"""Bytes of one part's headers."""
MOST_NAME: Final = 1000
"""Characters of an address that its picture is called by."""
_HOW: Final = 'send the picture\'s bytes, a multipart file, or JSON {"data": "<base64>"}'
_HOW_MANY: Final = (
    'send a form with files, or JSON {"images": [{"data": "<base64>"}, …]}; /predict takes one '
    "picture's bytes as they are"
)

_BEFORE_JSON: Final = b"\xef\xbb\xbf\xfe\xff\0 \t\r\n"
"""What may come before the first character: byte-order marks, UTF-16's zeros, white space."""
_NO_CODINGS: Final = ("", "identity", "binary", "utf-8", "utf8")
"""Content-Encodings that change nothing, though only the second is one: clients send the others."""
_FORM: Final = re.compile(rb"--[^\r\n]{1,70}\r?\ncontent-disposition: *form-data", re.IGNORECASE)
"""How the body of a multipart form begins."""
_BOUNDARY: Final = re.compile(r';\s*boundary=(?:"([^"]{1,200})"|([^\s;"]{1,200}))', re.IGNORECASE)
_FILE_NAME: Final = re.compile(
    r";\s*filename(?:\*=[\w-]*'[^']*'(?P<coded>[^\s;]*)"
    r'|="(?P<quoted>(?:[^"\\]|\\.)*)"|=(?P<bare>[^\s;]*))',
    re.IGNORECASE,
)
"""RFC 6266 and, though RFC 7578 forbids it in forms, RFC 8187."""
_FILE_TYPE: Final = re.compile(
    r"^content-type:(?! *(?:text/|application/json))", re.IGNORECASE | re.MULTILINE
)
"""A part of this type is a file, though it has no name."""
_URLENCODED: Final = re.compile(rb"(?:[\w.+*\[\]~-]|%[0-9A-Fa-f]{2}){0,64}=", re.ASCII)
"""How a urlencoded form begins; curl gives anything this form's type."""
_NOT_ENCODED: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")
"""A percent sign that begins nothing."""
_ADDRESS: Final = re.compile(r"[a-z][a-z0-9+.-]{0,20}://", re.ASCII | re.IGNORECASE)
_STANDARD: Final = bytes.maketrans(b"-_", b"+/")
"""From base64url's digits to those of base64 (RFC 4648, sections 4 and 5)."""
_FIRST_DIGITS: Final = 32
"""Of base64: enough to know a picture by."""


@dataclass(frozen=True)
class Base64Picture:
    """A picture in base64, or as a data URL."""

    text: str

    def decode(self) -> bytes:
        """Decode it to a picture's bytes.

        Either alphabet is read, padded or not, in lines or percent-encoded.

        Raises:
            RequestError: `invalid_base64` or `empty_body`.
        """
        about, _, text = self.text.partition(",")
        if about[:5].lower() != "data:":
            about, text = "", self.text
        data = _unquote(text.encode("utf-8", "replace"))
        if about and not about.lower().endswith(";base64") and looks_like_image(data):
            return data  # RFC 2397: bytes as they are
        digits = data.translate(_STANDARD, string.whitespace.encode()).rstrip(b"=")
        try:
            data = base64.b64decode(digits + b"=" * (-len(digits) % 4), validate=True)
        except binascii.Error as error:
            message = f'"data" is not valid base64 ({error}): encode the whole file'
            raise RequestError("invalid_base64", message) from error
        if not data:
            raise RequestError("empty_body", '"data" is empty: send the picture in base64')
        return data


@dataclass(frozen=True)
class LinkedPicture:
    """A picture that lies at an address."""

    url: str

    async def download(self, fetch: Fetch | None, reserve: Reserve) -> bytes:
        """Download it.

        Args:
            fetch: how; None where this server fetches nothing.
            reserve: told of its length.

        Raises:
            RequestError: `url_not_allowed`, and what `fetch` and `reserve` raise.
        """
        if fetch is None:
            raise RequestError("url_not_allowed", f"this server fetches no addresses: {_HOW}")
        data = await fetch(self.url)
        reserve(len(data))
        return data


Source = bytes | Base64Picture | LinkedPicture | RequestError
"""One picture: its bytes, what they must be made of, or what is wrong with it."""


@dataclass(frozen=True)
class Sent:
    """One of several pictures.

    Attributes:
        source: what was sent.
        name: its file's name or its address, as the client has it; empty where it has neither.
    """

    source: Source
    name: str = ""


async def read_picture(
    request: Request, max_body: int, reserve: Reserve = lambda _: None, fetch: Fetch | None = None
) -> bytes:
    """Read the one picture of a request.

    Accepts raw bytes under any Content-Type; a form with one file, in a field of any name, or with
    one text, which is base64, a data URL or an address; and JSON with the file in base64 under
    `data` or its address under `url`.

    Args:
        request: its body is not read yet.
        max_body: the largest body in bytes, however its length is announced.
        reserve: told of the body's pieces.
        fetch: downloads an address; None to refuse them.

    Raises:
        RequestError: `empty_body`, `body_too_large`, `unsupported_encoding`, `no_image`,
            `too_many_images`, `invalid_json`, `invalid_base64`, `url_not_allowed`, or what `fetch`
            and `reserve` raise.
    """
    body = await read_body(request, max_body, reserve)
    if not body:
        raise RequestError("empty_body", f"the request has no body: {_HOW}")
    # What the body is counts for more than what its headers say it is.
    if looks_like_image(body):
        return body
    _refuse_compressed(request)
    if (form := _read_form(request, body, _HOW)) is not None:
        # A file without a byte in it is nothing, where there is another one.
        found = [one for one in form if not isinstance(one.source, RequestError)] or form[:1]
        if not found:
            message = "the form has no picture in it: send a file as -F image=@FILE, or its base64"
            raise RequestError("no_image", message)
        if len(found) > 1:
            message = f"the form has {len(found)} pictures: send one, or all of them to /v1/predict"
            raise RequestError("too_many_images", message)
        source = found[0].source
    elif _is_json(request, body):
        source = _to_source(parse_json(body, _HOW))
    else:
        source = _from_bytes(body)
    if isinstance(source, RequestError):
        raise source
    if isinstance(source, LinkedPicture):
        return await source.download(fetch, reserve)
    return source.decode() if isinstance(source, Base64Picture) else source


async def read_pictures(
    request: Request, max_body: int, max_images: int, reserve: Reserve = lambda _: None
) -> list[Sent]:
    """Read the pictures of a request for many.

    Accepts a form with files in fields of any names, or with texts where it has no file, and JSON
    with a list under `images`, each entry as in a request for one.

    Args:
        request: its body is not read yet.
        max_body: the largest body in bytes, all pictures together.
        max_images: the most pictures; there is one at least.
        reserve: told of the body's pieces.

    Returns:
        One for each, in order; one that is wrong by itself is the `RequestError` that says so.

    Raises:
        RequestError: `empty_body`, `body_too_large`, `unsupported_encoding`, `no_image`,
            `too_many_images`, `invalid_json`, or what `reserve` raises.
    """
    body = await read_body(request, max_body, reserve)
    if not body:
        raise RequestError("empty_body", f"the request has no body: {_HOW_MANY}")
    _refuse_compressed(request)
    form = _read_form(request, body, _HOW_MANY)
    found: list[Any] | None = form
    if found is None:
        content = parse_json(body, _HOW_MANY)
        if not (
            isinstance(content, dict)
            and set(content) == {"images"}
            and isinstance(content["images"], list)
        ):
            message = f'the JSON must be {{"images": […]}} and nothing else: {_HOW_MANY}'
            raise RequestError("invalid_json", message)
        found = content["images"]
    # Before anything is made of them: a body may hold millions of wrong ones.
    if not found:
        raise RequestError("no_image", f"there is no picture in the request: {_HOW_MANY}")
    if len(found) > max_images:
        message = f"there are {len(found)} pictures: send at most {max_images} in a request"
        raise RequestError("too_many_images", message)
    if form is not None:
        return form
    sent: list[Sent] = []
    for entry in found:
        try:
            sent.append(_named(_to_source(entry)))
        except RequestError as error:
            sent.append(Sent(error))
    return sent


async def read_body(request: Request, max_body: int, reserve: Reserve) -> bytes:
    """Read a body of at most `max_body` bytes; a longer one is refused as soon as that is known.

    Raises:
        RequestError: `body_too_large`.
    """
    # A stranger's number: Python reads none of thousands of digits.
    announced = request.headers.get("content-length", "").lstrip("0")
    if announced.isdecimal() and (len(announced) > len(str(max_body)) or int(announced) > max_body):
        raise _too_large(max_body)
    # Not a list of the chunks: one may have a byte, and takes forty of memory. And no bytearray,
    # all of which would be copied in the end.
    body, task = io.BytesIO(), asyncio.current_task()
    async for chunk in request.stream():
        # A time-out that comes with a chunk is lost in Python 3.11's wait_for, which gunicorn uses.
        if task is not None and task.cancelling():
            raise asyncio.CancelledError
        reserve(len(chunk))
        body.write(chunk)
        if body.tell() > max_body:
            raise _too_large(max_body)
    return body.getvalue()


def parse_json(body: bytes, how: str) -> Any:  # noqa: ANN401 - whatever JSON holds
    """Read a body as JSON; `how` to send it is told to whoever sent something else.

    Raises:
        RequestError: `invalid_json` or `too_many_images`.
    """
    if body.count(b",") > MOST_VALUES:
        message = f"the JSON has more than {MOST_VALUES} values: send the pictures alone"
        raise RequestError("too_many_images", message)
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RequestError("invalid_json", f"the body is not valid JSON: {how}") from error


def _too_large(max_body: int) -> RequestError:
    megabytes = f"{max_body / 1e6:g} MB"
    message = f"the body is larger than {megabytes}: send less at once, or smaller pictures"
    return RequestError("body_too_large", message)


def _refuse_compressed(request: Request) -> None:
    codings = ", ".join(request.headers.getlist("content-encoding")).lower()
    for coding in map(str.strip, codings.split(",")):
        if coding not in _NO_CODINGS:
            message = (
                f"the body comes in {coding[:40]!r}: send it as it is, without Content-Encoding"
            )
            raise RequestError("unsupported_encoding", message)


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").lower().partition(";")[0].strip()


def _is_json(request: Request, body: bytes) -> bool:
    named = _media_type(request).endswith(("/json", "+json"))
    return named or body[:64].lstrip(_BEFORE_JSON)[:1] in (b"{", b'"')


def _read_form(request: Request, body: bytes, how: str) -> list[Sent] | None:
    """Return a form's pictures, in order; None where the body is no form.

    Those are its files or, where it has none, its texts that are pictures.

    Raises:
        RequestError: `no_image` or `too_many_images`.
    """
    media_type = _media_type(request)
    if media_type.startswith("multipart/") or _FORM.match(body):
        files, texts = _split_multipart(request, body, how)
    elif media_type == "application/x-www-form-urlencoded" and _URLENCODED.match(body):
        fields = body.split(b"&", MOST_PARTS)
        if len(fields) > MOST_PARTS:
            raise _too_many_parts()
        # A plus stays what it is: a digit of base64, whose clients forget to encode it.
        files, texts = [], [_unquote(field.partition(b"=")[2]) for field in fields]
    else:
        return None
    if files:
        return files
    texts = [text for text in texts if text.strip()]
    found = [one for one in map(_from_bytes, texts) if not isinstance(one, bytes)]
    if not found and len(texts) == 1 and b" " not in (text := texts[0].strip()):
        # What is base64 by the letter was meant as a picture, and is told from a text like "ant".
        with suppress(RequestError):
            if len(b"".join(text.split())) % 4 == 0:
                return [Sent(Base64Picture(text.decode("latin-1")).decode())]
    return [_named(source) for source in found]


def _split_multipart(request: Request, body: bytes, how: str) -> tuple[list[Sent], list[bytes]]:
    """Split a form into its files and the contents of its other parts (RFC 2046, section 5.1.1).

    A file is what has a file's name or type, or looks like a picture. One without a byte is an
    error in its place, or nothing if it has no name: a browser sends it where no file was chosen.
    A part that no boundary follows was cut short, and does not count.

    Raises:
        RequestError: `no_image` or `too_many_images`.
    """
    boundary = _BOUNDARY.search(request.headers.get("content-type", ""))
    if boundary is None:
        message = "the form's boundary is missing from its Content-Type, which HTTP clients set"
        raise RequestError("no_image", f"{message} by themselves: leave it to them, or {how}")
    marker = b"\r\n--" + (boundary[1] or boundary[2]).encode("latin-1")
    # The first boundary needs no line before it; what comes before it is nothing.
    _, *parts = (b"\r\n" + body).split(marker, MOST_PARTS + 1)
    if len(parts) > MOST_PARTS:
        raise _too_many_parts()
    files: list[Sent] = []
    texts: list[bytes] = []
    for part in parts[:-1]:
        if part.startswith(b"--"):
            break  # that was the last boundary
        end = part.find(b"\r\n\r\n", 0, MOST_HEADERS)
        head = part[:end].decode("utf-8", "replace") if end >= 0 else ""
        content = part[end + 4 :] if end >= 0 else b""
        found = _FILE_NAME.finditer(head)
        names = {kind: one[kind] for one in found if (kind := one.lastgroup)}
        plain = names.get("quoted", "").replace('\\"', '"').replace("%22", '"')
        name = unquote(names.get("coded", "")) or plain or names.get("bare", "")
        if not (names or _FILE_TYPE.search(head) or looks_like_image(content)):
            texts.append(content)
        elif content:
            files.append(Sent(_from_bytes(content), name))
        elif name:
            message = "the file in the form is empty: send the whole picture"
            files.append(Sent(RequestError("empty_body", message), name))
    if not (files or texts or (parts and parts[-1].startswith(b"--"))):
        message = "the multipart body is cut short, its lines do not end with CR and LF, or its"
        raise RequestError("no_image", f"{message} boundary is not that of its Content-Type: {how}")
    return files, texts


def _too_many_parts() -> RequestError:
    message = f"the form has more than {MOST_PARTS} parts: send the pictures alone"
    return RequestError("too_many_images", message)


def _unquote(text: bytes) -> bytes:
    """Decode percent-encoding: quoted-printable with another sign, which is decoded in C.

    urllib would keep the event loop waiting for more than a second over ten megabytes.
    """
    if b"%" not in text or _NOT_ENCODED.search(text):
        return text
    return binascii.a2b_qp(text.replace(b"=", b"=3D").replace(b"%", b"="))


def _from_bytes(data: bytes) -> bytes | Base64Picture | LinkedPicture:
    """Tell what bytes are: a picture written as text, or anything else, which stays as it is."""
    if not looks_like_image(data):
        with suppress(UnicodeDecodeError):
            return _from_text(data.decode()) or data
    return data


def _from_text(text: str) -> Base64Picture | LinkedPicture | None:
    """Tell which picture a text is: at an address, in base64 or in a data URL; None for others."""
    text = text.strip()
    if _ADDRESS.match(text):
        return LinkedPicture(text)
    first = "".join(text[: 2 * _FIRST_DIGITS].split())[:_FIRST_DIGITS]
    with suppress(RequestError):
        if text[:5].lower() == "data:" or looks_like_image(Base64Picture(first).decode()):
            return Base64Picture(text)
    return None


def _named(source: Base64Picture | LinkedPicture) -> Sent:
    if not isinstance(source, LinkedPicture):
        return Sent(source)
    # JSON can spell half of a character, which no answer can carry.
    return Sent(source, source.url[:MOST_NAME].encode("utf-8", "backslashreplace").decode())


def _to_source(content: Any) -> Base64Picture | LinkedPicture:  # noqa: ANN401 - whatever JSON holds
    """Tell what a JSON object sends, or a string that is a picture."""
    if isinstance(content, dict) and len(content) == 1:
        ((name, value),) = content.items()
        if name in ("data", "url"):
            if not isinstance(value, str):
                raise RequestError("invalid_json", f'"{name}" must be a string: {_HOW}')
            return Base64Picture(value) if name == "data" else LinkedPicture(value)
    if isinstance(content, str) and (source := _from_text(content)) is not None:
        return source
    message = 'the JSON must be {"data": "<base64>"} or {"url": "https://…"} and nothing else'
    raise RequestError("invalid_json", message)
