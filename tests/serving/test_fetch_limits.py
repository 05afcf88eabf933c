"""Downloading what is too large, too slow or too much at once."""

import asyncio
import gzip
import time
from collections.abc import Sequence

import pytest

from antbee.errors import RequestError
from antbee.serving.fetch import Endpoint
from tests.serving.downloads import URL, downloader, refusal, visit
from tests.serving.site import Answer, Site, ok, raw

pytestmark = pytest.mark.usefixtures("no_network")


def test_compressed_answers_are_not_unpacked() -> None:
    """A small answer that would unpack to a huge one is refused as it is."""
    bomb = gzip.compress(bytes(20_000_000))
    error = refusal(ok(bomb, "Content-Encoding: gzip"), max_bytes=10_000_000)

    assert error.code == "download_failed"
    assert "compressed" in str(error)


@pytest.mark.parametrize("head", ["", f"Content-Length: {10**12}\r\n"])
def test_endless_files_are_cut_off(head: str) -> None:
    """A file larger than allowed is refused as soon as that is known, whatever is announced."""
    sent = 0

    async def pour(writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(f"HTTP/1.1 200 OK\r\n{head}\r\n".encode())
        while True:
            writer.write(bytes(10_000))
            await writer.drain()
            sent += 10_000

    error = refusal(pour)

    assert (error.code, error.status) == ("body_too_large", 413)
    assert "larger than 0.1 MB" in str(error)
    assert sent < 20_000_000  # what the buffers between the two take in


def test_announced_files_are_not_waited_for() -> None:
    """A length that is too large is an answer before the first byte of the file."""
    head = raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100001\r\n\r\n")

    async def answer(writer: asyncio.StreamWriter) -> None:
        await head(writer)
        await writer.drain()
        await silence(writer)

    assert refusal(answer, timeout=3).code == "body_too_large"


def drip(head: bytes) -> Answer:
    """Answer with a head and then, for ever, one more byte."""

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        while True:
            writer.write(b"a")
            await writer.drain()
            await asyncio.sleep(0.01)

    return answer


async def silence(_: asyncio.StreamWriter) -> None:
    """Never answer."""
    await asyncio.sleep(5)


SLOW = {
    "silence": silence,
    "head": drip(b"HTTP/1.1 200 OK\r\nX: "),
    "body": drip(b"HTTP/1.1 200 OK\r\n\r\n"),
}


@pytest.mark.parametrize("what", SLOW)
def test_slow_sites_are_given_up(what: str) -> None:
    """A site that always sends one more byte gets no more time than the whole may take."""
    start = time.monotonic()
    error = refusal(SLOW[what], timeout=0.4)

    assert error.code == "download_failed"
    assert "within 0.4 seconds" in str(error)
    assert time.monotonic() - start < 20


def test_slow_name_servers_are_given_up() -> None:
    """The look-up of the name counts, too."""

    def slow(_: str) -> Sequence[Endpoint]:
        time.sleep(1.5)
        return [("127.0.0.1", 1)]

    async def timed() -> float:
        start = time.monotonic()
        with pytest.raises(RequestError, match=r"within 0\.1 seconds"):
            await downloader(1, timeout=0.1, resolve=slow).fetch(URL)
        return time.monotonic() - start

    assert asyncio.run(timed()) < 1.2


def test_a_thousand_at_once() -> None:
    """Of any number of downloads only so many run at once, and all of them end well."""
    got: list[bytes] = []

    async def scenario(running: Site) -> None:
        ours = downloader(running.port, limit=5, timeout=120)
        got.extend(await asyncio.gather(*(ours.fetch(URL) for _ in range(1000))))

    async def answer(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.002)
        await ok(b"ant")(writer)

    visited = visit(answer, scenario)

    assert got == [b"ant"] * 1000
    assert visited.peak == 5


def test_whoever_waits_does_not_wait_for_ever() -> None:
    """The time in the queue counts: behind a slow site everybody is answered in time."""

    async def scenario(running: Site) -> None:
        ours = downloader(running.port, limit=2, timeout=0.5)
        fetched = (ours.fetch(URL) for _ in range(100))
        start = time.monotonic()
        answers = await asyncio.gather(*fetched, return_exceptions=True)
        assert time.monotonic() - start < 15  # one after another they take 25
        assert {getattr(one, "code", None) for one in answers} == {"download_failed"}

    visit(SLOW["head"], scenario)


def test_a_caller_that_leaves_makes_room() -> None:
    """A download that is cancelled leaves its place to the next."""

    async def scenario(running: Site) -> None:
        ours = downloader(running.port, limit=1)
        leaving = asyncio.create_task(ours.fetch(URL))
        while not running.heads:
            await asyncio.sleep(0.01)
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        assert await ours.fetch(URL) == b"ant"

    turns = iter([SLOW["head"], ok(b"ant")])

    async def answer(writer: asyncio.StreamWriter) -> None:
        await next(turns)(writer)

    visit(answer, scenario)


def test_closed_downloader_has_no_threads() -> None:
    """Closing lets go of the threads, and what comes later is not run."""
    ours = downloader(1)
    ours.close()

    with pytest.raises(RuntimeError):
        asyncio.run(ours.fetch(URL))
