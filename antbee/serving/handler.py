"""An HTTP request's body to one picture's bytes, however the client sent it.

Knows HTTP bodies; knows nothing of pixels beyond a file's first bytes, and nothing of networks.
"""

import base64
import binascii
import json
import logging
from collections.abc import AsyncGenerator
from typing import Any

from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from antbee.errors import RequestError
from antbee.images import looks_like_image

# A broken form is the client's mistake and is answered; it is no news for the server's log.
logging.getLogger("python_multipart").setLevel(logging.ERROR)

_HOW = 'send the picture\'s bytes, a multipart file, or JSON {"data": "<base64>"}'


async def picture_bytes(request: Request, *, max_body: int) -> bytes:
    """Read the one picture of a request.

    Accepts raw bytes under any Content-Type, a multipart file in a field of any name, and JSON
    with the file in base64 under `data`.

    Args:
        request: its body is not read yet.
        max_body: the largest body in bytes, however its length is announced.

    Raises:
        RequestError: `empty_body`, `body_too_large`, `no_image`, `too_many_images`,
            `invalid_json`, `invalid_base64` or `url_not_allowed`.
    """
    body = await read_body(request, max_body)
    if not body:
        raise RequestError("empty_body", f"the request has no body: {_HOW}")
    # What the body is counts for more than what its Content-Type says it is.
    if looks_like_image(body):
        return body
    content_type = request.headers.get("content-type", "").lower()
    if content_type.startswith("multipart/form-data") and "boundary=" in content_type:
        return await _from_multipart(request, body)
    media_type = content_type.partition(";")[0].strip()
    if media_type.endswith(("/json", "+json")) or body.lstrip().startswith(b"{"):
        return _from_json(body)
    return body


async def read_body(request: Request, max_body: int) -> bytes:
    """Read a body of at most `max_body` bytes; a longer one is refused as soon as that is known.

    Raises:
        RequestError: `body_too_large`.
    """
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > max_body:
        raise _too_large(max_body)
    chunks, size = [], 0
    async for chunk in request.stream():
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
        f"the body is larger than {max_body / 1e6:g} MB: send a smaller picture",
    )


async def _from_multipart(request: Request, body: bytes) -> bytes:
    async def chunks() -> AsyncGenerator[bytes, None]:
        yield body

    parser = _MemoryParser(request.headers, chunks(), max_files=1000, max_part_size=len(body))
    try:
        form = await parser.parse()
    except (MultiPartException, UnicodeError) as error:
        message = f"the multipart body cannot be read ({error}): {_HOW}"
        raise RequestError("no_image", message) from error
    try:
        return await _only_file(form)
    finally:
        await form.close()


async def _only_file(form: FormData) -> bytes:
    files = [part for _, part in form.multi_items() if isinstance(part, UploadFile)]
    if not files:
        raise RequestError("no_image", "the form has no file in it: send one as -F image=@FILE")
    if len(files) > 1:
        raise RequestError(
            "too_many_images", f"the form has {len(files)} files: send one picture a request"
        )
    data = await files[0].read()
    if not data:
        raise RequestError("empty_body", "the file in the form is empty: send the whole picture")
    return data


class _MemoryParser(MultiPartParser):
    # The body is in memory and bounded already: nothing a stranger sends is spooled to disk.
    spool_max_size = 2**62


def _from_json(body: bytes) -> bytes:
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RequestError("invalid_json", f"the body is not valid JSON: {_HOW}") from error
    if isinstance(content, dict) and set(content) == {"url"}:
        raise RequestError("url_not_allowed", f"this server fetches no addresses: {_HOW}")
    if not isinstance(content, dict) or set(content) != {"data"}:
        raise RequestError("invalid_json", 'the JSON must be {"data": "<base64>"} and nothing else')
    return _from_base64(content["data"])


def _from_base64(text: Any) -> bytes:  # noqa: ANN401 - whatever JSON holds
    if not isinstance(text, str):
        raise RequestError("invalid_json", '"data" must be a string: the picture in base64')
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        data = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        message = f'"data" is not valid base64 ({error}): encode the whole file'
        raise RequestError("invalid_base64", message) from error
    if not data:
        raise RequestError("empty_body", '"data" is empty: send the picture in base64')
    return data
