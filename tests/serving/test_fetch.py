"""Downloading what a stranger names: what arrives, what is refused, and what is never reached."""

import asyncio
import itertools
import ssl
from collections.abc import Sequence

import pytest

from antbee.errors import RequestError
from antbee.serving.fetch import Endpoint, PinnedResolver
from tests.serving.downloads import LIMIT, URL, downloader, fetch, refusal, visit
from tests.serving.site import NAME, Site, Trap, ok, raw, trap

pytestmark = pytest.mark.usefixtures("no_network")


def test_a_file_arrives() -> None:
    """What the site sends is what the caller gets, up to the last allowed byte."""
    body = bytes(range(250)) * (LIMIT // 250)

    assert fetch(ok(body)) == body
    assert fetch(raw(b"HTTP/1.1 200 OK\r\n\r\n" + body)) == body
    assert fetch(raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nant\r\n0\r\n\r\n"))


def test_the_request_is_plain() -> None:
    """The site learns the name that it was called by, and nothing else of anybody."""

    async def twice(running: Site) -> None:
        ours = downloader(running.port)
        for _ in range(2):
            await ours.fetch(f"https://{NAME}:443/ant.jpg?size=1#part")

    first, second = visit(ok(b"ant", "Set-Cookie: who=you"), twice).heads

    assert first.splitlines()[0] == "GET /ant.jpg?size=1 HTTP/1.1"
    assert sorted(line.lower() for line in first.splitlines()[1:-1]) == [
        "accept-encoding: identity",
        "accept: image/*",
        "connection: close",
        f"host: {NAME}",
        "user-agent: antbee",
    ]
    assert second == first


@pytest.mark.parametrize(
    ("written", "asked"),
    [
        (f"HTTPS://{NAME.upper()}", "/"),
        (f"https://{NAME}?a=1", "/?a=1"),
        (f"https://{NAME}#part", "/"),
        (f"https://{NAME}/a%2Fb%41/../c?sign=%7E~a+b&c='(x)'", None),
        (f"https://{NAME}/@:8080//x@y", None),
        (f"https://{NAME}/bärchen 🐜.jpg".replace(" ", ""), "/b%C3%A4rchen%F0%9F%90%9C.jpg"),
    ],
)
def test_an_address_is_asked_for_as_it_is_written(written: str, asked: str | None) -> None:
    """Signed addresses stay as they were signed; only what HTTP cannot carry is encoded."""

    async def once(running: Site) -> None:
        await downloader(running.port).fetch(written)

    (head,) = visit(ok(b"ant"), once).heads

    assert head.split()[1] == (asked or written.partition(NAME)[2])


def test_the_trap_works(trap: Trap) -> None:
    """The listener that no refused address reaches is reached where everything is allowed."""
    with pytest.raises(RequestError) as caught:
        asyncio.run(downloader(trap.port, timeout=0.5).fetch(URL))

    assert caught.value.code == "download_failed"
    assert trap.caught() == 1


def test_a_name_is_resolved_once(trap: Trap) -> None:
    """A name that changes its mind after the check gains nothing by it."""
    asked: list[str] = []

    async def scenario(running: Site) -> None:
        answers = itertools.chain([[("127.0.0.1", running.port)]], itertools.repeat(inside))

        def resolve(host: str) -> Sequence[Endpoint]:
            asked.append(host)
            return next(answers)

        ours = downloader(running.port, resolve=resolve)
        assert await ours.fetch(URL) == b"ant"
        assert asked == [NAME]
        with pytest.raises(RequestError, match="no public address"):
            await ours.fetch(URL)

    inside = [("10.0.0.1", trap.port), ("127.0.0.1", trap.port)]
    visit(ok(b"ant"), scenario)

    assert trap.caught() == 0


def test_no_other_name_is_answered_for() -> None:
    """Whatever else the HTTP library might ask for, it gets the addresses of no other name."""
    # No request leads here: this is what holds if one ever did.
    pinned = PinnedResolver(NAME, [("127.0.0.1", 443)])

    with pytest.raises(OSError, match="not checked"):
        asyncio.run(pinned.resolve("other.example"))


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(trap: Trap, status: int) -> None:
    """An address that leads on is refused, wherever it leads."""
    target = f"https://127.0.0.1:{trap.port}/"
    error = refusal(raw(f"HTTP/1.1 {status} X\r\nLocation: {target}\r\n\r\n".encode()))

    assert error.code == "download_failed"
    assert "leads on" in str(error)
    assert trap.caught() == 0


def test_the_environment_changes_nothing(trap: Trap, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy in the environment, which would resolve the name itself, is not asked."""
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{trap.port}")

    assert fetch(ok(b"ant")) == b"ant"
    assert trap.caught() == 0


def test_the_certificate_must_be_for_the_name() -> None:
    """A site with another's certificate, or one that nobody vouches for, is not asked anything."""
    stranger = refusal(ok(b"ant"), "https://other.example/ant.jpg")
    unknown = refusal(ok(b"ant"), tls=ssl.create_default_context())

    assert stranger.code == unknown.code == "download_failed"
    assert "certificate" in str(stranger)
    assert "certificate" in str(unknown)


def test_without_tls_there_is_no_answer() -> None:
    """A site that speaks plain HTTP is not listened to."""

    async def scenario(running: Site) -> None:
        with pytest.raises(RequestError) as caught:
            await downloader(running.port, timeout=0.5).fetch(URL)
        assert caught.value.code == "download_failed"

    assert visit(ok(b"ant"), scenario, tls=False).heads == []


def test_a_closed_port_names_no_address() -> None:
    """Where nothing listens, the answer says so, and not where that is."""
    with trap() as gone:
        port = gone.port
    with pytest.raises(RequestError) as caught:
        asyncio.run(downloader(port).fetch(URL))

    assert caught.value.code == "download_failed"
    assert "no connection" in str(caught.value)
    assert "127.0.0.1" not in str(caught.value)


BROKEN = {
    "nothing": b"",
    "no HTTP": b"ant\r\n\r\n",
    "half a head": b"HTTP/1.1 200 OK\r\nContent-Le",
    "cut short": b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nant",
    "cut chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nant",
    "bad chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\nant",
    "bad length": b"HTTP/1.1 200 OK\r\nContent-Length: -3\r\n\r\nant",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nant",
    "bad header": b"HTTP/1.1 200 OK\r\nContent-Type : \x00\r\n\r\nant",
    "long header": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 20_000 + b"\r\n\r\nant",
    "many headers": b"HTTP/1.1 200 OK\r\n" + b"X: x\r\n" * 20_000 + b"\r\nant",
    "long reason": b"HTTP/1.1 200 " + b"x" * 20_000 + b"\r\n\r\nant",
    "empty": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "no content": b"HTTP/1.1 204 No Content\r\n\r\n",
    "a part": b"HTTP/1.1 206 Partial Content\r\nContent-Length: 3\r\n\r\nant",
    "not found": b"HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\nant",
    "error": b"HTTP/1.1 500 Oh\r\nContent-Length: 3\r\n\r\nant",
    "switching": b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nant",
    "compressed": b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 3\r\n\r\nant",
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_answer_is_a_failed_download(what: str) -> None:
    """Whatever a site does, the client is told, with what to do about it."""
    error = refusal(raw(BROKEN[what]))

    assert error.code == "download_failed"
    assert str(error).endswith(
        "check that the address opens without a login, or send the picture itself"
    )
