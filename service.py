"""The BentoML service: routes, nothing else.

`bentoml serve` serves the newest packed model, a bento the one that it was built with. The
model's name is BentoML's argument `model`: `bentoml serve --arg model=my_flowers:latest`.
"""

from pathlib import Path
from typing import Any, Final

import bentoml
from bentoml.models import BentoModel
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from antbee.artifact import read_model
from antbee.command import exit_on_error
from antbee.errors import ModelError
from antbee.predictor import check_runtime
from antbee.serving.app import create_app
from antbee.serving.classifier import Classifier
from antbee.serving.metrics import CONTENT_TYPE, Metrics
from antbee.serving.openapi import document
from antbee.serving.schema import Answer, Picture
from antbee.serving.settings import read_settings

packed = BentoModel(getattr(bentoml.use_arguments(), "model", "ant_bee_classifier:latest"))

metrics = Metrics()
NO_ACCESS_LOG: Final = {"access": {"enabled": False}}

with exit_on_error():
    settings = read_settings()
    if packed.stored is None:
        raise ModelError(f"there is no packed model {packed.tag}: run save_to_bento.py first")


def classifier() -> Classifier:
    """Return the running service's classifier."""
    return bentoml.get_current_service().classifier  # type: ignore[no-any-return]


async def predict(request: Request) -> Response:
    """Classify one picture, however the client sends it."""
    return await classifier().answer(request)


async def ping(_: Request) -> Response:
    """Answer that the server is there."""
    return JSONResponse({"success": "pong"})


async def health(_: Request) -> Response:
    """Answer whether pictures can be classified."""
    ready = classifier().ready
    return JSONResponse({"status": "ok" if ready else "loading"}, 200 if ready else 503)


async def model(_: Request) -> Response:
    """Describe the model that answers, and what runs it here."""
    found = classifier()
    return JSONResponse({"model": found.tag, **found.model.describe(), "runtime": found.runtime})


async def docs(_: Request) -> Response:
    """Describe the API in OpenAPI."""
    return JSONResponse(document(classifier().tag, classifier().model.labels))


async def live(_: Request) -> Response:
    """Answer that the process lives."""
    return JSONResponse({"status": "ok"})


async def show_metrics(_: Request) -> Response:
    """Give what was counted, for Prometheus."""
    return Response(await run_in_threadpool(metrics.exposition), media_type=CONTENT_TYPE)


routes = [
    Route("/predict", predict, methods=["POST"]),
    Route("/model", model),
    Route("/ping", ping),
    Route("/livez", live),
    Route("/healthz", live),
    Route("/readyz", health),
    Route("/health", health),
    Route("/metrics", show_metrics),
    Route("/docs.json", docs),
]


class App(bentoml.Service[Any]):
    """A BentoML service whose routes are answered by us."""

    def to_asgi(self, is_main: bool = True) -> Starlette:
        """Make the ASGI application; every server asks for it once."""
        return create_app(super().to_asgi(is_main), routes, metrics, settings.max_body)


@bentoml.service(
    service_class=App, workers=settings.workers, metrics={"enabled": False}, logging=NO_ACCESS_LOG
)
class AntBeeClassifier:
    """Says which of its labels a picture shows."""

    packed = packed

    def __init__(self) -> None:
        self.classifier = Classifier(
            read_model(Path(self.packed.path)), str(self.packed.tag), settings, metrics
        )
        self.classifier.warm_up()

    @bentoml.api(input_spec=Picture, output_spec=Answer)
    async def predict(self, request: Request) -> Response:
        """Tell BentoML's clients what `/predict` takes and gives; the route above answers."""
        return await self.classifier.answer(request)

    @bentoml.on_deployment
    @staticmethod
    def check() -> None:
        """Refuse a model that cannot be served before any worker starts."""
        with exit_on_error():
            check_runtime(read_model(Path(packed.resolve().path)), settings.runtime)

    @bentoml.on_shutdown
    def close(self) -> None:
        """Stop the threads."""
        self.classifier.close()
