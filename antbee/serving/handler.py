"""An HTTP request's body to pictures' bytes, however the client sent them.

Knows HTTP bodies; knows nothing of pixels beyond a file's first bytes, and nothing of networks.
"""

import base64
import binascii
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from antbee.errors import RequestError
from antbee.images import looks_like_image

Found = TypeVar("Found")
Fetch = Callable[[str], Awaitable[bytes]]
"""Downloads what lies at an address; raises `RequestError`."""
Hold = Callable[[int], None]
"""Is told of every piece's length as it arrives; what it raises ends the upload."""

MOST_FILES: Final = 1000
"""Files that a form is read with, so that they can be counted; with more it is not read."""
_HOW: Final = 'send the picture\'s bytes, a multipart file, or JSON {"data": "<base64>"}'
_HOW_MANY: Final = (
    'send a form with files, or JSON {"images": [{"data": "<base64>"}, …]}; /predict takes one '
    "picture's bytes as they are"
)


@dataclass(frozen=True)
class Coded:
    """A picture in base64, or as a data URL."""

    text: str

    def data(self) -> bytes:
        """Decode it.

        Raises:
            RequestError: `invalid_base64` or `empty_body`.
        """
        text = self.text.partition(",")[2] if self.text.startswith("data:") else self.text
        try:
            data = base64.b64decode("".join(text.split()), validate=True)
        except (binascii.Error, ValueError) as error:
            message = f'"data" is not valid base64 ({error}): encode the whole file'
            raise RequestError("invalid_base64", message) from error
        if not data:
            raise RequestError("empty_body", '"data" is empty: send the picture in base64')
        return data


@dataclass(frozen=True)
class Link:
    """A picture that lies at an address."""

    url: str

    async def data(self, fetch: Fetch | None, hold: Hold) -> bytes:
        """Download it.

        Args:
            fetch: how; None where this server fetches nothing.
            hold: told of its length.

        Raises:
            RequestError: `url_not_allowed`, and what `fetch` and `hold` raise.
        """
        if fetch is None:
            raise RequestError("url_not_allowed", f"this server fetches no addresses: {_HOW}")
        data = await fetch(self.url)
        hold(len(data))
        return data


Sent = bytes | Coded | Link | RequestError
"""One of several pictures: its bytes, what they must be made of, or what is wrong with it."""


async def picture_bytes(
    request: Request, max_body: int, hold: Hold = lambda _: None, fetch: Fetch | None = None
) -> bytes:
    """Read the one picture of a request.

    Accepts raw bytes under any Content-Type, a multipart file in a field of any name, and JSON
    with the file in base64 under `data` or its address under `url`.

    Args:
        request: its body is not read yet.
        max_body: the largest body in bytes, however its length is announced.
        hold: told of the body's pieces.
        fetch: downloads an address; None to refuse them.

    Raises:
        RequestError: `empty_body`, `body_too_large`, `no_image`, `too_many_images`,
            `invalid_json`, `invalid_base64`, `url_not_allowed`, or what `fetch` and `hold` raise.
    """
    body = await read_body(request, max_body, hold)
    if not body:
        raise RequestError("empty_body", f"the request has no body: {_HOW}")
    # What the body is counts for more than what its Content-Type says it is.
    if looks_like_image(body):
        return body
    content_type = request.headers.get("content-type", "").lower()
    if _is_form(content_type):
        return _only(await _files(request, body, _HOW))
    if _is_json(content_type, body):
        sent = _sent(_parsed(body, _HOW))
        return sent.data() if isinstance(sent, Coded) else await sent.data(fetch, hold)
    return body


async def pictures(
    request: Request, max_body: int, max_images: int, hold: Hold = lambda _: None
) -> list[Sent]:
    """Read the pictures of a request for many.

    Accepts a form with files in fields of any names, and JSON with a list under `images`, each
    entry as in a request for one.

    Args:
        request: its body is not read yet.
        max_body: the largest body in bytes, all pictures together.
        max_images: the most pictures; there is one at least.
        hold: told of the body's pieces.

    Returns:
        One for each, in order; one that is wrong by itself is the `RequestError` that says so.

    Raises:
        RequestError: `empty_body`, `body_too_large`, `no_image`, `too_many_images`, `invalid_json`,
            or what `hold` raises.
    """
    body = await read_body(request, max_body, hold)
    if not body:
        raise RequestError("empty_body", f"the request has no body: {_HOW_MANY}")
    if _is_form(request.headers.get("content-type", "").lower()):
        files = _counted(await _files(request, body, _HOW_MANY), max_images)
        return [_checked(data) for data in files]
    entries = _counted(_entries(_parsed(body, _HOW_MANY)), max_images)
    return [_sent_or_error(entry) for entry in entries]


async def read_body(request: Request, max_body: int, hold: Hold) -> bytes:
    """Read a body of at most `max_body` bytes; a longer one is refused as soon as that is known.

    Raises:
        RequestError: `body_too_large`.
    """
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > max_body:
        raise _too_large(max_body)
    chunks, size = [], 0
    async for chunk in request.stream():
        hold(len(chunk))
        chunks.append(chunk)
        size += len(chunk)
        if size > max_body:
            raise _too_large(max_body)
    return b"".join(chunks)


async def gone(request: Request) -> None:
    """Return when the client has left; its body must have been read to the end."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _too_large(max_body: int) -> RequestError:
    return RequestError(
        "body_too_large",
        f"the body is larger than {max_body / 1e6:g} MB: send smaller pictures, or fewer at once",
    )


def _is_form(content_type: str) -> bool:
    return content_type.startswith("multipart/form-data") and "boundary=" in content_type


def _is_json(content_type: str, body: bytes) -> bool:
    media_type = content_type.partition(";")[0].strip()
    return media_type.endswith(("/json", "+json")) or body.lstrip().startswith(b"{")


async def _files(request: Request, body: bytes, how: str) -> list[bytes]:
    async def chunks() -> AsyncGenerator[bytes, None]:
        yield body

    parser = _MemoryParser(request.headers, chunks(), max_files=MOST_FILES, max_part_size=len(body))
    try:
        form = await parser.parse()
    except (MultiPartException, UnicodeError) as error:
        code = "too_many_images" if str(error).startswith("Too many files") else "no_image"
        message = f"the multipart body cannot be read ({error}): {how}"
        raise RequestError(code, message) from error
    try:
        return await _contents(form)
    finally:
        await form.close()


async def _contents(form: FormData) -> list[bytes]:
    return [await part.read() for _, part in form.multi_items() if isinstance(part, UploadFile)]


class _MemoryParser(MultiPartParser):
    # The body is in memory and bounded already: nothing a stranger sends is spooled to disk.
    spool_max_size = 2**62


def _only(files: list[bytes]) -> bytes:
    if not files:
        raise RequestError("no_image", "the form has no file in it: send one as -F image=@FILE")
    if len(files) > 1:
        message = f"the form has {len(files)} files: send one, or all of them to /v1/predict"
        raise RequestError("too_many_images", message)
    checked = _checked(files[0])
    if isinstance(checked, RequestError):
        raise checked
    return checked


def _counted(found: list[Found], max_images: int) -> list[Found]:
    # Before anything is made of them: a body may hold millions of wrong ones.
    if not found:
        raise RequestError("no_image", f"there is no picture in the request: {_HOW_MANY}")
    if len(found) > max_images:
        message = f"there are {len(found)} pictures: send at most {max_images} in a request"
        raise RequestError("too_many_images", message)
    return found


def _checked(data: bytes) -> bytes | RequestError:
    message = "the file in the form is empty: send the whole picture"
    return data or RequestError("empty_body", message)


def _parsed(body: bytes, how: str) -> Any:  # noqa: ANN401 - whatever JSON holds
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RequestError("invalid_json", f"the body is not valid JSON: {how}") from error


def _entries(content: Any) -> list[Any]:  # noqa: ANN401 - whatever JSON holds
    if isinstance(content, dict) and set(content) == {"images"}:
        images = content["images"]
        if isinstance(images, list):
            return images
    message = f'the JSON must be {{"images": […]}} and nothing else: {_HOW_MANY}'
    raise RequestError("invalid_json", message)


def _sent(content: Any) -> Coded | Link:  # noqa: ANN401 - whatever JSON holds
    if isinstance(content, dict) and len(content) == 1:
        ((name, value),) = content.items()
        if name in ("data", "url") and not isinstance(value, str):
            raise RequestError("invalid_json", f'"{name}" must be a string: {_HOW}')
        if name == "data":
            return Coded(value)
        if name == "url":
            return Link(value)
    message = 'the JSON must be {"data": "<base64>"} or {"url": "https://…"} and nothing else'
    raise RequestError("invalid_json", message)


def _sent_or_error(content: Any) -> Sent:  # noqa: ANN401 - whatever JSON holds
    try:
        return _sent(content)
    except RequestError as error:
        return error
