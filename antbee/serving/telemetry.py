"""A request's id, its line in the access log, and its count in the metrics."""

import json
import logging
import random
import re
import time
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any, Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from antbee.serving.metrics import Metrics

PROBES: Final = frozenset({"/livez", "/readyz", "/health", "/healthz"})
"""Paths that tell machines whether the server is there, and nothing else."""
QUIET: Final = PROBES | {"/metrics"}
"""Paths that machines ask every few seconds: counted, not logged."""
OTHER: Final = "other"
"""The metrics' name for every path that is not ours."""
_ID: Final = b"x-request-id"
_SANE_ID: Final = re.compile(rb"[\w.:/+=-]{1,128}")

log = logging.getLogger("antbee.access")


class Telemetry:
    """ASGI middleware.

    A sane `X-Request-ID` that the client or its router sent is kept, so that the lines of several
    servers can be brought together; otherwise a random one is made. The answer carries it too.

    Args:
        app: what answers.
        metrics: counts.
        paths: those that the metrics may name.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, paths: Collection[str]) -> None:
        self._app = app
        self._metrics = metrics
        self._paths = paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, send)
        try:
            await self._app(scope, receive, exchange.send)
        finally:
            seconds = exchange.end()
            path = scope["path"] if scope["path"] in self._paths else OTHER
            self._metrics.answered(path, exchange.status, seconds)
            if path not in QUIET:
                log.info("%s", exchange)


class _Exchange:
    """One request and its answer."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self.status = 500
        self._began = time.perf_counter()
        self._seconds = 0.0
        self._scope = scope
        self._send = send
        self._id = _request_id(scope)
        self._size = 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message["headers"], (_ID, self._id)]
        else:
            self._size += len(message.get("body", b""))
        await self._send(message)

    def end(self) -> float:
        """Return how many seconds it took."""
        self._seconds = time.perf_counter() - self._began
        return self._seconds

    def fields(self) -> dict[str, Any]:
        """What the access log says of it, by the names of its JSON lines."""
        return {
            "client": (self._scope["client"] or ("-",))[0],
            "method": self._scope["method"],
            # As it came: still percent-encoded, so that no address can forge a line.
            "path": self._scope.get("raw_path", b"-").decode("latin-1"),
            "status": self.status,
            "bytes": self._size,
            "id": self._id.decode(),
            "ms": round(1000 * self._seconds, 1),
        }

    def __str__(self) -> str:
        line = "{client} {method} {path} {status} {bytes}B id={id} {ms:.1f}ms"
        return line.format(**self.fields())


def _request_id(scope: Scope) -> bytes:
    for name, value in scope["headers"]:
        if name == _ID and _SANE_ID.fullmatch(value):
            return bytes(value)
    # To tell requests apart, not to keep anything secret: the system need not be asked.
    return b"%016x" % random.getrandbits(64)


class _JsonLines(logging.Formatter):
    """Writes an `_Exchange` as one JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        """Write one line; `time` is when the answer was complete, in UTC (RFC 3339)."""
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        (exchange,) = record.args or (None,)
        fields = exchange.fields() if isinstance(exchange, _Exchange) else {}
        return json.dumps({"time": when, **fields})


LINES: Final = {"text": logging.Formatter("%(asctime)s %(message)s"), "json": _JsonLines()}
"""How the access log is written, by the values of `ANTBEE_LOG`."""


def log_to_stderr(lines: str = "text") -> None:
    """Write the access log to stderr, unless whoever runs the server has given it a place.

    Args:
        lines: a key of `LINES`.
    """
    # A broken form is the client's mistake and is answered; it is no news for the server's log.
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
    if not log.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(LINES[lines])
        log.addHandler(handler)
        log.setLevel(logging.INFO)
        log.propagate = False
