"""What BentoML's documentation shows, added to the service: `bentoml serve service_with_more:More`.

Beside a copy of `service.py`.
"""

from pathlib import Path
from typing import Any

import bentoml
import numpy as np
import prometheus_client
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from service import CONFIG, AntBeeClassifier, App

knocks = prometheus_client.Counter("knocks", "Requests that came to the door", ["path"])


class Door:
    """Middleware that lets nobody in who says that it is closed."""

    def __init__(self, app: ASGIApp, sign: str) -> None:
        self.app = app
        self.sign = sign

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http":
            knocks.labels(scope["path"]).inc()
            if (b"x-door", b"closed") in scope["headers"]:
                await Response(self.sign, 403)(scope, receive, send)
                return
        await self.app(scope, receive, send)


@bentoml.service
class Desk:
    """Depends on the classifier, and asks it in every way."""

    classifier = bentoml.depends(AntBeeClassifier)

    @bentoml.api
    def by_name(self, image: Path) -> dict[str, Any]:
        """Pass a picture by keyword."""
        return self.classifier.predict(image=image)

    @bentoml.api
    async def by_place(self, image: Path) -> dict[str, Any]:
        """Pass a picture by position, without blocking."""
        return await self.classifier.to_async.predict(image)

    @bentoml.api
    def many(self, images: list[Path]) -> dict[str, Any]:
        """Pass several."""
        return self.classifier.predict_many(images)

    @bentoml.api
    def size_of_explanation(self, image: Path) -> list[int]:
        """Get a picture."""
        return list(self.classifier.explain(image).size)

    @bentoml.api
    def refusal(self, image: Path) -> list[Any]:
        """Pass what is no picture."""
        try:
            self.classifier.predict(image)
        except bentoml.exceptions.BentoMLException as error:
            return [error.error_code, str(error)]
        return []


@bentoml.service(service_class=App, **CONFIG)
class More(AntBeeClassifier.inner):  # type: ignore[name-defined]
    """The classifier, and methods of one's own."""

    desk = bentoml.depends(Desk)

    @bentoml.api
    def shout(self, text: str) -> str:
        """Be an API."""
        return text.upper()

    @bentoml.task
    def whisper(self, text: str) -> str:
        """Be a task."""
        return text.lower()

    @bentoml.api(batchable=True)
    def double(self, numbers: np.ndarray) -> np.ndarray:
        """Be batchable."""
        return 2 * numbers

    @bentoml.api
    def label(self, image: Path) -> str:
        """Call a method of one's own class."""
        return self.predict.local(image)["label"]

    @bentoml.api
    async def ask_desk(self, image: Path) -> list[Any]:
        """Ask the service that asks the classifier."""
        desk = self.desk.to_async
        return [
            await desk.by_name(image),
            await desk.by_place(image),
            await desk.many([image, image]),
            await desk.size_of_explanation(image),
            await desk.refusal(Path(__file__)),
        ]


async def hello(_: Request) -> Response:
    """Be mounted."""
    return JSONResponse({"hello": "mounted"})


async def talk(socket: WebSocket) -> None:
    """Be a mounted web socket."""
    await socket.accept()
    await socket.send_text("hello")
    await socket.close()


mounted = Starlette(routes=[Route("/hello", hello), WebSocketRoute("/talk", talk)])
More.mount_asgi_app(mounted, path="/mine")
More.add_asgi_middleware(Door, sign="closed")
