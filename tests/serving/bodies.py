"""Bodies of requests, and what is read from them."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import TypeVar

import pytest
from starlette.requests import Request
from starlette.types import Message

from antbee.errors import RequestError
from antbee.serving.body import Sent, read_picture, read_pictures

LIMIT = 100_000
Body = bytes | Iterable[bytes]
Headers = Mapping[str, str] | None
Result = TypeVar("Result")


def read(body: Body, headers: Headers = None, limit: int = LIMIT) -> bytes:
    """Read the one picture of a body that arrives in one or several chunks."""
    return run(body, headers, lambda request: read_picture(request, limit))


def read_many(body: Body, headers: Headers = None, most: int = 3) -> list[Sent]:
    """Read the pictures of a body."""
    return run(body, headers, lambda request: read_pictures(request, LIMIT, most))


def run(
    body: Body, headers: Headers, handle: Callable[[Request], Coroutine[None, None, Result]]
) -> Result:
    """Run a handler on a request."""
    chunks = [body] if isinstance(body, bytes) else list(body)
    messages: list[Message] = [
        {"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks
    ]
    messages.append({"type": "http.request", "body": b"", "more_body": False})
    pairs = [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()]
    scope = {"type": "http", "method": "POST", "headers": pairs}

    async def receive() -> Message:
        return messages.pop(0)

    return asyncio.run(handle(Request(scope, receive)))


def code(body: Body, headers: Headers = None, limit: int = LIMIT) -> str:
    """Return the code of the error that a body for one picture raises."""
    with pytest.raises(RequestError) as caught:
        read(body, headers, limit)
    return caught.value.code


def code_of_many(body: Body, headers: Headers = None) -> str:
    """Return the code of the error that a body for many pictures raises."""
    with pytest.raises(RequestError) as caught:
        read_many(body, headers)
    return caught.value.code


def form(*parts: tuple[str, bytes], end: bytes = b"--XX--\r\n") -> tuple[bytes, dict[str, str]]:
    """Make a multipart body of parts given as (Content-Disposition parameters, content)."""
    body = b"".join(
        b"--XX\r\nContent-Disposition: form-data; %s\r\n\r\n%s\r\n" % (parameters.encode(), content)
        for parameters, content in parts
    )
    return body + end, {"content-type": "multipart/form-data; boundary=XX"}
