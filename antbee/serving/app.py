"""The ASGI application: our routes first, and behind them what BentoML brings along.

BentoML's own application passes every request through tracing, a request context and a rebuilt
schema, which costs more than all our HTTP. Our routes need none of that, so it only keeps its life
cycle and the schema that its clients ask for.
"""

from collections.abc import Sequence
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from antbee.errors import RequestError
from antbee.serving.answers import error_answer
from antbee.serving.auth import KeyCheck
from antbee.serving.drain import Drain
from antbee.serving.metrics import Metrics
from antbee.serving.settings import Settings
from antbee.serving.telemetry import Telemetry, log_to_stderr

BENTOML_PATHS: Final = ("/schema.json",)
_ASKED: Final = ("Authorization", "Content-Type", "X-Request-ID")
_TOLD: Final = ("Retry-After", "X-Label", "X-Probability", "X-Request-ID")
_REMEMBERED: Final = 3600
"""Seconds for which a browser need not ask again what another site's page may send."""

_ERRORS: Final = {
    404: ("not_found", "there is nothing at this address: /docs.json lists what there is"),
    405: ("method_not_allowed", "this address does not take this method: see /docs.json"),
}


def create_app(
    bentoml_app: Starlette,
    routes: Sequence[Route],
    page: Sequence[Route],
    metrics: Metrics,
    settings: Settings,
) -> Starlette:
    """Put our routes in front of BentoML's application.

    Args:
        bentoml_app: runs the service's life cycle and answers `BENTOML_PATHS`.
        routes: the API's.
        page: those of the page's own files, which need no key.
        metrics: count every request.
        settings: limits, key, origins and log.
    """
    log_to_stderr(settings.log)
    theirs = [Route(path, bentoml_app, methods=["GET"]) for path in BENTOML_PATHS]
    everything = [*routes, *page, *theirs]
    paths = frozenset(route.path for route in everything)
    app = Starlette(
        routes=everything,
        middleware=[
            Middleware(Drain, limit=settings.max_body),
            Middleware(Telemetry, metrics=metrics, paths=paths),
            *_guards(page, metrics, settings),
        ],
        exception_handlers={HTTPException: _http_error, Exception: _bug},
        lifespan=bentoml_app.router.lifespan_context,
    )
    app.router.redirect_slashes = False
    return app


def _guards(page: Sequence[Route], metrics: Metrics, settings: Settings) -> list[Middleware]:
    """What stands before the routes only where a setting asks for it."""
    guards = []
    if settings.cors_origins:
        # Before the key: a browser asks first, without one, and must be able to read a refusal.
        guards.append(
            Middleware(
                CORSMiddleware,
                allow_origins=settings.cors_origins,
                allow_methods=("GET", "POST"),
                allow_headers=_ASKED,
                expose_headers=_TOLD,
                max_age=_REMEMBERED,
            )
        )
    if settings.api_key is not None:
        public = frozenset(route.path for route in page)
        guards.append(Middleware(KeyCheck, key=settings.api_key, public=public, metrics=metrics))
    return guards


async def _http_error(_: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    code, message = _ERRORS.get(status, ("internal_error", "the request cannot be answered"))
    answer = error_answer(RequestError(code, message))
    answer.headers.update(getattr(error, "headers", None) or {})
    return answer


async def _bug(_: Request, __: Exception) -> Response:
    # Starlette raises it again once this is sent, and the HTTP server logs it.
    message = "the server failed to answer: its log says why"
    return error_answer(RequestError("internal_error", message))
