"""An https site of this machine's own, and a trap that nothing may connect to."""

import asyncio
import contextlib
import functools
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]

NAME: Final = "pictures.example"
"""The name in the site's certificate."""

# An authority of the tests' own, whose key was thrown away, and a certificate that it signed; both
# made with `openssl ca -startdate 20200101000000Z -enddate 22200101000000Z`.
_CERTIFICATES: Final = Path(__file__).with_name("certificates")
AUTHORITY: Final = _CERTIFICATES / "authority.pem"


@dataclass
class Site:
    """A running site.

    Attributes:
        port: where it listens.
        heads: the requests, without bodies.
        peak: the most requests that it was answering at once.
    """

    port: int = 0
    heads: list[str] = field(default_factory=list)
    peak: int = 0
    _now: int = 0

    async def serve(
        self, answer: Answer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Answer one connection's only request."""
        self._now += 1
        self.peak = max(self.peak, self._now)
        try:
            self.heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
            await answer(writer)
            await writer.drain()
        except (OSError, EOFError, asyncio.CancelledError):
            pass  # the client left, or the test is over
        finally:
            self._now -= 1
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


@asynccontextmanager
async def site(
    answer: Answer, *, tls: bool = True, where: tuple[str, int] = ("127.0.0.1", 0)
) -> AsyncIterator[Site]:
    """Run a site that answers every request with a function, at an address and a port."""
    running = Site()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await running.serve(answer, reader, writer)

    context = None
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(_CERTIFICATES / "site.pem")
    server = await asyncio.start_server(serve, *where, ssl=context, backlog=1024)
    async with server:
        running.port = server.sockets[0].getsockname()[1]
        yield running


@functools.cache
def trusting() -> ssl.SSLContext:
    """Trust the site's authority and no other."""
    return ssl.create_default_context(cafile=AUTHORITY)


def raw(data: bytes) -> Answer:
    """Answer with these bytes, as they are, and hang up."""

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(data)

    return answer


def ok(body: bytes, *headers: str) -> Answer:
    """Answer 200 with a body."""
    lines = ["HTTP/1.1 200 OK", f"Content-Length: {len(body)}", *headers, "", ""]
    return raw("\r\n".join(lines).encode() + body)


@dataclass
class Trap:
    """A port of 127.0.0.1 and, where there is IPv6, of ::1."""

    port: int
    sockets: list[socket.socket]

    def caught(self) -> int:
        """Count the connections that were made since the last time."""
        return sum(_accepted(one) for one in self.sockets)


@contextmanager
def trap() -> Iterator[Trap]:
    """Listen, without blocking and without an answer."""
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        port = first.getsockname()[1]
        sockets = [first]
        with contextlib.suppress(OSError):
            sixth = socket.create_server(("::1", port), family=socket.AF_INET6)
            sockets.append(stack.enter_context(sixth))
        for one in sockets:
            one.setblocking(False)
        yield Trap(port, sockets)


def _accepted(listener: socket.socket) -> int:
    count = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            listener.accept()[0].close()
            count += 1
    return count
