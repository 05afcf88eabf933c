"""A picture from an address that a stranger chose, and nothing from inside our own network.

A name is resolved once, everything it stands for must be public, and the connection goes to those
addresses and no others, so a name that answers differently a moment later gains nothing. Redirects
are not followed, and nothing in the environment sends the request elsewhere. This is what OWASP's
Server-Side Request Forgery Prevention Cheat Sheet asks for; aiohttp takes the addresses through its
own interface for resolvers and still checks the certificate for the name.

Knows nothing of pictures.
"""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from antbee.errors import RequestError
from antbee.serving.address import Endpoint, IPAddress, Target, is_public, look_up, parse

_HEADERS: Final = {
    "Accept": "image/*",
    "Accept-Encoding": "identity",
    "User-Agent": "antbee",
}
_UNHURRIED: Final = aiohttp.ClientTimeout(total=None)
"""No limit of aiohttp's own: ours covers more than it can see."""

_OTHERWISE: Final = "or send the picture itself"


class Downloader:
    """Downloads pictures, a few at once.

    Args:
        limit: how many at once; others wait.
        timeout: seconds that one may take, its waiting and the look-up of its name included.
        max_bytes: the largest file.
        resolve: all addresses of a name; called in a thread of its own, once a download.
        public: whether an address may be connected to.
        tls: certificates to trust; by default the system's.
    """

    def __init__(
        self,
        limit: int,
        timeout: float,
        max_bytes: int,
        *,
        resolve: Callable[[str], Sequence[Endpoint]] = look_up,
        public: Callable[[IPAddress], bool] = is_public,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._timeout = timeout
        self._max_bytes = max_bytes
        self._resolve = resolve
        self._public = public
        self._tls = tls or ssl.create_default_context()
        self._slots = asyncio.Semaphore(limit)
        # Threads of its own: a name whose server never answers holds one for half a minute.
        self._threads = ThreadPoolExecutor(limit, thread_name_prefix="name")

    async def fetch(self, url: str) -> bytes:
        """Download the file at an address.

        Args:
            url: see `antbee.serving.address.parse`.

        Returns:
            At least one byte and at most `max_bytes`.

        Raises:
            RequestError: `url_not_allowed`, `download_failed` or `body_too_large`. The message
                names neither addresses nor what the name server said: whether a name is known
                inside our network is nobody's business.
        """
        target = parse(url)
        try:
            async with asyncio.timeout(self._timeout), self._slots:
                endpoints = await self._endpoints(target.host)
                async with self._open(target, endpoints) as response:
                    return await self._read(response)
        except TimeoutError as error:
            seconds = f"{self._timeout:g} seconds"
            raise _failed(f"nothing came, or not all of it, within {seconds}") from error
        except (aiohttp.ClientError, OSError, EOFError, ValueError) as error:
            raise _failed(_reason(error)) from error

    def close(self) -> None:
        """Let go of the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _endpoints(self, host: str) -> Sequence[Endpoint]:
        loop = asyncio.get_running_loop()
        try:
            found = await loop.run_in_executor(self._threads, self._resolve, host)
            addresses = [ipaddress.ip_address(address) for address, _ in found]
        except (OSError, ValueError):
            addresses = []
        if not addresses or not all(map(self._public, addresses)):
            message = f"its host has no public address: check the name, {_OTHERWISE}"
            raise RequestError("url_not_allowed", message)
        return found

    @asynccontextmanager
    async def _open(
        self, target: Target, endpoints: Sequence[Endpoint]
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        connector = aiohttp.TCPConnector(
            resolver=_Pinned(target.host, endpoints),
            ssl=self._tls,
            use_dns_cache=False,
            force_close=True,
        )
        # A session for each: no cookie and no connection outlives its download.
        async with (
            aiohttp.ClientSession(
                connector=connector,
                headers=_HEADERS,
                timeout=_UNHURRIED,
                auto_decompress=False,
                trust_env=False,
            ) as session,
            session.get(target.url, allow_redirects=False) as response,
        ):
            yield response

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        _check(response)
        if (response.content_length or 0) > self._max_bytes:
            raise self._too_large()
        chunks, size = [], 0
        async for chunk in response.content.iter_any():
            chunks.append(chunk)
            size += len(chunk)
            if size > self._max_bytes:
                raise self._too_large()
        if not size:
            raise _failed("the file there is empty")
        return b"".join(chunks)

    def _too_large(self) -> RequestError:
        megabytes = f"{self._max_bytes / 1e6:g} MB"
        message = f"the file at the address is larger than {megabytes}: send a smaller picture"
        return RequestError("body_too_large", message)


class _Pinned(AbstractResolver):
    """Answers for one name, with addresses that were checked."""

    def __init__(self, host: str, endpoints: Sequence[Endpoint]) -> None:
        self._host = host
        self._endpoints = endpoints

    async def resolve(
        self,
        host: str,
        port: int = 0,  # noqa: ARG002 - aiohttp's signature
        family: socket.AddressFamily = socket.AF_UNSPEC,  # noqa: ARG002 - likewise
    ) -> list[ResolveResult]:
        """Give the addresses in digits, which nothing resolves again."""
        if host != self._host:
            raise OSError("asked for a name that was not checked")
        return [_resolved(host, *endpoint) for endpoint in self._endpoints]

    async def close(self) -> None:
        """Nothing is held."""


def _resolved(host: str, address: str, port: int) -> ResolveResult:
    return ResolveResult(
        hostname=host,
        host=address,
        port=port,
        family=socket.AF_INET6 if ":" in address else socket.AF_INET,
        proto=socket.IPPROTO_TCP,
        flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
    )


def _check(response: aiohttp.ClientResponse) -> None:
    if 300 <= response.status < 400:  # noqa: PLR2004 - RFC 9110, section 15.4: redirection
        raise _failed("it leads on to another address: give that one")
    if response.status != 200:  # noqa: PLR2004 - OK
        raise _failed(f"the server there answered {response.status}")
    encodings = ",".join(response.headers.getall("Content-Encoding", [])).strip().lower()
    if encodings not in ("", "identity"):
        raise _failed("the file comes compressed, which a picture is already")


def _failed(reason: str) -> RequestError:
    return RequestError(
        "download_failed", f"{reason}: check that the address opens without a login, {_OTHERWISE}"
    )


def _reason(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return "the server's certificate is not trusted, or is not for this name"
    if isinstance(error, aiohttp.ClientConnectorError):
        return "there is no connection to the server"
    return "the server's answer broke off or is not HTTP"
