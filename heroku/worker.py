"""gunicorn's ASGI worker, safe to be reached without a router in front of it.

gunicorn's own holds any number of connections, never ends one that has not sent a whole request,
and when it is to stop, waits for idle connections until it is killed. This one knows which of its
connections are idle, and ends those; it answers what is no request, and takes addresses, as uvicorn
does. Knows nothing of pictures.
"""

import asyncio
import contextlib
import mmap
import socket
import sys
from asyncio import Transport
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from gunicorn.asgi.protocol import ASGIProtocol
from gunicorn.workers import gasgi
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from antbee.serving.http1 import MAX_HEADERS, Timed, refusal

NOTICE: Final = 1.0
"""Seconds for which a worker that is to stop goes on as before, but for telling each client not to
come back. A connection that was promised to be kept is not closed in the moment after, and the
master closes its copy of the listening sockets first: who connects to that alone is reset."""
LINGER: Final = 2.0
"""Seconds after that for which it still answers on idle connections, before it ends them: whoever
is just sending a request there loses it otherwise."""


class Connection(Timed, ASGIProtocol):  # type: ignore[misc]  # gunicorn ships no types
    """A connection that ends by itself when it brings no request.

    gunicorn's protocol is an `asyncio.Protocol`. Beyond that, this class relies on `req_count`,
    `_awaiting_request`, `_request_ready` and `_closed`, on `_feed_callback_parser` and
    `_on_headers_complete`, which it calls, on `_current_request`, on `_will_close`, which decides
    what an answer says, on `_send_error_response`, `_close_transport`, `_resume_reading`,
    `_is_buffer_full`, `_is_websocket_upgrade` and `_effective_peername`, and on
    `_keepalive_timeout`, which ends the connection.
    """

    worker: "Worker"

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]  # likewise
        """Begin, and give the client `PATIENCE` seconds for its first request."""
        super().connection_made(transport)
        self._expect_headers()
        self.worker.admit(self)

    def data_received(self, data: bytes) -> None:
        """Take bytes; the first ones of a request start its `PATIENCE`."""
        if self.idle and self._deadline is None:
            self._expect_headers()
        super().data_received(data)
        if self._deadline is not None:
            self._received += len(data)
            if self._received > MAX_HEADERS and not self.closing:
                self._send_error_response(431, f"a request's headers may have {MAX_HEADERS} bytes")
                self._close_transport()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self.worker.connections.pop(self, None)
        super().connection_lost(exc)

    @property
    def idle(self) -> bool:
        """Whether no request is being answered; gunicorn counts the first when it waits for it.

        More than one piece of a request may come before gunicorn's task has its turn.
        """
        came = self._request_ready is not None and self._request_ready.is_set()
        return not came and bool(self._awaiting_request or not self.req_count)

    @property
    def closing(self) -> bool:
        """Whether it has been ended."""
        return bool(self._closed) or self.transport.is_closing()

    def end(self) -> None:
        """Close, with no request in hand."""
        if self.req_count:
            self._keepalive_timeout()
        else:
            self.transport.close()

    def _expect_headers(self) -> None:
        self._received = 0
        super()._expect_headers()

    def _close_transport(self) -> None:
        if self.transport and not self._closed:
            super()._close_transport()
            self.expect_reading()

    def _resume_reading(self) -> None:
        if not self._is_buffer_full():  # of requests that came before the answer to the first
            super()._resume_reading()

    def _feed_callback_parser(self, data: bytes) -> bool:
        try:
            return bool(super()._feed_callback_parser(data))
        except ValueError:  # a length of more digits than Python reads
            self._send_error_response(400, "this is no HTTP request")
            self._close_transport()
            return False

    def _on_headers_complete(self) -> bool:
        self._headers_came()
        skip = bool(super()._on_headers_complete())
        request = self._current_request
        if b"://" in request.raw_path and not request.raw_path.startswith(b"/"):
            # http://host/path, as a client writes to a proxy, and any server has to take it
            request.raw_path = b"/" + b"".join(request.raw_path.split(b"/", 3)[3:])
            request.path = unquote_to_bytes(request.raw_path).decode(errors="replace")
        return skip

    def _is_websocket_upgrade(self, request: Any) -> bool:  # noqa: ANN401 - gunicorn's own
        key = any(name == "SEC-WEBSOCKET-KEY" for name, _ in request.headers)
        return key and bool(super()._is_websocket_upgrade(request))

    def _send_error_response(
        self, status: int, message: str, extra_headers: tuple[tuple[str, str], ...] = ()
    ) -> None:
        headers = (f"{name}: {value}" for name, value in extra_headers)
        self._safe_write(refusal(status, message, *headers))

    def _effective_peername(self, peername: Any) -> Any:  # noqa: ANN401 - gunicorn's own
        """Spell an IPv4 address that came in on an IPv6 socket as what it is."""
        found = super()._effective_peername(peername)
        if isinstance(found, tuple) and found[0].startswith("::ffff:"):
            return found[0].removeprefix("::ffff:"), found[1]
        return found

    def _will_close(self, *args: Any) -> bool:  # noqa: ANN401 - gunicorn's own
        return self.worker.stopping or super()._will_close(*args)


class Worker(gasgi.ASGIWorker):  # type: ignore[misc]  # gunicorn ships no types
    """Runs the application; `worker_connections` is how many connections it holds at most.

    Attributes:
        connections: those that are open, in the order in which they came.
        stopping: whether it has been told to stop.
    """

    def __init__(self, *args: Any) -> None:  # noqa: ANN401 - gunicorn's own
        self.stopping = False
        super().__init__(*args)
        # gunicorn's own check ends connections whose last answers did not say so: the one that
        # reaches the limit may have been begun before others that count as well.
        self._retires_after: int = self.max_requests
        self.max_requests: int = sys.maxsize
        self.connections: dict[Connection, None] = {}
        # Memory that the master, which makes this object, shares with the process that it forks.
        self._served = mmap.mmap(-1, 1)

    @property
    def served(self) -> bool:
        """Whether its process has got as far as to serve; its master asks that."""
        return self._served[0] > 0

    def notify(self) -> None:
        """Tell the master that it lives, once it serves."""
        if not self.served:
            # The event loop has just cut it to 100: of more clients that connect at once, some wait
            # for a second, and some are never answered.
            for listener in self.sockets:
                listener.sock.listen(self.cfg.backlog)
        self._served[0] = 1
        super().notify()

    def load_wsgi(self) -> None:
        """Load the application, and tell it who is behind a router."""
        super().load_wsgi()
        trusted = self.cfg.forwarded_allow_ips
        self.asgi: Any = ProxyHeadersMiddleware(self.asgi, trusted_hosts=trusted)

    def init_process(self) -> None:
        """Serve, in a process of its own, until told to stop."""
        gasgi.ASGIProtocol = Connection  # the name by which the worker makes its connections
        try:
            super().init_process()
        except SystemExit as end:
            # At 3 and 4 the master stops on the spot, and at a second worker's in the middle of its
            # stopping. What becomes of 1, its settings say, once it has tidied up.
            raise SystemExit(int(bool(end.code))) from end

    @property
    def alive(self) -> bool:
        """What gunicorn sets to False when the worker is to stop; here it is so `NOTICE` later."""
        return self._alive

    @alive.setter
    def alive(self, alive: bool) -> None:
        if alive or self._quick_shutdown:
            self._alive = alive
        elif not self.stopping:
            self.stopping = True
            self.loop.call_later(NOTICE, setattr, self, "_alive", False)

    @property
    def nr(self) -> int:
        """How many requests have been answered; at `--max-requests` of them it retires."""
        return self._answered

    @nr.setter
    def nr(self, answered: int) -> None:
        self._answered = answered
        # gunicorn sets it to 0 before it has read its settings.
        if answered and answered >= self._retires_after and not self.stopping:
            self.log.info("Retiring after %d requests", answered)
            self.alive = False

    def admit(self, connection: Connection) -> None:
        """Hold a new connection; where that is one too many, end an idle one for it.

        Those that never brought a request go first, then whoever has been here longest. Where all
        are busy, the new one is ended.
        """
        if len(self.connections) >= self.worker_connections:
            idle = [one for one in self.connections if one.idle]
            leaves = min(idle, key=lambda one: one.req_count > 1, default=connection)
            leaves.end()
            self.connections.pop(leaves, None)
        if not connection.closing:
            self.connections[connection] = None

    async def _shutdown(self) -> None:
        if self._quick_shutdown:
            await super()._shutdown()
            return
        await self._stop_listening()
        leaving = asyncio.create_task(self._end_idle())
        await super()._shutdown()
        leaving.cancel()

    async def _stop_listening(self) -> None:
        """Take in everyone who has connected, then close: what still waits then is reset."""
        for listener in self.sockets:
            self.loop.remove_reader(listener.sock.fileno())
        await asyncio.sleep(0)  # whom the event loop has just accepted
        late = [one for listener in self.sockets for one in _waiting(listener.sock)]
        for server in self.servers:
            server.close()
        for one in late:
            await self.loop.connect_accepted_socket(lambda: Connection(self), one)

    async def _end_idle(self) -> None:
        await asyncio.sleep(LINGER)
        while True:
            for connection in list(self.connections):
                if connection.idle:
                    connection.end()
            await asyncio.sleep(0.1)


def _waiting(listener: socket.socket) -> list[socket.socket]:
    """Accept all that wait on a listening socket that does not block."""
    accepted: list[socket.socket] = []
    with contextlib.suppress(BlockingIOError):
        while True:
            accepted.append(listener.accept()[0])
    return accepted
