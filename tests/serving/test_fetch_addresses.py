"""Which addresses are fetched: what is refused, and that nothing is connected to for it."""

# ruff: noqa: RUF001, S104 - hosts and addresses that must be refused, in every notation

import asyncio
import ipaddress
import socket
from collections.abc import Sequence

import httpx
import pytest

from antbee.errors import RequestError
from antbee.serving.fetch import Downloader, Endpoint, is_public, look_up
from tests.conftest import KEY, Server
from tests.serving.site import NAME, Trap, trusting

pytestmark = pytest.mark.usefixtures("no_network")

URL = f"https://{NAME}/ant.jpg"


def refused(url: str, *endpoints: Endpoint) -> RequestError:
    """Ask the downloader as the server has it, whose names stand for `endpoints`."""
    ours = Downloader(5, 5, 1000, resolve=lambda _: endpoints, tls=trusting())
    with pytest.raises(RequestError) as caught:
        asyncio.run(ours.fetch(url))
    return caught.value


HOSTS = [
    "127.0.0.1", "127.1", "127.0.0.1.", "2130706433", "0177.0.0.1", "017700000001", "0x7f000001",
    "0x7f.0.0.1", "0x7f.1", "127.0.0.0x1", "0", "0.0.0.0", "10.0.0.1", "169.254.169.254", "8.8.8.8",
    "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "[64:ff9b::7f00:1]",
    "[2002:7f00:1::]", "[fe80::1]", "[fe80::1%25lo]", "[fe80::1%lo]", "[2606:4700::1111]", "[v1.a]",
    "::1", "localhost", "LOCALHOST", "localhost.", "metadata", "ant.jpg.", f"{NAME}.", "", ".",
    ".example", "a..example", "-a.example", "a-.example", "a_b.example", f"{'a' * 64}.example",
    "a." * 127 + "example", "bücher.example", "pictures。example", "１２７.0.0.1", "127。0。0。1",
    "ⓔxample.com", "exam\u00adple.com", "Kelvin.example".replace("K", "\u212a"), "a.example%00",
    "a.example\\", "a.example\\@b.example", "a b.example", "a.example\t", "a%2eexample", "a.123",
    f"user@{NAME}", f"user:secret@{NAME}", f"@{NAME}", f"127.0.0.1#@{NAME}", f"{NAME}:80@127.0.0.1",
]  # fmt: skip


@pytest.mark.parametrize("host", HOSTS)
def test_only_a_public_name_is_a_host(trap: Trap, host: str) -> None:
    """Addresses in whatever notation, users, and names that are none are refused unasked."""
    for url in (f"https://{host}/ant.jpg", f"https://{host}:{trap.port}/ant.jpg"):
        error = refused(url, ("127.0.0.1", trap.port))
        assert (error.code, error.status) == ("url_not_allowed", 400)
        assert "write it as https://example.com/picture.jpg" in str(error)
    assert trap.caught() == 0


@pytest.mark.parametrize(
    "url",
    [
        "", "/", "ant.jpg", "https:", "https:/", "https://", "https:///ant.jpg", f"https:{NAME}",
        f"https:/{NAME}/", f"https:\\\\{NAME}", f"//{NAME}/", f"{NAME}/ant.jpg", f"http://{NAME}/",
        f"ftp://{NAME}/", f"ws://{NAME}/", "file:///etc/passwd", "data:image/png;base64,AAAA",
        f" {URL}", f"{URL} ", f"{URL}\n", f"{URL}\r\nHost: a", f"{URL}\x00", f"{URL}\x7f",
        f"https://{NAME}:80/", f"https://{NAME}:0443/", f"https://{NAME}:8443/", f"https://{NAME}:",
        f"https://{NAME}:443443/", f"https://{NAME}:４４３/", f"https://{NAME};/", f"ｈttps://{NAME}",
        f"httpſ://{NAME}/", f"{URL}\ud800", f"{URL}?{'a' * 8192}",
    ],
)  # fmt: skip
def test_only_https_on_its_own_port_is_an_address(trap: Trap, url: str) -> None:
    """Other schemes and ports, control characters and endless addresses are refused unasked."""
    error = refused(url, ("127.0.0.1", trap.port))

    assert error.code == "url_not_allowed"
    assert "write it as https://example.com/picture.jpg" in str(error)
    assert trap.caught() == 0


INTERNAL = [
    "127.0.0.1", "127.255.255.254", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1",
    "169.254.169.254", "100.64.0.1", "100.100.100.200", "192.0.0.192", "192.0.2.1", "198.18.0.1",
    "192.88.99.1", "3fff::1", "2001:1ff::1", "5f00::1",
    "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255", "::", "::1", "::ffff:127.0.0.1",
    "::ffff:8.8.8.8", "::ffff:0:127.0.0.1", "::127.0.0.1", "::8.8.8.8", "64:ff9b::127.0.0.1",
    "64:ff9b::169.254.169.254", "64:ff9b::ffff:ffff", "64:ff9b:1::7f00:1", "100::1", "2001::1",
    "2001:0:7f00:1:0:fefe:f5ff:fffe", "2001:db8::1", "2002:7f00:1::", "2002:808:808::1",
    "4000::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%lo", "2606:4700::1111%lo",
    "fec0::1", "ff02::1", "ff0e::1", "ff05::1:3",
]  # fmt: skip


@pytest.mark.parametrize("address", INTERNAL)
def test_names_for_what_is_not_public_are_refused(trap: Trap, address: str) -> None:
    """Whatever form an address has, a name that stands for no public one is not connected to."""
    error = refused(URL, (address, trap.port))

    assert not is_public(ipaddress.ip_address(address))
    assert error.code == "url_not_allowed"
    assert address not in str(error)
    assert trap.caught() == 0


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "93.184.215.14", "2606:4700::1111", "2a00:1450:4001::200e", "64:ff9b::8.8.8.8"],
)
def test_public_addresses(address: str) -> None:
    """Unicast addresses that the internet routes are public, and so they are through NAT64."""
    assert is_public(ipaddress.ip_address(address))


def test_one_internal_address_spoils_the_name(trap: Trap) -> None:
    """A name that stands for public and internal addresses is refused whole."""
    error = refused(URL, ("8.8.8.8", 443), ("127.0.0.1", trap.port))

    assert error.code == "url_not_allowed"
    assert trap.caught() == 0


def test_nobody_learns_what_names_exist_inside(trap: Trap) -> None:
    """A name that nobody knows and one that stands for an internal address are answered alike."""

    def unknown(_: str) -> Sequence[Endpoint]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    with pytest.raises(RequestError) as caught:
        asyncio.run(Downloader(5, 5, 1000, resolve=unknown).fetch(URL))
    inside = refused(URL, ("127.0.0.1", trap.port))

    assert (caught.value.code, str(caught.value)) == (inside.code, str(inside))
    assert str(refused(URL)) == str(inside)


def test_names_are_looked_up_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system gives all addresses, of the very name and not of one in our own domain."""
    asked = []

    def getaddrinfo(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        asked.append((host, port))
        stream = socket.SOCK_STREAM
        return [
            (socket.AF_INET6, stream, 6, "", ("2606:4700::1111", 443, 0, 0)),
            (socket.AF_INET, stream, 6, "", ("8.8.8.8", 443)),
        ]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    assert look_up(NAME) == [("2606:4700::1111", 443), ("8.8.8.8", 443)]
    assert asked == [(f"{NAME}.", 443)]


def test_a_server_that_fetches_reaches_nothing_inside(guarded: Server, trap: Trap) -> None:
    """A real server that may fetch refuses what is not public, with a message that says how."""
    hosts = ("127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1")
    answers = [
        httpx.post(
            f"{guarded.url}/predict",
            json={"url": f"https://{host}:{trap.port}/"},
            headers={"Authorization": f"Bearer {KEY}"},
        )
        for host in hosts
    ]

    errors = [(one.status_code, one.json()["error"]) for one in answers]
    assert {(status, error["code"]) for status, error in errors} == {(400, "url_not_allowed")}
    assert all("write it as https://" in error["message"] for _, error in errors)
    assert trap.caught() == 0
