"""The API without a server in front of it, for tests that look behind it."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from starlette.applications import Starlette

from antbee.artifact import PackedModel
from antbee.serving.api import Api
from antbee.serving.app import create_app
from antbee.serving.body import Fetch
from antbee.serving.observe import Metrics
from antbee.serving.settings import Settings

SETTINGS = Settings(threads=2, queue=4)
Json = dict[str, Any]


class Server:
    """The API as an application, without a server in front of it."""

    def __init__(
        self, packed: PackedModel, settings: Settings = SETTINGS, fetch: Fetch | None = None
    ) -> None:
        self.metrics = Metrics()
        self.api = Api(packed, "x:1", settings, self.metrics, fetch)
        self.app = create_app(Starlette(), lambda: self.api, [], self.metrics, settings)

    @asynccontextmanager
    async def client(self) -> AsyncIterator[httpx.AsyncClient]:
        """Open a client."""
        transport = httpx.ASGITransport(self.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            yield client

    def post(self, path: str, **request: Any) -> httpx.Response:  # noqa: ANN401 - as httpx
        """Post one request."""

        async def send() -> httpx.Response:
            async with self.client() as client:
                return await client.post(path, **request)

        return asyncio.run(send())

    def counted(self, name: str) -> float:
        """Read one number of the metrics."""
        lines = self.metrics.exposition().decode().splitlines()
        return next(float(line.split()[-1]) for line in lines if line.startswith(f"{name} "))


def coded(data: bytes) -> Json:
    """Make an entry of a list in JSON."""
    return {"data": base64.b64encode(data).decode()}
