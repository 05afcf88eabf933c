"""BentoML's own answers, made to keep our promises."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from antbee.serving.edge import Edge


def ask(answer: Response, path: str = "/", method: str = "GET") -> httpx.Response:
    """Ask an application behind the edge that gives `answer` at `/` and `/metrics`."""

    async def endpoint(_: Request) -> Response:
        return answer

    app = Edge(Starlette(routes=[Route("/", endpoint), Route("/metrics", endpoint)]))
    transport = httpx.ASGITransport(app)

    async def send() -> httpx.Response:
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.request(method, path)

    return asyncio.run(send())


def test_text_becomes_an_object() -> None:
    """A probe's line of text becomes a JSON object."""
    answer = ask(PlainTextResponse("\n"))

    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    assert answer.headers["content-type"] == "application/json"


def test_metrics_stay_text() -> None:
    """Prometheus reads text."""
    assert ask(PlainTextResponse("up 1\n"), "/metrics").text == "up 1\n"


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (404, "not_found"),
        (405, "method_not_allowed"),
        (500, "internal_error"),
        (503, "not_ready"),
        (504, "timeout"),
        (418, "internal_error"),
    ],
)
@pytest.mark.parametrize("content", [[{"error": "x"}], {"error": "x"}, "x"])
def test_errors_of_another_shape_get_ours(status: int, code: str, content: object) -> None:
    """An error of BentoML's keeps its status and gets a code and a message."""
    answer = ask(JSONResponse(content, status))

    assert answer.status_code == status
    assert answer.json()["error"]["code"] == code
    assert answer.json()["error"]["message"]


def test_errors_of_ours_pass_through() -> None:
    """An error that has our shape is left as it is, headers included."""
    error = {"error": {"code": "overloaded", "message": "…"}}
    answer = ask(JSONResponse(error, 429, {"Retry-After": "1"}))

    assert (answer.json(), answer.headers["retry-after"]) == (error, "1")


def test_unknown_address_and_method() -> None:
    """Starlette's own 404 and 405 are JSON objects; a 405 keeps its Allow header."""
    missing = ask(PlainTextResponse("x"), "/nothing")
    refused = ask(PlainTextResponse("x"), "/", "POST")

    assert missing.json()["error"]["code"] == "not_found"
    assert refused.json()["error"]["code"] == "method_not_allowed"
    assert "GET" in refused.headers["allow"]


def test_good_answers_stream() -> None:
    """An answer that needs no rewriting is passed on piece by piece."""

    async def pieces() -> AsyncIterator[bytes]:
        yield b"a"
        yield b"b"

    assert ask(StreamingResponse(pieces(), media_type="image/png")).content == b"ab"


def test_pickle_is_plain_bytes() -> None:
    """BentoML's pickle type never reaches BentoML."""
    seen: list[bytes] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(dict(scope["headers"])[b"content-type"])
        await Response()(scope, receive, send)

    headers = [(b"content-type", b"application/vnd.bentoml+pickle; x=y")]
    scope = {"type": "http", "path": "/predict", "headers": headers}

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(_: Message) -> None:
        pass

    asyncio.run(Edge(app)(scope, receive, send))

    assert seen == [b"application/octet-stream"]
