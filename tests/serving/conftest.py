"""A trap that nothing may connect to, no network, and networks that are loaded once."""

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from antbee.artifact import PackedModel
from antbee.predictor import Predictor, load_predictor
from antbee.serving import classifier
from tests.serving import site


@pytest.fixture(scope="session", autouse=True)
def _networks_loaded_once() -> Iterator[None]:
    """Let all classifiers of this process share a packed model's network."""
    loaded: dict[tuple[str, str], Predictor] = {}

    def load(model: PackedModel, runtime: str) -> Predictor:
        key = (str(model.folder), runtime)
        if key not in loaded:
            loaded[key] = load_predictor(model, runtime)
        return loaded[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(classifier, "load_predictor", load)
        yield


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
