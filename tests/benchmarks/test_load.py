"""The load generator, beside servers that answer as real ones do."""

import asyncio
import itertools
import json
import math
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from load import Connection, Load, make_form, make_request, percentiles
from tests.conftest import REPOSITORY

LOAD = REPOSITORY / "benchmarks" / "load.py"


def test_percentiles_are_measured_values() -> None:
    """Each percentile is the value at its nearest rank."""
    found = percentiles(list(range(1, 201)))

    assert found == {"p50": 100, "p95": 190, "p99": 198, "max": 200}


@pytest.mark.parametrize(
    ("received", "answered", "asks_again"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", [200], True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no", [], False),
        (b"HTTP/1.1 200 OK\r\nContent-Le", [], False),
        (b"HTTP/1.1 500 No\r\nconnection: Close\r\ncontent-length: 0\r\n\r\n", [500], False),
        (b"HTTP/1.1 429 No\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n", [429], False),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", [200], True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", [], False),
    ],
)
def test_an_answer_counts_once_it_is_whole(
    received: bytes, answered: list[int], asks_again: bool
) -> None:
    """Then the next request follows, unless the server closes or asks to wait."""
    load = Load(itertools.repeat(b"request"), stop=math.inf, patient=True)
    transport = mock.Mock(is_closing=lambda: False)

    async def receive() -> None:
        connection = Connection(load, 0.0)
        connection.connection_made(transport)
        for byte in received:
            connection.data_received(bytes([byte]))

    asyncio.run(receive())

    assert [status for status, _, _ in load.answers] == answered
    assert transport.write.call_count == 1 + asks_again
    assert transport.close.called == (answered == [500])


def test_a_request_holds_the_picture() -> None:
    """The body is the picture, and its length is said."""
    request = make_request("http://127.0.0.1:1/predict", content=b"picture")
    head, _, body = request.partition(b"\r\n\r\n")

    assert body == b"picture"
    assert head.startswith(b"POST /predict HTTP/1.1\r\n")
    assert b"content-length: 7" in head.lower()


def test_a_form_holds_every_picture() -> None:
    """Each in a part of its own, between the boundaries."""
    head, _, body = make_form("http://127.0.0.1:1/x", [b"one", b"two"], "a").partition(b"\r\n\r\n")
    boundary = b"--" + head.partition(b"boundary=")[2].partition(b"\r\n")[0]
    parts = body.split(boundary)

    assert [part.partition(b"\r\n\r\n")[2] for part in parts[1:3]] == [b"one\r\n", b"two\r\n"]
    assert (parts[0], parts[3]) == (b"", b"--\r\n")
    assert b'name="a"' in parts[1]


def test_every_answer_is_counted(tmp_path: Path) -> None:
    """Statuses are counted one by one, and a connection that the server ends is opened again."""
    with _server([200, 429, 200]) as url:
        found = _load(url, tmp_path)

    assert found["counts"] == {"200": 8, "429": 4}
    assert found["lost"] == 0
    assert set(found["latency_ms"]) == {"200", "429"}
    assert found["cpu_ms"]["load"] > 0
    assert "server" not in found["cpu_ms"]  # whose process it does not know


def test_the_server_s_processor_time_is_told(tmp_path: Path) -> None:
    """That of the process that `--pid` names, for each answer: here it is this one."""
    with _server([200]) as url:
        found = _load(url, tmp_path, "--pid", str(os.getpid()))

    assert found["counts"] == {"200": 12}
    assert 0 <= found["cpu_ms"]["server"] < 1000


def test_what_is_never_answered_is_lost(tmp_path: Path) -> None:
    """A connection that breaks before its answer counts as lost, and the load goes on."""
    with _server([200, 0]) as url:
        found = _load(url, tmp_path)

    assert found["counts"] == {"200": 6}
    assert found["lost"] == 6


def _load(url: str, folder: Path, *more: str) -> dict[str, Any]:
    picture = folder / "picture.jpg"
    picture.write_bytes(b"picture")
    options = ["--connections", "1", "--seconds", "20", "--requests", "12", *more]
    run = subprocess.run(
        [sys.executable, LOAD, url, *options, picture], capture_output=True, check=True
    )
    found: dict[str, Any] = json.loads(run.stdout)
    return found


@contextmanager
def _server(statuses: list[int]) -> Iterator[str]:
    """Answer with these statuses in turn; break the connection at a 0, and end it after a 429."""
    asked = iter(statuses * 100)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            status = next(asked)
            self.close_connection = status != 200
            if status:
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.send_header("Connection", "close" if self.close_connection else "keep-alive")
                self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/predict"
    finally:
        server.shutdown()
        server.server_close()
