"""The BentoML service: routes, nothing else.

`bentoml serve` serves the newest packed model, a bento the one that it was built with. The
model's name is BentoML's argument `model`: `bentoml serve --arg model=my_flowers:latest`.
"""

from pathlib import Path

import bentoml
from bentoml.models import BentoModel
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from antbee.artifact import read_model
from antbee.command import exit_on_error
from antbee.errors import ModelError
from antbee.predictor import check_runtime
from antbee.serving.classifier import Classifier
from antbee.serving.edge import Edge
from antbee.serving.openapi import document
from antbee.serving.schema import Answer, Picture
from antbee.serving.settings import read_settings

packed = BentoModel(getattr(bentoml.use_arguments(), "model", "ant_bee_classifier:latest"))

with exit_on_error():
    settings = read_settings()
    if packed.stored is None:
        raise ModelError(f"there is no packed model {packed.tag}: run save_to_bento.py first")


def classifier() -> Classifier:
    """Return the running service's classifier."""
    return bentoml.get_current_service().classifier  # type: ignore[no-any-return]


async def ping(_: Request) -> Response:
    """Answer that the server is there."""
    return JSONResponse({"success": "pong"})


async def health(_: Request) -> Response:
    """Answer whether pictures can be classified."""
    ready = classifier().ready
    return JSONResponse({"status": "ok" if ready else "loading"}, 200 if ready else 503)


async def model(_: Request) -> Response:
    """Describe the model that answers."""
    return JSONResponse({"model": classifier().tag, **classifier().model.describe()})


async def docs(_: Request) -> Response:
    """Describe the API in OpenAPI."""
    return JSONResponse(document(classifier().tag, classifier().model.labels))


routes = {"/ping": ping, "/health": health, "/model": model, "/docs.json": docs}


# BentoML's own timeout leaves the work running and answers in another shape: ours comes first.
@bentoml.service(traffic={"timeout": 2 * settings.timeout})
@bentoml.asgi_app(Starlette(routes=[Route(path, answer) for path, answer in routes.items()]))
class AntBeeClassifier:
    """Says which of its labels a picture shows."""

    packed = packed

    def __init__(self) -> None:
        self.classifier = Classifier(
            read_model(Path(self.packed.path)), str(self.packed.tag), settings
        )
        self.classifier.warm_up()

    @bentoml.api(input_spec=Picture, output_spec=Answer)
    async def predict(self, request: Request) -> Response:
        """Classify one picture, however the client sends it."""
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

    async def __is_ready__(self) -> bool:
        """Tell `/readyz` whether the model has answered once."""
        return self.classifier.ready


AntBeeClassifier.add_asgi_middleware(Edge)  # type: ignore[attr-defined]  # it is a Service now
