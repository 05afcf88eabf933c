"""What is answered at which address."""

import asyncio
from http import HTTPStatus

import httpx
import pytest

from antbee.artifact import PackedModel
from tests.serving.in_process import Server


@pytest.mark.parametrize("path", ["/readyz", "/health"])
def test_not_ready_is_an_error_as_documented(packed: PackedModel, path: str) -> None:
    """Until the network has answered once, readiness is an error of the one shape."""
    server = Server(packed)

    async def ask() -> httpx.Response:
        async with server.client() as client:
            return await client.get(path)

    before = asyncio.run(ask())
    server.api.classifier.warm_up()
    after = asyncio.run(ask())

    assert before.status_code == HTTPStatus.SERVICE_UNAVAILABLE
    assert before.json()["error"]["code"] == "not_ready"
    assert (after.status_code, after.json()) == (HTTPStatus.OK, {"status": "ok"})
