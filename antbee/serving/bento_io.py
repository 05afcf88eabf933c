"""Where the service meets BentoML: what its methods take and give, its configuration, and ASGI.

Other servers than `bentoml serve` run the application that `app` loads:
gunicorn -k asgi "antbee.serving.bento_io:app('ant_bee_classifier:latest')"
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import bentoml
from bentoml._internal.configuration.containers import BentoMLContainer
from bentoml._internal.configuration.helpers import flatten_dict, get_default_config
from bentoml.exceptions import BentoMLException
from bentoml.validators import ContentType
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Route
from starlette.types import ASGIApp
from typing_extensions import TypedDict

from antbee.command import say
from antbee.errors import RequestError, SettingsError
from antbee.serving import assets
from antbee.serving.app import ROUTES

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

Picture = Annotated[Path, ContentType("image/*")]
"""A picture's file: BentoML's client sends it, its dependencies and unit tests pass its path."""

INSTEAD: Final = {
    "http.cors": "set ANTBEE_CORS_ORIGINS",
    "http.response": "each answer has its X-Request-ID",
    "logging.access": "set ANTBEE_LOG",
    "traffic.timeout": "set ANTBEE_TIMEOUT",
    "traffic.max_concurrency": "set ANTBEE_QUEUE",
    "metrics": "/metrics has names and buckets of its own",
    "workers": "set WEB_CONCURRENCY, which shares the cores among the workers",
    "threads": "set ANTBEE_THREADS",
    "endpoints": "the probes are /livez and /readyz",
    "grpc": "ask over HTTP",
}
"""What to do instead of setting a key of BentoML's configuration, and all below it."""
OTLP: Final = "OTEL_EXPORTER_OTLP_ENDPOINT"
OURS: Final = frozenset({"predict", "predict_many", "explain"})
"""The service's methods whose routes are ours over HTTP."""
HOOKS: Final = (
    ("__is_alive__", "/livez"),
    ("__is_alive__", "/healthz"),
    ("__is_ready__", "/readyz"),
)
"""Methods with which a service answers BentoML's probes itself."""
NO_APP: Final = 4
"""The exit code of a worker that tells gunicorn to stop; after most others it starts another."""


class Answers(TypedDict):
    """For each of several pictures, in order, its prediction or `{"error": …}`."""

    # BentoML's schema has no words for either of two shapes, and its client would drop the errors.
    images: list[dict[str, Any]]


@contextmanager
def bentoml_errors() -> Iterator[None]:
    """Raise what is wrong with a picture as BentoML's exception, which carries an HTTP status."""
    try:
        yield
    except RequestError as error:
        status = HTTPStatus(error.status)
        raise BentoMLException(f"{error.code}: {error}", error_code=status) from error


def tracing_config(environment: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Return BentoML's configuration of traces for what OpenTelemetry's own variables say."""
    # What machines ask every few seconds is no news.
    config: dict[str, Any] = {"excluded_urls": "/livez$,/readyz$,/healthz$,/health$,/metrics$"}
    if environment.get(OTLP):
        grpc = environment.get("OTEL_EXPORTER_OTLP_PROTOCOL") == "grpc"
        # The exporter reads the rest from the environment itself.
        otlp = {"protocol": "grpc" if grpc else "http"}
        config |= {"exporter_type": "otlp", "sample_rate": 1.0, "otlp": otlp}
    return config


def tracer() -> "Tracer | None":
    """Return what makes spans, where BentoML's configuration, which it has loaded, exports them.

    Raises:
        SettingsError: the exporter is not installed.
    """
    exporter = BentoMLContainer.config.tracing.exporter_type.get()
    if exporter is None:
        return None
    try:
        made: Tracer = BentoMLContainer.tracer_provider.get().get_tracer("antbee")
    except ImportError as error:
        how = "pip install 'opentelemetry-exporter-otlp-proto-http', or your protocol's"
        raise SettingsError(
            f"traces are to be exported ({exporter}), but {error}: {how}"
        ) from error
    return made


def take_middleware(
    service: bentoml.Service[Any], bentoml_app: Starlette, *, traced: bool
) -> list[Middleware]:
    """Take what our routes are to be behind, too, out of the middleware of BentoML's application.

    That is what somebody added to the service, and, if requests are `traced`, what begins a trace.
    """
    classes: set[object] = {cls for cls, _ in service.middlewares}
    if traced:
        from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware  # noqa: PLC0415

        classes.add(OpenTelemetryMiddleware)
        for one in bentoml_app.user_middleware:
            if one.cls is OpenTelemetryMiddleware:  # type: ignore[comparison-overlap]  # it can be
                # One for every piece of an upload says nothing.
                one.kwargs["exclude_spans"] = ["receive", "send"]
    taken = [one for one in bentoml_app.user_middleware if one.cls in classes]
    bentoml_app.user_middleware = [one for one in bentoml_app.user_middleware if one not in taken]
    return taken


def routes(service: bentoml.Service[Any], ours: Sequence[Route] = ROUTES) -> list[Route]:
    """Return our routes but those of probes that the service answers itself.

    Raises:
        SettingsError: the service has something that cannot be beside our routes.
    """
    if service.path_prefix:
        raise SettingsError("path_prefix moves none of antbee's routes: let a proxy strip it")
    if hasattr(service.inner, "__metrics__"):
        how = "prometheus_client's metrics appear in it by themselves"
        raise SettingsError(f"__metrics__ has no effect on antbee's /metrics; {how}")
    taken = {route.path for route in (*ours, *assets.routes)}
    for name, method in service.apis.items():
        if method.route in taken and name not in OURS:
            raise SettingsError(f"{name} has the route {method.route}, antbee's own: name another")
    theirs = {path for hook, path in HOOKS if hasattr(service.inner, hook)}
    if service.dependencies:
        theirs.add("/readyz")
    return [route for route in ours if route.path not in theirs]


def without_effect(name: str, ours: dict[str, Any]) -> list[str]:
    """Say which keys of BentoML's configuration do nothing for our routes, and what to do instead.

    Args:
        name: the service's, whose configuration BentoML has loaded.
        ours: what the service itself is configured with.
    """
    services = BentoMLContainer.config.services.get()
    default = dict(flatten_dict(get_default_config(2)["services"]))
    expected = default | dict(flatten_dict(ours))
    everywhere = dict(flatten_dict(services))
    # Where another class is served that was made of this one, it has none of its own.
    given = dict(flatten_dict(services.get(name, services)))
    # What is set for all services comes second to what this one is configured with.
    changed = {key: everywhere[key] for key in default if everywhere.get(key) != default[key]}
    changed |= {key: value for key, value in given.items() if value != expected.get(key)}
    lines = [
        f"BentoML's {key}={value!r} has no effect on antbee's own routes: {instead}"
        for key, value in changed.items()
        for prefix, instead in INSTEAD.items()
        if f"{key}.".startswith(f"{prefix}.")
    ]
    if given["tracing.exporter_type"] and not given["tracing.sample_rate"]:
        lines.append(
            "BentoML's tracing.sample_rate is not set, so there are no traces: set it to 1.0"
        )
    return lines


def app(bento: str = ".") -> ASGIApp:
    """Load a bento by its tag, or the service in a folder.

    Raises:
        SystemExit: it cannot be served, and stderr says why.
    """
    try:
        service: Any = bentoml.load(bento)
        asgi: ASGIApp = service.to_asgi()
    except SystemExit:  # said already
        raise SystemExit(NO_APP) from None
    except (BentoMLException, ImportError) as error:
        say(f"error: {error}")
        raise SystemExit(NO_APP) from error
    if hasattr(service, "report"):  # whatever BentoML can serve, this can
        service.report()
    return asgi
