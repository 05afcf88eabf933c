"""Which addresses a stranger may have us fetch: public ones, by name, over https.

Knows nothing of HTTP.
"""

import ipaddress
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from yarl import URL

from antbee.errors import RequestError

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
Endpoint = tuple[str, int]
"""An address in digits, and a port."""

HTTPS: Final = 443
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


@dataclass(frozen=True)
class Target:
    """What to fetch: a host's name, and the whole address."""

    host: str
    url: URL


def parse(url: str) -> Target:
    """Take an address apart.

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
    return Target(match["host"], URL(f"https://{match['host']}{encoded}", encoded=True))


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
