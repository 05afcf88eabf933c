"""gunicorn's worker, with connections that end."""

import asyncio
import contextlib
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from gunicorn.config import Config

from tests.conftest import REPOSITORY, free_port

APP = """
import asyncio, os, time
import worker
from antbee.serving import http1

http1.PATIENCE, worker.NOTICE, worker.LINGER = 1.5, 0.5, 0.5
eight = asyncio.Barrier(8)
if os.environ.get("KILLED"):
    os.kill(os.getpid(), 9)

async def app(scope, receive, send):
    assert scope["type"] == "http"
    if scope["path"] == "/eight":
        await eight.wait()
    elif scope["path"] == "/stall":
        time.sleep(0.7)
    else:
        await asyncio.sleep(float(scope["path"][1:] or 0))
    headers = [(b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"ok"})
"""


class Gunicorn:
    """A running gunicorn with our worker."""

    def __init__(self, folder: Path, *options: str) -> None:
        (folder / "small.py").write_text(APP)
        self.port = free_port()
        self._connections: list[socket.socket] = []
        command = [sys.executable, "-m", "gunicorn", "-k", "worker.Worker"]
        bind = ["--no-control-socket", "--bind", f"127.0.0.1:{self.port}", "--chdir", str(folder)]
        self.process = subprocess.Popen(
            [*command, *bind, *options, "small:app"],
            env={
                **os.environ,
                "PYTHONPATH": f"{REPOSITORY}{os.pathsep}{REPOSITORY / 'heroku'}",
                "WEB_CONCURRENCY": "1",
            },
            stderr=subprocess.DEVNULL,
            process_group=0,
        )

    def connect(self, sent: bytes = b"") -> socket.socket:
        """Connect as soon as it listens, and send something."""
        for _ in range(200):
            with contextlib.suppress(ConnectionRefusedError):
                connection = socket.create_connection(("127.0.0.1", self.port), timeout=5)
                self._connections.append(connection)
                connection.sendall(sent)
                return connection
            time.sleep(0.05)
        pytest.fail("gunicorn did not start")

    def end(self) -> None:
        """Kill it, whatever it is doing."""
        for connection in self._connections:
            connection.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def terminate_all(self) -> None:
        """Signal every process, as Heroku does."""
        os.killpg(self.process.pid, signal.SIGTERM)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Gunicorn]]:
    """Return what starts gunicorn; it is stopped at the end."""
    started: list[Gunicorn] = []

    def begin(*options: str) -> Gunicorn:
        started.append(Gunicorn(tmp_path, *options))
        return started[-1]

    yield begin
    for one in started:
        one.end()


def request(path: float | str = 0) -> bytes:
    """Make a request that is answered after some seconds, or once there are eight of them."""
    return f"GET /{path} HTTP/1.1\r\nHost: here\r\n\r\n".encode()


def answer(connection: socket.socket) -> bytes:
    """Read one answer; empty if the server closed instead."""
    received = b""
    while not received.endswith(b"\r\n\r\nok"):
        data = connection.recv(1000)
        if not data:
            break
        received += data
    return received


@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: he"])
def test_connection_without_a_request_is_ended(start: Callable[..., Gunicorn], sent: bytes) -> None:
    """A client that sends no whole request is let go."""
    connection = start().connect(sent)
    began = time.monotonic()

    assert answer(connection) == b""
    assert 0.3 < time.monotonic() - began < 20


def test_half_of_a_later_request_is_ended(start: Callable[..., Gunicorn]) -> None:
    """So is one that sent whole requests before."""
    connection = start("--keep-alive", "30").connect(request())
    answer(connection)
    time.sleep(1)
    connection.sendall(b"GET / HT")
    began = time.monotonic()

    assert answer(connection) == b""
    assert time.monotonic() - began < 20


def test_lengths_that_are_none(start: Callable[..., Gunicorn]) -> None:
    """A length that no number can be made of gets an answer, and leaves no traceback."""
    server = start()
    for length in ("+9", "-9", "9_0", "0x9", "9.0", "\xb2", "9 9", "9, 9", "9" * 4301, "9" * 8000):
        sent = f"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: {length}\r\n\r\n"

        assert server.connect(sent.encode("latin-1")).recv(12) == b"HTTP/1.1 400", length
    assert b" 200 OK" in answer(server.connect(request()))


def test_headers_without_an_end(start: Callable[..., Gunicorn]) -> None:
    """Headers that go on and on are refused before they fill the memory."""
    endless = b"".join(b"X-%d: %s\r\n" % (number, bytes(8000)) for number in range(1, 90))
    connection = start().connect(b"GET / HTTP/1.1\r\nHost: here\r\n")
    with contextlib.suppress(OSError):
        connection.sendall(endless.replace(b"\0", b"a"))

    assert connection.recv(12) == b"HTTP/1.1 431"


@contextlib.asynccontextmanager
async def connected(worker: Any, app: Any) -> AsyncIterator[tuple[socket.socket, Any]]:  # noqa: ANN401 - gunicorn's
    """Make a connection of the worker's in this process, and the client's end of it."""
    loop = asyncio.get_running_loop()
    state = {"nr": 0, "nr_conns": 0, "max_requests": 999, "alive": True, "stopping": False}
    log = SimpleNamespace(access_log_enabled=False, debug=lambda *_: None)
    cfg = Config()
    cfg.set("asgi_disconnect_grace_period", 0)
    made = {"cfg": cfg, "log": log, "asgi": app, "loop": loop, "connections": {}}
    few = SimpleNamespace(**state, **made, admit=lambda _: None)
    theirs, ours = socket.socketpair()
    theirs.setblocking(False)
    ours.setblocking(False)
    with theirs:
        _, connection = await loop.connect_accepted_socket(lambda: worker.Connection(few), ours)
        yield theirs, connection
    await asyncio.wait_for(connection._task, 5)


@pytest.fixture
def worker() -> Any:  # noqa: ANN401 - a module that no package has
    """Load the worker's module."""
    spec = importlib.util.spec_from_file_location("worker", REPOSITORY / "heroku/worker.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_request_in_pieces_is_not_idle(
    worker: Any,  # noqa: ANN401 - likewise
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A piece that comes before gunicorn has looked at those before it begins no new request."""
    monkeypatch.setattr("antbee.serving.http1.PATIENCE", 0.1)
    head = b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 4\r\n\r\n"

    async def app(_: Any, receive: Any, send: Any) -> None:  # noqa: ANN401 - ASGI's
        while (await receive())["more_body"]:
            pass
        await asyncio.sleep(0.5)
        headers = [(b"content-length", b"2")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"ok"})

    async def upload() -> bytes:
        async with connected(worker, app) as (client, connection):
            for piece in (head, b"ab", b"cd"):
                connection.data_received(piece)
            return await asyncio.get_running_loop().sock_recv(client, 1000)

    assert b" 200 OK" in asyncio.run(upload())


def test_requests_before_the_first_answer(worker: Any) -> None:  # noqa: ANN401 - likewise
    """While many of them wait, no more are read; all that came are answered."""
    padding = b"a" * 8000
    many = 75 * (b"GET / HTTP/1.1\r\nHost: here\r\nX-Padding: %s\r\n\r\n" % padding)

    async def app(_: Any, __: Any, send: Any) -> None:  # noqa: ANN401 - ASGI's
        headers = [(b"content-length", b"2")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"ok"})

    async def ask() -> tuple[bool, bool]:
        loop = asyncio.get_running_loop()
        async with connected(worker, app) as (client, connection), asyncio.timeout(5):
            connection.data_received(many)
            received = await loop.sock_recv(client, 100_000)
            at_first = connection.transport.is_reading()
            while received.count(b" 200 OK") < 75:
                received += await loop.sock_recv(client, 100_000)
            return at_first, connection.transport.is_reading()

    assert asyncio.run(ask()) == (False, True)


@pytest.mark.parametrize("size", [25_000, 5_000_000], ids=["ended", "waiting"])
def test_client_that_does_not_read_is_dropped(
    worker: Any,  # noqa: ANN401 - likewise
    monkeypatch: pytest.MonkeyPatch,
    size: int,
) -> None:
    """An answer of which nothing is taken keeps no connection, nor what is left of one ended."""
    monkeypatch.setattr("antbee.serving.http1.UNREAD", 0.1)

    async def app(_: Any, __: Any, send: Any) -> None:  # noqa: ANN401 - ASGI's
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(2):  # the system takes some of it
            await send({"type": "http.response.body", "body": bytes(size), "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def ask() -> None:
        async with connected(worker, app) as (_, connection):
            connection.transport.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_SNDBUF, 4096
            )
            connection.data_received(b"GET / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
            async with asyncio.timeout(5):
                while connection.worker.nr_conns:
                    await asyncio.sleep(0.05)

    asyncio.run(ask())


def test_idle_connection_is_kept(start: Callable[..., Gunicorn]) -> None:
    """A connection that was idle for longer than a request may take to come is used again."""
    connection = start("--keep-alive", "30").connect(request())
    answer(connection)
    time.sleep(2)
    connection.sendall(request())

    assert b" 200 OK" in answer(connection)


def test_slow_answer_is_waited_for(start: Callable[..., Gunicorn]) -> None:
    """A request that came whole is no longer timed here."""
    assert b" 200 OK" in answer(start().connect(request(2)))


def test_idle_connections_give_way(start: Callable[..., Gunicorn]) -> None:
    """Where no more connections are held, those that bring nothing are ended for those that ask."""
    server = start("--worker-connections", "4", "--keep-alive", "30")
    kept = server.connect(request())
    answer(kept)
    idle = [server.connect() for _ in range(12)]
    answers = [answer(server.connect(request())) for _ in range(4)]

    assert [one[9:15] for one in answers] == [b"200 OK"] * 4
    assert answer(idle[0]) == b""


def test_connections_that_come_at_once_give_way(start: Callable[..., Gunicorn]) -> None:
    """So are those that the event loop takes in together with the one that asks."""
    server = start("--worker-connections", "4", "--keep-alive", "30")
    stalls = server.connect(b"GET /stall HTTP/1.1\r\nHost: here\r\n\r\n")
    time.sleep(0.2)
    for _ in range(12):
        server.connect()

    assert b" 200 OK" in answer(server.connect(request()))
    assert b" 200 OK" in answer(stalls)


def test_many_may_connect_at_once(start: Callable[..., Gunicorn]) -> None:
    """While the event loop does something else, the system takes in as many as gunicorn says."""
    server = start()
    answer(server.connect(request()))
    (worker,) = psutil.Process(server.process.pid).children()
    worker.suspend()
    waiting = [server.connect(request()) for _ in range(200)]
    worker.resume()

    assert all(b" 200 OK" in answer(one) for one in waiting)


def test_busy_connections_do_not_give_way(start: Callable[..., Gunicorn]) -> None:
    """Where all are busy, the new connection is ended."""
    server = start("--worker-connections", "2", "--keep-alive", "30")
    busy = [server.connect(request(1)) for _ in range(2)]
    time.sleep(0.3)

    assert answer(server.connect()) == b""
    assert all(b" 200 OK" in answer(one) for one in busy)


def test_stopping_answers_whoever_is_there(start: Callable[..., Gunicorn]) -> None:
    """A stop waits for requests in hand, and answers an idle client's last one, saying goodbye."""
    server = start("--keep-alive", "30", "--graceful-timeout", "20")
    busy, idle, silent = server.connect(request(1.5)), server.connect(request()), server.connect()
    answer(idle)
    began = time.monotonic()
    server.terminate_all()
    time.sleep(0.2)
    idle.sendall(request())
    last = answer(idle)

    assert b" 200 OK" in last
    assert b"connection: close" in last.lower()
    assert b" 200 OK" in answer(busy)
    assert answer(silent) == b""
    assert server.process.wait(20) == 0
    assert time.monotonic() - began < 15


def test_retiring_keeps_what_it_promised(start: Callable[..., Gunicorn]) -> None:
    """Of answers that go out together, the one that retires the worker ends no connection unsaid.

    It is the fourth of eight, and none of their headers can know that it will be.
    """
    server = start("--max-requests", "4", "--keep-alive", "30")
    connections = [server.connect(request("eight")) for _ in range(8)]
    kept = [one for one in connections if b"connection: close" not in answer(one).lower()]
    for one in kept:
        one.sendall(request())

    assert all(b" 200 OK" in answer(one) for one in kept)


def test_worker_retires(start: Callable[..., Gunicorn]) -> None:
    """After its last request a worker says goodbye, and another takes its place."""
    server = start("--max-requests", "3")
    last = server.connect(request())
    answers = [answer(last)]
    while b"connection: close" not in answers[-1].lower():
        last.sendall(request())
        answers.append(answer(last))

    assert len(answers) == 4
    assert answer(last) == b""
    assert b" 200 OK" in answer(server.connect(request()))


CONF = ("--config", str(REPOSITORY / "heroku/gunicorn.conf.py"))


def test_worker_that_is_killed_before_it_serves_stops_gunicorn(
    start: Callable[..., Gunicorn], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for lack of memory: the next would be killed as well."""
    monkeypatch.setenv("KILLED", "yes")

    assert start(*CONF).process.wait(20) == 1


def test_worker_that_is_killed_later_is_replaced(start: Callable[..., Gunicorn]) -> None:
    """One that has served goes on in the next."""
    server = start(*CONF)
    answer(server.connect(request()))
    (worker,) = psutil.Process(server.process.pid).children()
    worker.kill()

    assert b" 200 OK" in answer(server.connect(request()))
    assert server.process.poll() is None
