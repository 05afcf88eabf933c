"""A request's id, its line in the access log, and its count in the metrics."""

import logging
import random
import re
import time
from collections.abc import Collection
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from antbee.serving.metrics import Metrics

QUIET: Final = frozenset({"/livez", "/readyz", "/health", "/healthz", "/metrics"})
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
            seconds = time.perf_counter() - exchange.began
            path = scope["path"] if scope["path"] in self._paths else OTHER
            self._metrics.answered(path, exchange.status, seconds)
            if path not in QUIET:
                log.info("%s %.1fms", exchange, 1000 * seconds)


class _Exchange:
    def __init__(self, scope: Scope, send: Send) -> None:
        self.began = time.perf_counter()
        self.status = 500
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

    def __str__(self) -> str:
        client = self._scope["client"] or ("-",)
        # As it came: still percent-encoded, so that no address can forge a line.
        path = self._scope.get("raw_path", b"-").decode("latin-1")
        line = f"{client[0]} {self._scope['method']} {path} {self.status} {self._size}B"
        return f"{line} id={self._id.decode()}"


def _request_id(scope: Scope) -> bytes:
    for name, value in scope["headers"]:
        if name == _ID and _SANE_ID.fullmatch(value):
            return bytes(value)
    # To tell requests apart, not to keep anything secret: the system need not be asked.
    return b"%016x" % random.getrandbits(64)


def log_to_stderr() -> None:
    """Write the access log to stderr, unless whoever runs the server has given it a place."""
    if not log.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        log.addHandler(handler)
        log.setLevel(logging.INFO)
        log.propagate = False
