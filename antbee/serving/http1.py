"""HTTP/1 below the application: uvicorn's connections, safe to be reached without a router.

uvicorn's own waits for headers for ever, takes any number of them, loses the body of a request that
offers an upgrade, and says in plain text that it cannot read a request. Knows nothing of pictures.
"""

import json
from asyncio import Protocol, TimerHandle, Transport, get_running_loop
from http import HTTPStatus
from typing import Final

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from antbee.errors import NO_REQUEST

PATIENCE: Final = 15.0
"""Seconds in which a request's headers must have come: all of them, from the first byte on, or from
the connection's begin."""
MAX_HEADERS: Final = 65_536
"""Bytes that may come before the headers end, or the next piece of the body or its end is there: of
headers, but also of a chunk's extensions and of trailers."""
UNREAD: Final = 60.0
"""Seconds in which a client must take some of its answer; its connection would be kept for ever."""
MOST_PIPELINED: Final = 100
"""Requests that may come on a connection while an earlier one is answered. Hardly a client sends
any, and the shortest take sixty times their bytes of memory."""
_CODES: Final = {status: code for code, status in NO_REQUEST.items()}


def refusal(status: int, message: str, *headers: str) -> bytes:
    """Write an answer to what is no request: our JSON object, and the connection ends."""
    other = "bad_request" if status < HTTPStatus.INTERNAL_SERVER_ERROR else "internal_error"
    error = {"code": _CODES.get(status, other), "message": message}
    body = json.dumps({"error": error}).encode()
    lines = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        "Connection: close",
        *headers,
    )
    return "\r\n".join((*lines, "", "")).encode("latin-1") + body


class Timed(Protocol):
    """A connection that ends when no request comes, or when its client takes nothing of an answer.

    Attributes:
        transport: of the protocol that this is mixed into.
    """

    transport: Transport
    _deadline: TimerHandle | None = None
    _unread: TimerHandle | None = None

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._headers_came()
        self._forget_unread()
        super().connection_lost(exc)

    def end(self) -> None:
        """Close, with no request in hand."""
        raise NotImplementedError

    def _expect_headers(self) -> None:
        self._deadline = get_running_loop().call_later(PATIENCE, self.end)

    def _headers_came(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def pause_writing(self) -> None:
        """Wait with the rest of an answer, and give the client `UNREAD` seconds to take some."""
        super().pause_writing()
        self.expect_reading()

    def resume_writing(self) -> None:
        """Go on with it; what is left on a connection that was closed has to be taken still."""
        if not self.transport.is_closing():
            self._forget_unread()
        super().resume_writing()

    def expect_reading(self) -> None:
        """Drop the connection in `UNREAD` seconds, unless some of what is to be sent is taken."""
        self._forget_unread()
        unread = self.transport.get_write_buffer_size()
        self._unread = get_running_loop().call_later(UNREAD, self._look_for_reading, unread)

    def _look_for_reading(self, unread: int) -> None:
        if self.transport.get_write_buffer_size() < unread:
            self.expect_reading()
        else:
            self.transport.abort()

    def _forget_unread(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None


class Connection(Timed, HttpToolsProtocol):
    """A connection that ends by itself when it brings no request, and ignores offers to upgrade."""

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]  # as uvicorn
        """Begin, and give the client `PATIENCE` seconds for its first request."""
        super().connection_made(transport)
        self._received = 0
        self._expect_headers()

    def data_received(self, data: bytes) -> None:
        """Take bytes; the parser calls the methods below.

        Those of an upload that has been answered keep no connection open longer than none would.
        """
        self._received += len(data)
        try:
            self.parser.feed_data(data)
        except HttpParserError:
            self.send_400_response("this is no HTTP request")
        except HttpParserUpgrade as offer:
            if self._should_upgrade():
                self._headers_came()
                self.handle_websocket_upgrade()
            else:
                self._parse_without_offer(data[offer.args[0] :])
        if self._received > MAX_HEADERS and not self.transport.is_closing():
            self._refuse(431, f"a request's headers, or trailers, may have {MAX_HEADERS} bytes")

    def on_message_begin(self) -> None:
        """Start the `PATIENCE` of a request."""
        super().on_message_begin()
        self._unset_keepalive_if_required()
        if self._deadline is None:
            self._expect_headers()

    def on_headers_complete(self) -> None:
        """Begin to answer, unless the request has to be parsed again."""
        if len(self.pipeline) >= MOST_PIPELINED:
            self.transport.abort()
        elif not self._is_ignored():
            self._headers_came()
            self._received = 0
            super().on_headers_complete()
            if not self.parser.should_upgrade():
                self.headers = []  # for trailers, which nobody reads

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        self._received = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Note the body's end; where an upgrade is offered, the parser has not looked for it."""
        if not self._is_ignored():
            self._received = 0
            super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no request."""
        self._refuse(400, msg)

    def _is_ignored(self) -> bool:
        return self.parser.should_upgrade() and not self._should_upgrade()

    def _should_upgrade(self) -> bool:
        """Whether this begins a WebSocket: all else that a client may offer is ignored."""
        key = any(name == b"sec-websocket-key" for name, _ in self.headers)
        return key and self.parser.get_method() == b"GET" and super()._should_upgrade()

    def _parse_without_offer(self, rest: bytes) -> None:
        method, version = self.parser.get_method(), self.parser.get_http_version().encode()
        if method == b"CONNECT":
            self._refuse(400, "this is no proxy: CONNECT is not answered")
            return
        headers = [(name, value) for name, value in self.headers if name != b"upgrade"]
        lines = [b"%s %s HTTP/%s" % (method, self.url, version)]
        lines += [b"%s: %s" % header for header in headers]
        self.parser = HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn has it
        self.data_received(b"\r\n".join((*lines, b"", b"")) + rest)

    def _refuse(self, status: int, message: str) -> None:
        self.transport.write(refusal(status, message))
        self.transport.close()

    def end(self) -> None:
        """Close, unless the answer to an earlier request is still going out."""
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()
        else:
            self._expect_headers()
