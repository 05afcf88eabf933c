"""Clients that know what became of every request they sent."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from typing import Final

REFUSED: Final = "refused"
"""No connection was made: the server has not accepted anything."""
LOST: Final = "lost"
"""A connection was made and a request sent, and no whole answer came."""


@dataclass
class Tally:
    """What became of the requests: how many got each status, were refused or lost."""

    outcomes: Counter[int | str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    answered_at: list[float] = field(default_factory=list)

    def note(self, outcome: int | str, began: float) -> None:
        """Count one request."""
        self.outcomes[outcome] += 1
        if isinstance(outcome, int):
            self.answered_at.append(time.monotonic())
            self.seconds.append(time.monotonic() - began)


class Connection:
    """One client's connection, used again until the server says that it closes it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, body: bytes, path: str = "/predict") -> int | str:
        """Post a body and return the answer's status, `REFUSED` or `LOST`."""
        try:
            reader, writer = await self._connect()
        except OSError:
            return REFUSED
        head = f"POST {path} HTTP/1.1\r\nHost: dyno\r\nContent-Length: {len(body)}\r\n\r\n"
        try:
            writer.write(head.encode() + body)
            await writer.drain()
            return await self._answer(reader)
        except (OSError, EOFError, ValueError):
            await self.close()
            return LOST

    @property
    def identity(self) -> int:
        """A number that changes when the connection is made anew."""
        return id(self._streams)

    async def close(self) -> None:
        """Hang up."""
        if self._streams is not None:
            (_, writer), self._streams = self._streams, None
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        # As a router does, a connection that the server has closed while idle is not used again.
        if self._streams is not None and self._streams[0].at_eof():
            await self.close()
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        return self._streams

    async def _answer(self, reader: asyncio.StreamReader) -> int:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        status = int(head.split()[1])
        length = next(line for line in head.splitlines() if line.startswith("content-length:"))
        await reader.readexactly(int(length.partition(":")[2]))
        if "connection: close" in head:
            await self.close()
        return status


async def load(
    port: int,
    bodies: Sequence[bytes],
    running: Callable[[], bool],
    clients: int = 16,
    until: frozenset[int | str] = frozenset({REFUSED}),
) -> Tally:
    """Post `bodies` in turn from several clients at once.

    Args:
        port: the server's.
        bodies: what is posted.
        running: whether to go on; asked before every request.
        clients: how many, each on a connection of its own.
        until: outcomes at which a client ends.
    """
    tally, turn = Tally(), cycle(bodies)
    await asyncio.gather(*(_client(port, turn, running, until, tally) for _ in range(clients)))
    return tally


async def _client(
    port: int,
    bodies: Iterator[bytes],
    running: Callable[[], bool],
    until: frozenset[int | str],
    tally: Tally,
) -> None:
    connection = Connection(port)
    while running():
        began = time.monotonic()
        outcome = await connection.post(next(bodies))
        tally.note(outcome, began)
        if outcome in until:
            break
        if isinstance(outcome, str):
            await asyncio.sleep(0.02)
    await connection.close()


def for_seconds(seconds: float) -> Callable[[], bool]:
    """Return what says whether so many seconds have not gone by yet."""
    end = time.monotonic() + seconds
    return lambda: time.monotonic() < end
