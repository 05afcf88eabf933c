"""The ASGI application: our routes first, and behind them what BentoML brings along.

BentoML's own application passes every request through tracing, a request context and a rebuilt
schema, which costs more than all our HTTP. Our routes need none of that, so it only keeps its life
cycle, the schema that its clients ask for, and its page.
"""

from collections.abc import Sequence
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route

from antbee.errors import RequestError
from antbee.serving.answers import error_answer
from antbee.serving.drain import Drain
from antbee.serving.metrics import Metrics
from antbee.serving.telemetry import Telemetry, log_to_stderr

BENTOML_PATHS: Final = ("/", "/schema.json")

_ERRORS: Final = {
    404: ("not_found", "there is nothing at this address: /docs.json lists what there is"),
    405: ("method_not_allowed", "this address does not take this method: see /docs.json"),
}


def create_app(
    bentoml_app: Starlette, routes: Sequence[Route], metrics: Metrics, max_body: int
) -> Starlette:
    """Put our routes in front of BentoML's application.

    Args:
        bentoml_app: runs the service's life cycle and answers `BENTOML_PATHS`.
        routes: ours.
        metrics: count every request.
        max_body: bytes of a refused upload that are still read.
    """
    log_to_stderr()
    theirs: list[BaseRoute] = [Route(path, bentoml_app, methods=["GET"]) for path in BENTOML_PATHS]
    theirs += [one for one in bentoml_app.routes if isinstance(one, Mount)]
    paths = frozenset((*(route.path for route in routes), *BENTOML_PATHS))
    app = Starlette(
        routes=[*routes, *theirs],
        middleware=[
            Middleware(Drain, limit=max_body),
            Middleware(Telemetry, metrics=metrics, paths=paths),
        ],
        exception_handlers={HTTPException: _http_error, Exception: _bug},
        lifespan=bentoml_app.router.lifespan_context,
    )
    app.router.redirect_slashes = False
    return app


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
