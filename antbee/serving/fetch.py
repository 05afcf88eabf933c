"""A picture from an address that a stranger chose, and nothing from inside our own network.

Only public addresses are fetched, by name, over https. A name is resolved once, everything it
stands for must be public, and the connection goes to those addresses and no others, so a name that
answers differently a moment later gains nothing. Redirects are not followed, and nothing in the
environment sends the request elsewhere. This is what OWASP's Server-Side Request Forgery Prevention
Cheat Sheet asks for; aiohttp takes the addresses through its own interface for resolvers and still
checks the certificate for the name.

Knows nothing of pictures.
"""

import asyncio
import ipaddress
import re
import socket
import ssl
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from antbee.errors import RequestError

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
Endpoint = tuple[str, int]
"""An address in digits, and a port."""

HTTPS: Final = 443
_OTHERWISE: Final = "or send the picture itself"
MAX_URL: Final = 8192
"""Characters; signed addresses of cloud storage have up to about two thousand."""

_NAME: Final = r"(?:(?!-)[a-z0-9-]{1,63}(?<!-)\.)+(?:xn--[a-z0-9-]{1,59}|[a-z]{2,63})"
"""A host's name in ASCII with a dot in it. A top level in letters, as RFC 1123 (section 2.1) has
it, is what tells a name from an address in decimal, octal or hexadecimal digits."""
_URL: Final = re.compile(
    rf"https://(?P<host>{_NAME})(?::{HTTPS})?(?P<rest>(?:[/?#][^\x00-\x20\x7f\ud800-\udfff]*)?)",
    re.ASCII | re.IGNORECASE,
)
_MAX_NAME: Final = 253
_PRINTABLE: Final = "".join(map(chr, range(0x21, 0x7F)))

_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
"""RFC 6052: an IPv4 address in the last 32 bits, for hosts that have IPv6 only."""
_UNICAST: Final = ipaddress.ip_network("2000::/3")
"""What IANA gives IPv6 addresses of the internet out from (RFC 4291, section 2.4). The old forms
of an IPv4 address lie outside, IPv4-mapped and IPv4-compatible, and so do site-local ones."""
_SPECIAL: Final = tuple(
    map(
        ipaddress.ip_network,
        ("192.0.0.0/24", "192.88.99.0/24", "2001::/23", "2002::/16", "3fff::/20"),
    )
)
"""Special-purpose addresses (RFC 6890) that Python before 3.12.4 calls global: protocols, among
them Teredo; 6to4, which has an IPv4 address inside, and its relays; documentation."""


def parse(url: str) -> tuple[str, URL]:
    """Take an address apart: its host's name, and the whole of it.

    Args:
        url: `https://`, a host's name, port 443 or none, and whatever follows. Other ports are
            refused, so that nobody tries doors through us.

    Raises:
        RequestError: `url_not_allowed`.
    """
    # One strict expression instead of a general parser: where two parsers disagree on where the
    # host ends, one would check a host and the other connect to another.
    match = _URL.fullmatch(url) if len(url) <= MAX_URL else None
    if match is None or len(match["host"]) > _MAX_NAME:
        raise RequestError(
            "url_not_allowed",
            "this address is not fetched: write it as https://example.com/picture.jpg, with a "
            "public host's name, no user and no port, or send the picture itself",
        )
    # What is encoded already stays as it is: signed addresses are signed as they are written.
    encoded = quote(match["rest"], safe=_PRINTABLE)
    return match["host"], URL(f"https://{match['host']}{encoded}", encoded=True)


def is_public(address: IPAddress) -> bool:
    """Tell whether an address belongs to the public internet, and to one host there.

    Not public are the special-purpose addresses of IANA's registries, multicast, IPv6 addresses
    with a zone, and every IPv6 form of an IPv4 address but one: NAT64's well-known prefix, the only
    way to IPv4 that some hosts have, counts as the address in it.
    """
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id:
            return False
        if address in _NAT64:
            return is_public(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
        if address not in _UNICAST:
            return False
    special = any(address in network for network in _SPECIAL)
    return address.is_global and not address.is_multicast and not special


def look_up(host: str) -> Sequence[Endpoint]:
    """Ask the system for all of a name's addresses; blocks for as long as that takes.

    Raises:
        OSError: there are none, or nobody answers.
    """
    # The dot at the end keeps the system from trying the name inside our own domain first.
    found = socket.getaddrinfo(f"{host}.", HTTPS, type=socket.SOCK_STREAM)
    return [(str(address[0]), int(address[1])) for *_, address in found]


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
        """Download the file at an address, see `parse`: at least one byte, at most `max_bytes`.

        Raises:
            RequestError: `url_not_allowed`, `download_failed` or `body_too_large`. The message
                names neither addresses nor what the name server said: whether a name is known
                inside our network is nobody's business.
        """
        host, address = parse(url)
        try:
            async with asyncio.timeout(self._timeout), self._slots:
                loop = asyncio.get_running_loop()
                try:
                    endpoints = await loop.run_in_executor(self._threads, self._resolve, host)
                    found = [ipaddress.ip_address(digits) for digits, _ in endpoints]
                except (OSError, ValueError):
                    found = []
                if not found or not all(map(self._public, found)):
                    message = f"its host has no public address: check the name, {_OTHERWISE}"
                    raise RequestError("url_not_allowed", message)
                return await self._download(address, host, endpoints)
        except TimeoutError as error:
            seconds = f"{self._timeout:g} seconds"
            raise _failed(f"nothing came, or not all of it, within {seconds}") from error
        except aiohttp.ClientConnectorCertificateError as error:
            reason = "the server's certificate is not trusted, or is not for this name"
            raise _failed(reason) from error
        except aiohttp.ClientConnectorError as error:
            raise _failed("there is no connection to the server") from error
        except (aiohttp.ClientError, OSError, EOFError, ValueError) as error:
            raise _failed("the server's answer broke off or is not HTTP") from error

    def close(self) -> None:
        """Let go of the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _download(self, address: URL, host: str, endpoints: Sequence[Endpoint]) -> bytes:
        connector = aiohttp.TCPConnector(
            resolver=PinnedResolver(host, endpoints),
            ssl=self._tls,
            use_dns_cache=False,
            force_close=True,
        )
        # A session for each: no cookie and no connection outlives its download.
        async with (
            aiohttp.ClientSession(
                connector=connector,
                headers={
                    "Accept": "image/*",
                    "Accept-Encoding": "identity",
                    "User-Agent": "antbee",
                },
                timeout=aiohttp.ClientTimeout(total=None),  # ours covers more than it can see
                auto_decompress=False,
                trust_env=False,
            ) as session,
            session.get(address, allow_redirects=False) as response,
        ):
            if 300 <= response.status < 400:  # noqa: PLR2004 - RFC 9110, section 15.4: redirection
                raise _failed("it leads on to another address: give that one")
            if response.status != 200:  # noqa: PLR2004 - OK
                raise _failed(f"the server there answered {response.status}")
            encodings = ",".join(response.headers.getall("Content-Encoding", [])).strip().lower()
            if encodings not in ("", "identity"):
                raise _failed("the file comes compressed, which a picture is already")
            megabytes = f"{self._max_bytes / 1e6:g} MB"
            too_large = RequestError(
                "body_too_large",
                f"the file at the address is larger than {megabytes}: send a smaller picture",
            )
            if (response.content_length or 0) > self._max_bytes:
                raise too_large
            chunks, size = [], 0
            async for chunk in response.content.iter_any():
                chunks.append(chunk)
                size += len(chunk)
                if size > self._max_bytes:
                    raise too_large
        if not size:
            raise _failed("the file there is empty")
        return b"".join(chunks)


@dataclass
class PinnedResolver(AbstractResolver):
    """Answers for one name, with addresses that were checked."""

    host: str
    endpoints: Sequence[Endpoint]

    async def resolve(
        self,
        host: str,
        port: int = 0,  # noqa: ARG002 - aiohttp's signature
        family: socket.AddressFamily = socket.AF_UNSPEC,  # noqa: ARG002 - likewise
    ) -> list[ResolveResult]:
        """Give the addresses in digits, which nothing resolves again."""
        if host != self.host:
            raise OSError("asked for a name that was not checked")
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for address, port in self.endpoints
        ]

    async def close(self) -> None:
        """There is nothing to let go of."""


def _failed(reason: str) -> RequestError:
    return RequestError(
        "download_failed", f"{reason}: check that the address opens without a login, {_OTHERWISE}"
    )
