"""An ASGI application as an AWS Lambda function, behind a function URL or an HTTP API.

Both send events of payload format 2.0, one after the other. The application starts once, before the
first of them, and its event loop runs while one is answered: in between, the whole sandbox may
stand still.

Knows AWS's events and ASGI; what a picture or a model is, the application knows.
"""

import asyncio
import base64
import json
import logging
import string
from binascii import a2b_base64
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, Protocol
from urllib.parse import quote, unquote

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Scope

from antbee.errors import RequestError
from antbee.serving.api import TIME_LEFT, error_answer

Json = dict[str, Any]

MOST_BYTES: Final = 6 * 1024 * 1024
"""Of an answer, in JSON: AWS hands on no longer one, and no longer request."""
MARGIN: Final = 0.5
"""Seconds before the function's own time-out at which an error is sent instead of an answer."""
DESTROYED: Final = "\ufffd"
"""What a text has where there were bytes that are no UTF-8."""
TEXT_TYPES: Final = ("text/", "application/json", "application/javascript", "application/xml")
"""How the types begin of bodies that AWS hands over as text, whatever they hold. All others, and
those without a type, come in base64."""
UNREADABLE: Final = (400, 415, 422)
"""How a body is refused that cannot be read."""
_VERSIONS: Final = {"asgi": {"version": "3.0", "spec_version": "2.3"}}
_IN_PATHS: Final = "".join(sorted({*string.printable} - {*string.whitespace, "?", "#"}))
"""What stands in a path as it is. An HTTP API has decoded the path already, a function URL not."""

log = logging.getLogger("antbee.aws")


class Context(Protocol):
    """What AWS's runtime client says about an event."""

    aws_request_id: str

    def get_remaining_time_in_millis(self) -> int:
        """Return the milliseconds until the function's time-out."""


@dataclass
class Exchange:
    """A request and its answer.

    Attributes:
        scope: the request, as ASGI describes it.
        body: its body.
        text: that, where AWS handed it over as text; else empty.
        status: the answer's.
        headers: the answer's, names in lower case.
        content: the answer's body.
    """

    scope: Scope
    body: bytes
    text: str
    status: int = 500
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    content: bytearray = field(default_factory=bytearray)
    received: bool = False

    async def receive(self) -> Message:
        """Give the body at once; whether the client has left by then, AWS does not say."""
        if self.received:
            await asyncio.get_running_loop().create_future()
        self.received = True
        return {"type": "http.request", "body": self.body}

    async def send(self, message: Message) -> None:
        """Take a part of the answer."""
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], list(message.get("headers", ()))
        else:
            self.content += message.get("body", b"")


class Function:
    """What AWS's runtime client calls with each event.

    Args:
        app: is started at once, and runs until `close`.

    Raises:
        Exception: whatever the application's start raises.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._state: Json = {}
        # One loop for all events: what one leaves behind, such as a thread that still decodes a
        # picture that was given up, goes on and reports to it during the next.
        self._runner = asyncio.Runner()
        try:
            self._runner.run(self._start())
        except BaseException:
            self.close()
            raise

    def __call__(self, event: object, context: Context) -> Json:
        """Answer an event, read from JSON, with what AWS makes an HTTP answer of."""
        try:
            exchange = _read_event(event, context)
        except (AttributeError, LookupError, TypeError, ValueError):
            log.warning("refused an event that is no HTTP request in payload format 2.0")
            how = "send HTTP requests, by a function URL or an HTTP API with payload format 2.0"
            return _refuse("bad_request", f"this event is no request that is answered here: {how}")
        self._runner.get_loop().run_until_complete(self._serve(exchange))
        if DESTROYED in exchange.text:
            _explain(exchange)
        answer = _write_answer(exchange.status, exchange.headers, bytes(exchange.content))
        if (size := len(json.dumps(answer))) > MOST_BYTES:
            log.warning("the answer takes %d bytes, and AWS hands on %d", size, MOST_BYTES)
            how = "ask for less at once, or about a smaller picture"
            return _refuse(
                "body_too_large", f"the answer is larger than 6 MB, as AWS has it: {how}"
            )
        return answer

    def close(self) -> None:
        """End the application."""
        self._runner.close()

    async def _start(self) -> None:
        """Start the application's life cycle, in a task that then waits for its end."""
        loop = asyncio.get_running_loop()
        started: asyncio.Future[str] = loop.create_future()
        messages: list[Message] = [{"type": "lifespan.startup"}]

        async def receive() -> Message:
            return messages.pop() if messages else await loop.create_future()

        async def send(message: Message) -> None:
            if not started.done():
                started.set_result(message["type"])

        async def live() -> None:
            await self._app({"type": "lifespan", "state": self._state, **_VERSIONS}, receive, send)

        self._life = asyncio.create_task(live())
        await asyncio.wait((started, self._life), return_when=asyncio.FIRST_COMPLETED)
        if not started.done() or started.result() != "lifespan.startup.complete":
            await self._life

    async def _serve(self, exchange: Exchange) -> None:
        exchange.scope["state"] = dict(self._state)
        try:
            await self._app(exchange.scope, exchange.receive, exchange.send)
        except Exception:
            # It has been answered; to tell of it is the server's part.
            log.exception("the application failed")
        await asyncio.sleep(0)  # whoever waited for the client to leave lets go of the body


def _read_event(event: Any, context: Context) -> Exchange:  # noqa: ANN401 - whatever JSON holds
    """Make a request of an event.

    Raises:
        AttributeError, LookupError, TypeError, ValueError: it is none of payload format 2.0.
    """
    about, body = event["requestContext"], event.get("body") or ""
    if event["version"] != "2.0":
        raise ValueError
    text = "" if event.get("isBase64Encoded") else body
    data = text.encode("utf-8", "replace") if text else a2b_base64(body, strict_mode=True)
    path = quote(event["rawPath"], safe=_IN_PATHS)
    stage = f"/{about.get('stage')}/"
    if f"{path}/".startswith(stage):  # of an HTTP API, unless it is `$default`
        path = path[len(stage) - 1 :] or "/"
    sent = [(name.lower(), value) for name, value in event["headers"].items()]
    if event.get("cookies"):
        sent.append(("cookie", "; ".join(event["cookies"])))
    # Telemetry takes the first that can be one: the client's own, or else AWS's.
    sent.append(("x-request-id", context.aws_request_id))
    scope = {
        "type": "http",
        **_VERSIONS,
        "http_version": about["http"]["protocol"].removeprefix("HTTP/"),
        "method": about["http"]["method"],
        "scheme": "https",
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": event["rawQueryString"].encode(),
        "root_path": "",
        "headers": [(name.encode(), value.encode("utf-8", "replace")) for name, value in sent],
        "client": (about["http"]["sourceIp"], 0),
        "server": (about["domainName"], 443),
        TIME_LEFT: context.get_remaining_time_in_millis() / 1000 - MARGIN,
    }
    return Exchange(scope, data, text)


def _explain(exchange: Exchange) -> None:
    """Where a text that was a picture has been refused, say how to send it instead."""
    with suppress(ValueError, LookupError, TypeError):
        refusal = json.loads(exchange.content)
        if exchange.status in UNREADABLE and refusal["error"]["message"]:
            sent = Headers(scope=exchange.scope).get("content-type", "")
            refusal["error"]["message"] = (
                f"AWS takes a body of the type {sent[:100]!r} for text, which destroys a picture: "
                "send it with the header Content-Type: image/*, or in base64"
            )
            exchange.content[:] = JSONResponse(refusal).body


def _refuse(code: str, message: str) -> Json:
    answer = error_answer(RequestError(code, message))
    return _write_answer(answer.status_code, answer.raw_headers, bytes(answer.body))


def _write_answer(status: int, headers: Iterable[tuple[bytes, bytes]], content: bytes) -> Json:
    """Make of an answer what AWS makes an HTTP answer of."""
    named: dict[str, list[str]] = {}
    for name, value in headers:
        named.setdefault(name.decode("latin-1"), []).append(value.decode("latin-1"))
    cookies = named.pop("set-cookie", [])
    # AWS counts itself, and hands this one on under another name.
    named.pop("content-length", None)
    (media_type,) = named.get("content-type", [""])
    body, coded = "", True
    if media_type.startswith(TEXT_TYPES) and "content-encoding" not in named:
        with suppress(UnicodeDecodeError):
            body, coded = content.decode(), False
    if coded:
        body = base64.b64encode(content).decode()
    return {
        "statusCode": status,
        "headers": {name: ", ".join(values) for name, values in named.items()},
        "cookies": cookies,
        "body": body,
        "isBase64Encoded": coded,
    }
