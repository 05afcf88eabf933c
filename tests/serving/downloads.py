"""Downloads from a site of this machine's."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from antbee.errors import RequestError
from antbee.serving.fetch import Downloader
from tests.serving.site import NAME, Answer, Site, site, trusting

URL = f"https://{NAME}/ant.jpg"
LIMIT = 100_000
Scenario = Callable[[Site], Awaitable[None]]


def downloader(port: int, **options: Any) -> Downloader:  # noqa: ANN401 - as Downloader's own
    """Make a downloader for which every name stands for a port of this machine, a public place."""
    usual = {
        "limit": 5,
        "timeout": 30,
        "max_bytes": LIMIT,
        "resolve": lambda _: [("127.0.0.1", port)],
        "public": lambda address: address.is_loopback,
        "tls": trusting(),
    }
    return Downloader(**{**usual, **options})


def visit(answer: Answer, scenario: Scenario, *, tls: bool = True) -> Site:
    """Run a scenario against a site that answers so; return the site."""

    async def run() -> Site:
        async with site(answer, tls=tls) as running:
            await scenario(running)
            return running

    return asyncio.run(run())


def fetch(answer: Answer, url: str = URL, **options: Any) -> bytes:  # noqa: ANN401 - likewise
    """Download from a site that answers so."""
    got = []

    async def scenario(running: Site) -> None:
        got.append(await downloader(running.port, **options).fetch(url))

    visit(answer, scenario)
    return got[0]


def refusal(answer: Answer, url: str = URL, **options: Any) -> RequestError:  # noqa: ANN401 - likewise
    """Download what cannot be, and return why not."""
    with pytest.raises(RequestError) as caught:
        fetch(answer, url, **options)
    return caught.value
