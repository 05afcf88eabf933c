"""An HTTP request's body to pictures' bytes, however the client sent them.

Knows HTTP bodies; knows nothing of pixels beyond a file's first bytes, and nothing of networks.
"""

import base64
import binascii
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from antbee.errors import RequestError
from antbee.images import looks_like_image

Fetch = Callable[[str], Awaitable[bytes]]
"""Downloads what lies at an address; raises `RequestError`."""
Reserve = Callable[[int], None]
"""Is told of every piece's length as it arrives; what it raises ends the upload."""

MOST_FILES: Final = 1000
"""Files that a form is read with, so that they can be counted; with more it is not read."""
_HOW: Final = 'send the picture\'s bytes, a multipart file, or JSON {"data": "<base64>"}'
_HOW_MANY: Final = (
    'send a form with files, or JSON {"images": [{"data": "<base64>"}, …]}; /predict takes one '
    "picture's bytes as they are"
)


@dataclass(frozen=True)
class Base64Picture:
    """A picture in base64, or as a data URL."""

    text: str

    def decode(self) -> bytes:
        """Decode it to a picture's bytes.

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
"""One of several pictures: its bytes, what they must be made of, or what is wrong with it."""


async def read_picture(
    request: Request, max_body: int, reserve: Reserve = lambda _: None, fetch: Fetch | None = None
) -> bytes:
    """Read the one picture of a request.

    Accepts raw bytes under any Content-Type, a multipart file in a field of any name, and JSON
    with the file in base64 under `data` or its address under `url`.

    Args:
        request: its body is not read yet.
        max_body: the largest body in bytes, however its length is announced.
        reserve: told of the body's pieces.
        fetch: downloads an address; None to refuse them.

    Raises:
        RequestError: `empty_body`, `body_too_large`, `no_image`, `too_many_images`,
            `invalid_json`, `invalid_base64`, `url_not_allowed`, or what `fetch` and `reserve`
            raise.
    """
    body = await read_body(request, max_body, reserve)
    if not body:
        raise RequestError("empty_body", f"the request has no body: {_HOW}")
    # What the body is counts for more than what its Content-Type says it is.
    if looks_like_image(body):
        return body
    if _is_form(request):
        files = await _read_form(request, body, _HOW)
        if not files:
            raise RequestError("no_image", "the form has no file in it: send one as -F image=@FILE")
        if len(files) > 1:
            message = f"the form has {len(files)} files: send one, or all of them to /v1/predict"
            raise RequestError("too_many_images", message)
        if not files[0]:
            raise _empty_file()
        return files[0]
    media_type = request.headers.get("content-type", "").lower().partition(";")[0].strip()
    if media_type.endswith(("/json", "+json")) or body.lstrip().startswith(b"{"):
        source = _to_source(_parse_json(body, _HOW))
        if isinstance(source, LinkedPicture):
            return await source.download(fetch, reserve)
        return source.decode()
    return body


async def read_pictures(
    request: Request, max_body: int, max_images: int, reserve: Reserve = lambda _: None
) -> list[Source]:
    """Read the pictures of a request for many.

    Accepts a form with files in fields of any names, and JSON with a list under `images`, each
    entry as in a request for one.

    Args:
        request: its body is not read yet.
        max_body: the largest body in bytes, all pictures together.
        max_images: the most pictures; there is one at least.
        reserve: told of the body's pieces.

    Returns:
        One for each, in order; one that is wrong by itself is the `RequestError` that says so.

    Raises:
        RequestError: `empty_body`, `body_too_large`, `no_image`, `too_many_images`, `invalid_json`,
            or what `reserve` raises.
    """
    body = await read_body(request, max_body, reserve)
    if not body:
        raise RequestError("empty_body", f"the request has no body: {_HOW_MANY}")
    form = _is_form(request)
    if form:
        found: list[Any] = await _read_form(request, body, _HOW_MANY)
    else:
        content = _parse_json(body, _HOW_MANY)
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
    if form:
        return [data or _empty_file() for data in found]
    sources: list[Source] = []
    for entry in found:
        try:
            sources.append(_to_source(entry))
        except RequestError as error:
            sources.append(error)
    return sources


async def read_body(request: Request, max_body: int, reserve: Reserve) -> bytes:
    """Read a body of at most `max_body` bytes; a longer one is refused as soon as that is known.

    Raises:
        RequestError: `body_too_large`.
    """
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > max_body:
        raise _too_large(max_body)
    chunks, size = [], 0
    async for chunk in request.stream():
        reserve(len(chunk))
        chunks.append(chunk)
        size += len(chunk)
        if size > max_body:
            raise _too_large(max_body)
    return b"".join(chunks)


def _too_large(max_body: int) -> RequestError:
    megabytes = f"{max_body / 1e6:g} MB"
    message = f"the body is larger than {megabytes}: send smaller pictures, or fewer at once"
    return RequestError("body_too_large", message)


def _is_form(request: Request) -> bool:
    content_type = request.headers.get("content-type", "").lower()
    return content_type.startswith("multipart/form-data") and "boundary=" in content_type


class _MemoryParser(MultiPartParser):
    # The body is in memory and bounded already: nothing a stranger sends is spooled to disk.
    spool_max_size = 2**62


async def _read_form(request: Request, body: bytes, how: str) -> list[bytes]:
    """Return the contents of a form's files, in order."""

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
        return [await part.read() for _, part in form.multi_items() if isinstance(part, UploadFile)]
    finally:
        await form.close()


def _empty_file() -> RequestError:
    return RequestError("empty_body", "the file in the form is empty: send the whole picture")


def _parse_json(body: bytes, how: str) -> Any:  # noqa: ANN401 - whatever JSON holds
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RequestError("invalid_json", f"the body is not valid JSON: {how}") from error


def _to_source(content: Any) -> Base64Picture | LinkedPicture:  # noqa: ANN401 - likewise
    """Tell what a JSON object sends."""
    if isinstance(content, dict) and len(content) == 1:
        ((name, value),) = content.items()
        if name in ("data", "url"):
            if not isinstance(value, str):
                raise RequestError("invalid_json", f'"{name}" must be a string: {_HOW}')
            return Base64Picture(value) if name == "data" else LinkedPicture(value)
    message = 'the JSON must be {"data": "<base64>"} or {"url": "https://…"} and nothing else'
    raise RequestError("invalid_json", message)
