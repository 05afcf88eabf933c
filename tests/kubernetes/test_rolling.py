"""A rolling update under load, with real servers behind a real proxy."""

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from rolling import LAG, Update, find_haproxy, proxied, try_update
from tests.conftest import environment
from tests.heroku.conftest import bento_home

__all__ = ["bento_home"]  # a fixture


@pytest.fixture
def update(bento_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Update]:
    """Run two servers behind a proxy of requests."""
    if find_haproxy() is None:
        pytest.skip("there is no haproxy here: on Debian, apt install haproxy")
    for name, value in environment(bento_home, ANTBEE_THREADS="1").items():
        monkeypatch.setenv(name, value)
    with proxied("http") as proxy, contextlib.ExitStack() as stack:
        running = Update(proxy, stack, "ant_bee_classifier:latest")
        running.start(2)
        yield running
        running.stop()


@pytest.mark.slow
def test_an_update_loses_nothing(update: Update, jpeg: bytes) -> None:
    """A server that stops before the proxy knows of it loses requests; one that waits does not."""
    at_once = asyncio.run(try_update(update, [jpeg], 400, 0.02))
    update.pre_stop = LAG + 1
    waited = asyncio.run(try_update(update, [jpeg], 400, 0.02))

    assert at_once["lost"] > 0
    assert waited["lost"] == 0, waited
    assert at_once["killed"] == waited["killed"] == 0
