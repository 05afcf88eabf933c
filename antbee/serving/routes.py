"""What is answered at which address."""

from collections.abc import Callable

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from antbee.errors import RequestError
from antbee.serving.answers import error_answer
from antbee.serving.api import Api
from antbee.serving.metrics import CONTENT_TYPE, Metrics
from antbee.serving.openapi import document
from antbee.serving.settings import Settings


class Routes:
    """The API's endpoints.

    Args:
        api: returns what answers requests with pictures, once the service runs.
        metrics: what `/metrics` shows.
        settings: for the documentation.
    """

    def __init__(self, api: Callable[[], Api], metrics: Metrics, settings: Settings) -> None:
        self._api = api
        self._metrics = metrics
        self._settings = settings

    def all(self) -> list[Route]:
        """List them."""
        return [
            Route("/predict", self.predict, methods=["POST"]),
            Route("/v1/predict", self.predict_many, methods=["POST"]),
            Route("/explain", self.explain, methods=["POST"]),
            Route("/model", self.model),
            Route("/ping", self.ping),
            Route("/livez", self.live),
            Route("/healthz", self.live),
            Route("/readyz", self.ready),
            Route("/health", self.ready),
            Route("/metrics", self.metrics),
            Route("/docs.json", self.docs),
        ]

    async def predict(self, request: Request) -> Response:
        """Classify one picture, however the client sends it."""
        return await self._api().predict(request)

    async def predict_many(self, request: Request) -> Response:
        """Classify several pictures; a bad one fails alone."""
        return await self._api().predict_many(request)

    async def explain(self, request: Request) -> Response:
        """Show which parts of a picture speak for its label."""
        return await self._api().explain(request)

    async def model(self, _: Request) -> Response:
        """Describe the model that answers, and what runs it here."""
        found = self._api().classifier
        content = {"model": found.tag, **found.model.describe(), "runtime": found.runtime}
        return JSONResponse(content)

    async def ping(self, _: Request) -> Response:
        """Answer that the server is there."""
        return JSONResponse({"success": "pong"})

    async def live(self, _: Request) -> Response:
        """Answer that the process lives."""
        return JSONResponse({"status": "ok"})

    async def ready(self, _: Request) -> Response:
        """Answer whether pictures can be classified."""
        if not self._api().classifier.ready:
            message = "the model is still loading: try again in a second"
            return error_answer(RequestError("not_ready", message))
        return JSONResponse({"status": "ok"})

    async def metrics(self, _: Request) -> Response:
        """Give what was counted, for Prometheus."""
        counted = await run_in_threadpool(self._metrics.exposition)
        return Response(counted, media_type=CONTENT_TYPE)

    async def docs(self, _: Request) -> Response:
        """Describe the API in OpenAPI."""
        found = self._api().classifier
        return JSONResponse(document(found.tag, found.model.labels, self._settings))
