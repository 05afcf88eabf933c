"""A refusal reaches a client that is still uploading."""

import asyncio
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

PATIENCE: Final = 10.0
"""Seconds that the rest of an upload may take once it has been answered."""


class Drain:
    """ASGI middleware: sends an early answer at once, and ends the exchange with the upload.

    The rest of the upload is read and thrown away. A server that closes a connection with unread
    bytes in it resets it, and the client may never see why it was refused; gunicorn's worker
    closes, where uvicorn reads on.

    Args:
        app: what answers.
        limit: bytes that are thrown away at most; whoever sends more is cut off.
    """

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD") or _asks_first(scope):
            await self._app(scope, receive, send)
            return
        whole = False

        async def note() -> Message:
            nonlocal whole
            message = await receive()
            whole = whole or not message.get("more_body")
            return message

        async def hold(message: Message) -> None:
            if whole or message["type"] != "http.response.body" or message.get("more_body"):
                await send(message)
                return
            await send({**message, "more_body": True})
            await self._throw_away(receive)
            await send({"type": "http.response.body", "body": b""})

        await self._app(scope, note, hold)

    async def _throw_away(self, receive: Receive) -> None:
        read = 0
        try:
            async with asyncio.timeout(PATIENCE):
                while read <= self._limit:
                    message = await receive()
                    if not message.get("more_body"):
                        return
                    read += len(message["body"])
        except TimeoutError:
            return


def _asks_first(scope: Scope) -> bool:
    # Such a client sends nothing until it is told to go on.
    return any(name == b"expect" for name, _ in scope["headers"])
