"""The ASGI application: our routes first, and behind them BentoML's application.

BentoML's own passes every request through tracing, a request context and a rebuilt schema, which
costs more than all our HTTP. Our routes need none of that. It keeps its life cycle, and answers
whatever is not ours: its schema, and what somebody adds to the service.
"""

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Final

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from antbee.errors import RequestError
from antbee.serving.api import Api, error_answer
from antbee.serving.observe import CONTENT_TYPE, PROBES, Metrics, Telemetry
from antbee.serving.openapi import describe
from antbee.serving.pool import Throttle
from antbee.serving.settings import Settings

KEYLESS: Final = PROBES | {"/ping"}
"""Paths that machines ask without a key: they tell nothing but that the server is there."""
BEARER: Final = b"bearer "
POLICY_VIOLATION: Final = 1008
DRAIN_SECONDS: Final = 10.0
"""Seconds that the rest of an upload may take once it has been answered."""
DRAIN_BODIES: Final = 10
"""How many bodies of the largest size that rest may be: a video is sent to its end, a flood not."""


def create_app(
    bentoml_app: Starlette,
    api: Callable[[], Api],
    page: Sequence[Route],
    metrics: Metrics,
    settings: Settings,
    routes: Sequence[Route] | None = None,
    in_front: Sequence[Middleware] = (),
) -> Starlette:
    """Put our routes in front of BentoML's application.

    Args:
        bentoml_app: runs the service's life cycle and answers what none of our routes does.
        api: returns what answers requests with pictures, once the service runs.
        page: routes of the page's own files, which need no key.
        metrics: count every request.
        settings: limits, keys and origins.
        routes: the API's; all that the settings have by default.
        in_front: somebody's middleware, before all routes. As with BentoML, only the access log and
            the metrics are before it, which count what it refuses.
    """
    ours = [*(api_routes(settings) if routes is None else routes), *page]
    taken = {route.path for route in ours}
    # No other way leads to those, such as a redirect from an address with a slash behind it.
    theirs = [route for route in bentoml_app.routes if getattr(route, "path", None) not in taken]
    bentoml_app.router.routes = theirs
    known = [*ours, *(route for route in theirs if isinstance(route, Route))]
    paths = frozenset(route.path for route in known)
    # What takes a body works for it; nobody asks how long a probe takes, or a file of the page.
    timed = frozenset(route.path for route in known if "POST" in (route.methods or ()))
    middleware = [
        Middleware(Drain, limit=DRAIN_BODIES * settings.max_body),
        Middleware(Telemetry, metrics=metrics, paths=paths, timed=timed),
        *in_front,
    ]
    if settings.cors_origins:
        # Before the key: a browser asks first, without one, and must be able to read a refusal.
        middleware.append(
            Middleware(
                CORSMiddleware,
                allow_origins=settings.cors_origins,
                allow_methods=("GET", "POST"),
                allow_headers=("Authorization", "Content-Type", "X-Request-ID"),
                expose_headers=(
                    *("Retry-After", "X-Label", "X-Probability", "X-Known", "X-Typicality"),
                    "X-Request-ID",
                ),
                max_age=3600,
            )
        )
    if settings.api_key:
        keys = [key.encode("ascii") for key in settings.api_key]
        public = KEYLESS.union(route.path for route in page)
        middleware.append(Middleware(KeyCheck, keys=keys, public=public, metrics=metrics))
    answer_error = partial(_answer_error, metrics, Throttle())
    app = Starlette(
        routes=ours,
        middleware=middleware,
        exception_handlers=dict.fromkeys(
            (RequestError, ClientDisconnect, HTTPException, Exception), answer_error
        ),
        # It lets one method of the service call another.
        lifespan=lambda _: bentoml_app.router.lifespan_context(bentoml_app),  # type: ignore[arg-type]  # either of two kinds
    )
    app.router.redirect_slashes = False
    app.router.default = bentoml_app
    for status in (404, 405):
        bentoml_app.add_exception_handler(status, answer_error)
    app.state.api, app.state.metrics, app.state.settings = api, metrics, settings
    return app


async def predict(request: Request) -> Response:
    """Classify one picture, however the client sends it."""
    return await _api(request).predict(request)


async def predict_many(request: Request) -> Response:
    """Classify several pictures; a bad one fails alone."""
    return await _api(request).predict_many(request)


async def explain(request: Request) -> Response:
    """Show which parts of a picture speak for its label."""
    return await _api(request).explain(request)


async def feedback(request: Request) -> Response:
    """Take what somebody says would have been the right label."""
    return await _api(request).correct(request)


async def model(request: Request) -> Response:
    """Describe the model that answers, and what runs it here."""
    found = _api(request).classifier
    told = {"runtime": found.runtime, "feedback": request.app.state.settings.feedback}
    return JSONResponse({"model": found.tag, **found.model.describe(), **told})


async def ping(_: Request) -> Response:
    """Answer that the server is there."""
    return JSONResponse({"success": "pong"})


async def live(_: Request) -> Response:
    """Answer that the process lives."""
    return JSONResponse({"status": "ok"})


async def ready(request: Request) -> Response:
    """Answer whether pictures can be classified."""
    if not _api(request).classifier.ready:
        message = "the model is still loading: try again in a second"
        return error_answer(RequestError("not_ready", message))
    return JSONResponse({"status": "ok"})


async def metrics(request: Request) -> Response:
    """Give what was counted, for Prometheus."""
    counted = await run_in_threadpool(request.app.state.metrics.exposition)
    return Response(counted, media_type=CONTENT_TYPE)


async def docs(request: Request) -> Response:
    """Describe the API in OpenAPI."""
    found = _api(request).classifier
    return JSONResponse(describe(found.tag, found.model.labels, request.app.state.settings))


@dataclass
class Posted:
    """A function that answers requests, as a route's ASGI application.

    Starlette would wrap it in a second search for what handles its errors.
    """

    answer: Callable[[Request], Awaitable[Response]]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        response = await self.answer(Request(scope, receive, send))
        await response(scope, receive, send)


def _api(request: Request) -> Api:
    return request.app.state.api()  # type: ignore[no-any-return]


ROUTES: Final = (
    Route("/predict", Posted(predict), methods=["POST"]),
    Route("/v1/predict", Posted(predict_many), methods=["POST"]),
    Route("/explain", Posted(explain), methods=["POST"]),
    Route("/model", model),
    Route("/ping", ping),
    Route("/livez", live),
    Route("/healthz", live),
    Route("/readyz", ready),
    Route("/health", ready),
    Route("/metrics", metrics),
    Route("/docs.json", docs),
)
FEEDBACK: Final = Route("/feedback", Posted(feedback), methods=["POST"])


def api_routes(settings: Settings) -> Sequence[Route]:
    """Return the routes that a server with these settings has, but those of the page."""
    return (*ROUTES, FEEDBACK) if settings.feedback else ROUTES


async def _answer_error(
    metrics: Metrics, throttle: Throttle, _: Request, error: Exception
) -> Response:
    """Answer what was raised; a bug is raised again by Starlette, and the HTTP server logs it."""
    if isinstance(error, ClientDisconnect):
        return Response(status_code=499)
    if isinstance(error, RequestError):
        metrics.rejected(error.code)
        if error.code == "overloaded":
            error.__traceback__ = None  # it has the body
            await throttle.wait()
        return error_answer(error)
    if not isinstance(error, HTTPException):
        message = "the server failed to answer: its log says why"
        return error_answer(RequestError("internal_error", message))
    code, message = {
        404: ("not_found", "there is nothing at this address: /docs.json lists what there is"),
        405: ("method_not_allowed", "this address does not take this method: see /docs.json"),
    }.get(error.status_code, ("internal_error", "the request cannot be answered"))
    answer = error_answer(RequestError(code, message))
    answer.headers.update(error.headers or {})
    return answer


@dataclass
class KeyCheck:
    """ASGI middleware: answers 401 to whoever does not have a key, before reading the body.

    A key is a bearer token (RFC 6750). Over HTTP, `public` paths need none.
    """

    app: ASGIApp
    keys: Sequence[bytes]
    public: Collection[str]
    metrics: Metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or web socket."""
        public = scope["type"] == "http" and scope["path"] in self.public
        if public or scope["type"] == "lifespan" or self._has_key(scope["headers"]):
            await self.app(scope, receive, send)
            return
        self.metrics.rejected("unauthorized")
        if scope["type"] == "websocket":
            await WebSocketClose(POLICY_VIOLATION)(scope, receive, send)
            return
        how = "send the server's key in a header: Authorization: Bearer KEY"
        refusal = error_answer(RequestError("unauthorized", f"this server asks for a key: {how}"))
        await refusal(scope, receive, send)

    def _has_key(self, headers: Iterable[tuple[bytes, bytes]]) -> bool:
        tokens = [
            value[len(BEARER) :].strip(b" ")
            for name, value in headers
            if name == b"authorization" and value[: len(BEARER)].lower() == BEARER
        ]
        # Takes as long wherever the first wrong byte is: nobody can guess a key byte by byte.
        matches = [hmac.compare_digest(token, key) for token in tokens for key in self.keys]
        return any(matches)


@dataclass
class Drain:
    """ASGI middleware: sends an early answer at once, and ends the exchange with the upload.

    The rest of the upload is read and thrown away, so that a refusal reaches a client that is still
    uploading. A server that closes a connection with unread bytes in it resets it, and the client
    may never see why it was refused; gunicorn's worker closes, where uvicorn reads on. Whoever
    sends more than `limit` bytes is cut off.
    """

    app: ASGIApp
    limit: int

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD"):
            await self.app(scope, receive, send)
            return
        # A client that expects to be told to go on sends nothing until somebody reads.
        ended = any(name == b"expect" for name, _ in scope["headers"])

        async def receive_part() -> Message:
            nonlocal ended
            message = await receive()
            ended = not message.get("more_body")
            return message

        async def send_then_drain(message: Message) -> None:
            if ended or message["type"] != "http.response.body" or message.get("more_body"):
                await send(message)
                return
            await send({**message, "more_body": True})
            read = 0
            with suppress(TimeoutError):
                async with asyncio.timeout(DRAIN_SECONDS) as patience:
                    while read <= self.limit and (part := await receive()).get("more_body"):
                        read += len(part["body"])
                        if patience.expired():  # lost by wait_for, see `read_body`
                            break
            await send({"type": "http.response.body", "body": b""})

        await self.app(scope, receive_part, send_then_drain)
