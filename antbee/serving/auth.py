"""A key that every request must carry: a bearer token (RFC 6750)."""

import hmac
from collections.abc import Collection
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from antbee.errors import RequestError
from antbee.serving.answers import error_answer
from antbee.serving.metrics import Metrics
from antbee.serving.telemetry import PROBES

OPEN: Final = PROBES | {"/ping"}
"""Paths that machines ask without a key: they tell nothing but that the server is there."""
_HOW: Final = "send the server's key in a header: Authorization: Bearer KEY"


class KeyCheck:
    """ASGI middleware: answers 401 to whoever does not have the key, before reading the body.

    Args:
        app: what answers.
        key: visible ASCII characters.
        public: paths that need no key beside those of `OPEN`.
        metrics: count refusals.
    """

    def __init__(self, app: ASGIApp, key: str, public: Collection[str], metrics: Metrics) -> None:
        self._app = app
        self._key = key.encode("ascii")
        self._open = OPEN | frozenset(public)
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["path"] in self._open or self._is_known(scope):
            await self._app(scope, receive, send)
            return
        self._metrics.rejected("unauthorized")
        refusal = error_answer(RequestError("unauthorized", f"this server asks for a key: {_HOW}"))
        await refusal(scope, receive, send)

    def _is_known(self, scope: Scope) -> bool:
        return any(
            name == b"authorization" and self._is_right(value) for name, value in scope["headers"]
        )

    def _is_right(self, value: bytes) -> bool:
        scheme, _, token = value.partition(b" ")
        # Takes as long wherever the first wrong byte is: nobody can guess the key byte by byte.
        return hmac.compare_digest(token.strip(b" "), self._key) and scheme.lower() == b"bearer"
