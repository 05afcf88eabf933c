"""A trap that nothing may connect to, and no network."""

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tests.serving import site


@pytest.fixture
def trap() -> Iterator[site.Trap]:
    """Listen where nobody may come."""
    with site.trap() as listening:
        yield listening


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail a test that asks a name server."""
    ours = socket.getaddrinfo

    def refuse(host: str, *arguments: Any, **options: Any) -> object:  # noqa: ANN401 - as socket's
        if host != "127.0.0.1":
            pytest.fail(f"{host!r} was looked up")
        return ours(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
