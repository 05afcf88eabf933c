"""Connections: kept for the router, and ended where somebody wants to use them up."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator

from tests.heroku.container.client import Connection, for_seconds, load
from tests.heroku.container.conftest import FIGURES, Scale
from tests.heroku.container.dyno import Dyno, run_dyno

HALF = b"POST /predict HTTP/1.1\r\nHost: dyno\r\nContent-Le"
SLOW = b"POST /predict HTTP/1.1\r\nHost: dyno\r\nContent-Length: 5000000\r\n\r\n\xff\xd8\xff"


@contextlib.asynccontextmanager
async def opened(port: int, number: int, sent: bytes) -> AsyncIterator[list[asyncio.StreamReader]]:
    """Open connections, send a little on each, and leave them there."""
    pairs = [await asyncio.open_connection("127.0.0.1", port) for _ in range(number)]
    for _, writer in pairs:
        if sent:
            writer.write(sent)
    yield [reader for reader, _ in pairs]
    for _, writer in pairs:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def ended(readers: list[asyncio.StreamReader], seconds: float) -> int:
    """Count the connections that the server ends within so many seconds."""
    end = time.monotonic() + seconds
    results = await asyncio.gather(*(_end(reader, end) for reader in readers))
    return sum(results)


async def _end(reader: asyncio.StreamReader, end: float) -> bool:
    try:
        async with asyncio.timeout(max(0.01, end - time.monotonic())):
            await reader.read()
    except TimeoutError:
        return False
    except OSError:
        return True
    return True


def test_idle_connection_outlives_the_routers(dyno: Dyno, jpeg: bytes, scale: Scale) -> None:
    """A connection that was idle for as long as the router keeps one is answered as before."""

    async def use() -> Counter[int | str]:
        connections = [Connection(dyno.port) for _ in range(8)]
        answers = [await connection.post(jpeg) for connection in connections]
        before = [connection.identity for connection in connections]
        await asyncio.sleep(scale.idle_seconds)
        answers += [await connection.post(jpeg) for connection in connections]
        assert before == [connection.identity for connection in connections]
        for connection in connections:
            await connection.close()
        return Counter(answers)

    FIGURES["seconds idle before a connection is used again"] = scale.idle_seconds

    assert asyncio.run(use()) == {200: 16}


def test_half_sent_requests_are_ended(image: str, jpeg: bytes) -> None:
    """Connections that bring no whole request end by themselves, and keep nobody out meanwhile."""

    async def attack(dyno: Dyno) -> tuple[int, Counter[int | str]]:
        async with opened(dyno.port, 200, HALF) as half, opened(dyno.port, 200, b"") as silent:
            tally = await load(dyno.port, [jpeg], for_seconds(2), clients=4)
            return await ended(half + silent, 20), tally.outcomes

    with run_dyno(image) as dyno:
        gone, outcomes = asyncio.run(attack(dyno))
    FIGURES["half-sent and silent connections ended, of 400"] = gone

    assert gone == 400
    assert set(outcomes) == {200}


def test_flood_of_connections_keeps_nobody_out(image: str, jpeg: bytes) -> None:
    """Far more connections than are held: those that do nothing give way to those that ask."""

    async def attack(dyno: Dyno) -> Counter[int | str]:
        async with opened(dyno.port, 2000, HALF):
            tally = await load(dyno.port, [jpeg], for_seconds(2), clients=4)
            return tally.outcomes

    with run_dyno(image) as dyno, dyno.watched() as memory:
        before = dyno.memory_used()
        outcomes = asyncio.run(attack(dyno))
    FIGURES["megabytes that 2000 connections take"] = round((memory.peak - before) / 1e6)

    assert set(outcomes) == {200}


def test_slow_uploads_keep_nobody_out(image: str, jpeg: bytes) -> None:
    """Uploads that never end hold no place, and are ended after `ANTBEE_TIMEOUT`."""

    async def attack(dyno: Dyno) -> tuple[int, Counter[int | str]]:
        async with opened(dyno.port, 100, SLOW) as slow:
            tally = await load(dyno.port, [jpeg], for_seconds(2), clients=4)
            return await ended(slow, 20), tally.outcomes

    with run_dyno(image, ANTBEE_TIMEOUT="5") as dyno:
        gone, outcomes = asyncio.run(attack(dyno))

    assert gone == 100
    assert set(outcomes) == {200}


def test_endless_body_is_cut_off(image: str, jpeg: bytes) -> None:
    """A body without an end is refused, and takes no memory to speak of."""

    async def send(dyno: Dyno) -> tuple[bytes, int]:
        reader, writer = await asyncio.open_connection("127.0.0.1", dyno.port)
        writer.write(b"POST /predict HTTP/1.1\r\nHost: dyno\r\nTransfer-Encoding: chunked\r\n\r\n")
        answer = asyncio.create_task(reader.readline())  # while it is sending, as curl does
        sent = 0
        with contextlib.suppress(OSError):
            while sent < 400 and not writer.is_closing():
                writer.write(b"100000\r\n" + bytes(1 << 20) + b"\r\n")
                await writer.drain()
                sent += 1
        head = await answer
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        return head, sent

    with run_dyno(image) as dyno, dyno.watched() as memory:
        before = dyno.memory_used()
        head, sent = asyncio.run(send(dyno))
        again = asyncio.run(load(dyno.port, [jpeg], for_seconds(0.2), clients=1))
    FIGURES["megabytes of an endless body that were taken"] = sent

    assert b" 413 " in head
    assert sent < 150
    assert memory.peak - before < 100e6
    assert set(again.outcomes) == {200}
