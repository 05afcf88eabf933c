"""The service's outermost layer: what BentoML does by itself, made to keep our promises."""

import json
from http import HTTPStatus
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from antbee.serving.answers import error_body

_ERRORS: Final = {
    404: ("not_found", "there is nothing at this address: /docs.json lists what there is"),
    405: ("method_not_allowed", "this address does not take this method: see /docs.json"),
    503: ("not_ready", "the model is still loading: try again in a second"),
    504: ("timeout", "the request took too long: try again, or send a smaller picture"),
}
_UNKNOWN: Final = ("internal_error", "the server failed to answer: its log says why")
_TEXT_PATHS: Final = ("/metrics",)
_PICKLE: Final = b"application/vnd.bentoml+pickle"


class Edge:
    """ASGI middleware: every answer is one JSON object of our shape, and no request a pickle.

    BentoML's and Starlette's probes answer a line of text; their errors a line of text, a list,
    or an object of another shape. Answers of our shape pass through untouched.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["path"] in _TEXT_PATHS:
            await self.app(scope, receive, send)
            return
        await self.app(_without_pickle(scope), receive, _Rewriter(send))


def _without_pickle(scope: Scope) -> Scope:
    # BentoML refuses its pickle type with a traceback in the log. Here it is as good as any other
    # Content-Type on a picture: as plain bytes it can reach no unpickling at all.
    if not any(value.startswith(_PICKLE) for _, value in scope["headers"]):
        return scope
    headers = [
        (name, b"application/octet-stream" if value.startswith(_PICKLE) else value)
        for name, value in scope["headers"]
    ]
    return {**scope, "headers": headers}


class _Rewriter:
    """Holds an answer back that may need another body, and passes any other one on as it is."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._start: Message | None = None
        self._body = b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start" and _may_need_rewriting(message):
            self._start = message
        elif self._start is None:
            await self._send(message)
        else:
            self._body += message.get("body", b"")
            if not message.get("more_body"):
                await self._finish(self._start)

    async def _finish(self, start: Message) -> None:
        body = _rewritten(start["status"], self._body)
        kept = [
            pair for pair in start["headers"] if pair[0] not in (b"content-type", b"content-length")
        ]
        added = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
        ]
        await self._send({**start, "headers": kept + added})
        await self._send({"type": "http.response.body", "body": body})


def _may_need_rewriting(start: Message) -> bool:
    content_type: bytes = dict(start["headers"]).get(b"content-type", b"")
    failed: bool = start["status"] >= HTTPStatus.BAD_REQUEST
    return failed or content_type.startswith(b"text/plain")


def _rewritten(status: int, body: bytes) -> bytes:
    if status < HTTPStatus.BAD_REQUEST:
        return b'{"status": "ok"}'
    if _is_ours(body):
        return body
    return json.dumps(error_body(*_ERRORS.get(status, _UNKNOWN))).encode()


def _is_ours(body: bytes) -> bool:
    try:
        content = json.loads(body)
    except ValueError:
        return False
    return isinstance(content, dict) and isinstance(content.get("error"), dict)
