"""A server with the real page and an API that answers as a test tells it to."""

import asyncio
import io
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from PIL import Image, ImageOps
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from antbee.errors import RequestError
from antbee.predictor import Prediction
from antbee.serving.api import error_answer, prediction_content
from antbee.serving.assets import routes
from antbee.serving.openapi import describe
from antbee.serving.settings import Settings
from antbee.typicality import UNKNOWN_BELOW
from tests.conftest import encode, free_port

MODEL = "ant_bee_classifier:gw5eqtxfdpqjgax4"


@dataclass
class Stub:
    """What the API knows, and what it was asked.

    Attributes:
        labels: of its model.
        probabilities: of every answer.
        typicality: of every answer; None for a model that cannot tell.
        about: what `/model` says otherwise than it does by itself.
        key: what it asks for, if anything.
        refusals: answers to the next requests with a body, in place of good ones.
        open: cleared, the API holds its answers until it is set.
        seen: path and query, body and headers of every request with a body.
        most_at_once: how many such requests there were at the same time.
    """

    labels: tuple[str, ...] = ("ant", "bee")
    probabilities: Mapping[str, float] = field(default_factory=lambda: {"ant": 0.018, "bee": 0.982})
    typicality: float | None = None
    about: dict[str, Any] = field(default_factory=dict)
    key: str | None = None
    refusals: deque[Response] = field(default_factory=deque)
    open: threading.Event = field(default_factory=threading.Event)
    seen: list[tuple[str, bytes, Mapping[str, str]]] = field(default_factory=list)
    most_at_once: int = 0
    url: str = ""
    _at_once: int = 0

    def __post_init__(self) -> None:
        self.open.set()
        api = [
            Route("/model", self._model),
            Route("/docs.json", self._document),
            Route("/ping", self._ping),
            Route("/metrics", self._metrics),
            Route("/predict", self._predict, methods=["POST"]),
            Route("/explain", self._explain, methods=["POST"]),
            Route("/feedback", self._feedback, methods=["POST"]),
        ]
        self.application = Starlette(routes=[*routes, *api])

    def refuse(self, code: str, message: str) -> None:
        """Let the next request with a body be refused."""
        self.refusals.append(error_answer(RequestError(code, message)))

    def know(self, **probabilities: float) -> None:
        """Change the model's labels and its answer."""
        self.labels, self.probabilities = tuple(probabilities), probabilities

    async def _model(self, request: Request) -> Response:
        content: dict[str, Any] = {
            "model": MODEL,
            "arch": "resnet18",
            "runtime": "int8",
            "labels": list(self.labels),
            "metrics": {"val_top1": 0.961},
            "gate": {
                "inputs": "validation pictures of data",
                "rows": [{"runtime": "int8", "pictures": 153, "correct": 147}],
            },
            "provenance": {"data": {"source": "a drawn sample set, seed 0"}},
        }
        return self._locked(request) or JSONResponse(content | self.about)

    async def _document(self, request: Request) -> Response:
        return self._locked(request) or JSONResponse(
            describe(MODEL, self.labels, Settings(threads=1, queue=1))
        )

    async def _ping(self, _: Request) -> Response:
        return JSONResponse({"success": "pong"})

    async def _metrics(self, _: Request) -> Response:
        return PlainTextResponse("antbee_requests_total 1.0\n")

    async def _predict(self, request: Request) -> Response:
        if (refusal := await self._receive(request)) is not None:
            return refusal
        best = max(self.probabilities, key=lambda label: self.probabilities[label])
        known = None if self.typicality is None else self.typicality > UNKNOWN_BELOW
        shares = dict(self.probabilities)
        found = Prediction(best, shares[best], shares, known, self.typicality)
        headers = {"X-Request-ID": f"request-{len(self.seen)}"}
        return JSONResponse(prediction_content(found, MODEL), headers=headers)

    async def _explain(self, request: Request) -> Response:
        if (refusal := await self._receive(request)) is not None:
            return refusal
        return Response(heat_map(self.seen[-1][1]), media_type="image/png")

    async def _feedback(self, request: Request) -> Response:
        return await self._receive(request) or JSONResponse({})

    async def _receive(self, request: Request) -> Response | None:
        if (locked := self._locked(request)) is not None:
            return locked
        body = await request.body()
        address = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        self.seen.append((address, body, dict(request.headers)))
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        while not self.open.is_set():
            await asyncio.sleep(0.01)
        self._at_once -= 1
        return self.refusals.popleft() if self.refusals else None

    def _locked(self, request: Request) -> Response | None:
        if self.key is None or request.headers.get("authorization") == f"Bearer {self.key}":
            return None
        return error_answer(RequestError("unauthorized", "send the server's key as a bearer token"))


def heat_map(data: bytes) -> bytes:
    """Lay something like a class activation map over a picture; return a PNG file."""
    picture = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    near = Image.radial_gradient("L").resize(picture.size).point(lambda far: max(0, 200 - 2 * far))
    return encode(Image.composite(Image.new("RGB", picture.size, "red"), picture, near), "PNG")


@contextmanager
def serve(stubs: list[Stub]) -> Iterator[str]:
    """Serve whichever stub is the last, on a free port of this machine; give the address."""

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await stubs[-1].application(scope, receive, send)

    port = free_port()
    config = uvicorn.Config(application, port=port, log_level="warning", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(10)
