"""Requests as they come over the wire, under both servers."""

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import Sequence
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.server import ServerState

from antbee.errors import NO_REQUEST, STATUS
from antbee.serving import http1
from tests.conftest import Command, Server, StartServer, bentoml_serve, gunicorn


@pytest.fixture(params=["server", "gunicorn_server"])
def either(request: pytest.FixtureRequest) -> Server:
    """Return a server of each kind in turn."""
    found: Server = request.getfixturevalue(request.param)
    return found


def exchange(server: Server, *pieces: bytes) -> bytes:
    """Send pieces one after another, and read until the server closes."""
    at = urlsplit(server.url)
    with socket.create_connection((at.hostname, at.port), timeout=10) as connection:
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(0.05)
        received = b""
        while more := connection.recv(65536):
            received += more
    return received


def parsed(answer: bytes) -> tuple[int, Any]:
    """Return an answer's status and its JSON object."""
    head, _, body = answer.rpartition(b"\r\n\r\n")
    return int(head.rsplit(b"HTTP/1.1 ", 1)[1][:3]), json.loads(body)


def head(*headers: str, target: str = "/predict", method: str = "POST") -> bytes:
    """Write a request's head."""
    return "\r\n".join([f"{method} {target} HTTP/1.1", "Host: x", *headers, "", ""]).encode()


@pytest.mark.parametrize(
    "offer",
    [
        ["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"],
        ["Connection: close, upgrade", "Upgrade: TLS/1.0, HTTP/2.0"],
        ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: x"],
        ["Connection: Upgrade"],
        ["Upgrade: h2c", "Connection: keep-alive, x-anything"],
        ["Expect: 100-continue"],
    ],
    ids=["h2c", "tls", "websocket", "nothing", "without-connection", "expect"],
)
def test_what_may_be_ignored_changes_nothing(
    either: Server, jpeg: bytes, offer: Sequence[str]
) -> None:
    """Whatever else a client offers, its picture is answered, sent at once or in pieces."""
    length = f"Content-Length: {len(jpeg)}"
    # Who sends more to a connection that is closed may lose what came before.
    closes = "close" in offer[0]
    last = b"" if closes else head("Connection: close", target="/nothing")
    chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(jpeg), jpeg)
    expected = either.predict(jpeg).json()
    for pieces in (
        (head(length, *offer) + jpeg, last),
        (head(length, *offer), jpeg[:100], jpeg[100:], last),
        (head("Transfer-Encoding: chunked", *offer), chunks, last),
    ):
        answers = exchange(either, *pieces).replace(b"HTTP/1.1 100 Continue\r\n\r\n", b"")
        first = answers.index(b"HTTP/1.1 ", 1) if answers.count(b"HTTP/1.1 ") > 1 else None

        assert parsed(answers[:first]) == (200, expected)


@pytest.mark.parametrize(
    "sent",
    [
        b"nonsense\r\n\r\n",
        head("Content-Length: x"),
        head("Content-Length: 5" + 4300 * "0"),
        head("Content-Length: 5", "Content-Length: 6"),
    ],
    ids=["nonsense", "no-length", "long-length", "two-lengths"],
)
def test_what_is_no_request_gets_our_error(either: Server, sent: bytes) -> None:
    """Whoever speaks no HTTP is told so in JSON, and the connection ends."""
    status, content = parsed(exchange(either, sent))

    assert (status, content["error"]["code"]) == (400, "bad_request")


@pytest.mark.parametrize("status", [400, 413, 414, 426, 431, 500, 501, 503])
def test_refusals_have_codes_that_clients_know(status: int) -> None:
    """Each status that a server may give by itself has the code that belongs to its kind."""
    answered, content = parsed(http1.refusal(status, "no"))
    code = content["error"]["code"]

    assert answered == status
    assert STATUS[code] // 100 == status // 100
    assert status not in NO_REQUEST.values() or STATUS[code] == status


def test_neither_is_a_proxy(either: Server) -> None:
    """A tunnel is refused, in JSON."""
    connect = head("Connection: close", method="CONNECT", target="x:443")
    status, content = parsed(exchange(either, connect))

    assert (status, set(content["error"])) in [
        (400, {"code", "message"}),
        (404, {"code", "message"}),
    ]


def test_too_many_headers(either: Server) -> None:
    """Headers without an end are refused, whatever they are made of."""
    found, content = parsed(exchange(either, head(*["X-Long: " + 9000 * "x"] * 12)[:-2]))

    assert (found, content["error"]["code"]) == (431, "headers_too_large")


def test_absolute_target(either: Server, jpeg: bytes) -> None:
    """An address that is written out, as to a proxy, means its path."""
    sent = head("Connection: close", f"Content-Length: {len(jpeg)}", target="http://x/%70redict?a")

    assert parsed(exchange(either, sent + jpeg)) == (200, either.predict(jpeg).json())


def test_head_is_get_without_a_body(either: Server) -> None:
    """HEAD gets the headers of GET, and no warning is logged (each fixture looks for one)."""
    got = exchange(either, head("Connection: close", method="HEAD", target="/ping"))

    assert got.startswith(b"HTTP/1.1 200")
    assert b"content-length: 18\r\n" in got.lower()
    assert got.endswith(b"\r\n\r\n")


async def until_closed(app: ASGIApp, sent: bytes, then: bytes = b"") -> tuple[bytes, float]:
    """Serve in this process; send, go on sending, and tell what came until the end, and when."""
    config = uvicorn.Config(
        app, http=http1.Connection, log_config=None, port=0, lifespan="off", timeout_keep_alive=1
    )
    server = uvicorn.Server(config)
    running = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    began = time.monotonic()
    writer.write(sent)
    received = b""
    while not reader.at_eof() and time.monotonic() - began < 5:
        writer.write(then)
        with contextlib.suppress(TimeoutError, ConnectionError):
            received += await asyncio.wait_for(reader.read(1000), 0.1)
    writer.close()
    server.should_exit = True
    await running
    return received, time.monotonic() - began


@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: he"])
def test_connection_without_a_request_is_ended(
    monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    """Under uvicorn a client that sends no whole request is let go, as under gunicorn."""
    monkeypatch.setattr(http1, "PATIENCE", 0.3)
    received, seconds = asyncio.run(until_closed(Starlette(), sent))

    assert received == b""
    assert 0.2 < seconds < 3


def test_upload_that_was_answered_ends() -> None:
    """A client that goes on sending, a byte at a time, is let go soon after its answer."""
    sent = head("Content-Length: 1000", target="/nothing")
    received, seconds = asyncio.run(until_closed(Starlette(), sent, b"x"))

    assert received.startswith(b"HTTP/1.1 404")
    assert 0.9 < seconds < 3


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Read the request to its end, and answer with its headers."""
    request = Request(scope, receive)
    body = await request.body()
    headers = [name.decode() for name, _ in scope["headers"]]
    await JSONResponse([len(body), *headers])(scope, receive, send)


def test_trailers_are_no_headers() -> None:
    """What comes after the body never counts as sent before it, and the next request is whole."""
    one = head("Transfer-Encoding: chunked", "X-A: 1") + b"1;x=y\r\nz\r\n0\r\nX-B: 2\r\n\r\n"
    last = head("Connection: close", "X-C: 3", "Content-Length: 0")
    received, _ = asyncio.run(until_closed(echo, one + last))

    assert b'[1,"host","transfer-encoding","x-a"]' in received
    assert received.endswith(b'[0,"host","connection","x-c","content-length"]')


@pytest.mark.parametrize("begun", [b"0\r\nX-A: ", b"1;x=", b"0\r\n"], ids=["one", "chunk", "many"])
def test_trailers_without_an_end(begun: bytes) -> None:
    """Bytes that are neither headers nor body are counted, and refused when there are too many."""
    sent = head("Transfer-Encoding: chunked") + begun
    then = b"X-B: 2\r\n" * 4000 if begun.endswith(b"\n") else b"a" * 32000
    received, _ = asyncio.run(until_closed(echo, sent, then))

    assert parsed(received)[0] == 431


def test_large_uploads_are_not_counted() -> None:
    """A body in pieces, however long, and headers after headers, are below every limit of these."""
    one = head("Content-Length: 200000", f"X-A: {40_000 * 'a'}") + 200_000 * b"z"
    last = head("Connection: close", f"X-A: {40_000 * 'a'}", "Content-Length: 0")
    received, _ = asyncio.run(until_closed(echo, one + one + last))

    assert received.count(b"HTTP/1.1 200") == 3


@pytest.mark.parametrize(("sent", "answered"), [(50, True), (300, False)])
def test_requests_before_the_first_answer(sent: int, answered: bool) -> None:
    """Some may come on a connection, as HTTP has it; it ends where they would fill the memory."""
    one, last = head("Content-Length: 0"), head("Connection: close", "Content-Length: 0")
    received, _ = asyncio.run(until_closed(echo, sent * one + last))

    assert (received.count(b"HTTP/1.1 200") == sent + 1) is answered


def test_client_that_does_not_read_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer of which a client takes nothing is not kept, nor its connection."""
    monkeypatch.setattr(http1, "UNREAD", 0.1)

    async def ask() -> None:
        config = uvicorn.Config(
            Response(bytes(20_000_000)), http=http1.Connection, log_config=None, port=0
        )
        config.load()
        state = ServerState()
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        with ours:
            made = partial(http1.Connection, config, state, {})
            await asyncio.get_running_loop().connect_accepted_socket(made, theirs)
            ours.sendall(head(method="GET"))
            async with asyncio.timeout(5):
                while state.connections:
                    await asyncio.sleep(0.05)

    asyncio.run(ask())


@pytest.mark.slow
@pytest.mark.parametrize("command", [bentoml_serve, gunicorn], ids=["bentoml", "gunicorn"])
def test_slow_body_is_ended(start_server: StartServer, command: Command) -> None:
    """An upload of a byte a second ends when a request has taken as long as it may."""
    with start_server(command=command, ANTBEE_TIMEOUT="3") as running:
        began = time.monotonic()
        at = urlsplit(running.url)
        with socket.create_connection((at.hostname, at.port), timeout=1) as connection:
            connection.sendall(head("Content-Length: 1000"))
            received = b""
            while time.monotonic() - began < 25:
                try:
                    connection.sendall(b"x")
                    if not (more := connection.recv(65536)):
                        break
                    received += more
                except TimeoutError:
                    continue
                except OSError:
                    break

        assert b" 504 " in received
        assert time.monotonic() - began < 22
