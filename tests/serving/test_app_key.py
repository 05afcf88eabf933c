"""The server's key."""

import asyncio

import httpx
import pytest
from starlette.types import Message

from antbee.serving.app import KeyCheck
from antbee.serving.observe import Metrics
from antbee.serving.settings import Settings
from tests.serving.test_app import ORIGIN, ask_app, build

KEY = "s3cret-key"
NEW = "an0ther-key"
LOCKED = Settings(api_key=(KEY, NEW), cors_origins=(ORIGIN,))


def ask(path: str, authorization: str | None = None, **headers: str) -> httpx.Response:
    """Ask a server that has a key."""
    if authorization is not None:
        headers["Authorization"] = authorization
    return ask_app(build(Metrics(), settings=LOCKED), path, **headers)


@pytest.mark.parametrize(
    "given", [f"Bearer {KEY}", f"bearer {KEY}", f"BEARER   {KEY}", f"Bearer {NEW}"]
)
def test_right_key_is_let_in(given: str) -> None:
    """The key opens every address; how the scheme is written makes no difference (RFC 9110)."""
    assert ask("/hello", given).text == "hello"


@pytest.mark.parametrize(
    "given",
    [None, "", "Bearer", "Bearer ", KEY, f"Basic {KEY}", f"Bearer {KEY}x", f"Bearer {KEY[:-1]}",
     f"Bearer {KEY.upper()}", f"Bearer {KEY} {KEY}", f"Bearer\t{KEY}", f"Bearer {KEY},{NEW}",
     "Bearer ,"],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/hello", "/schema.json", "/nothing", "/livez/"])
def test_wrong_key_is_refused(path: str, given: str | None) -> None:
    """Without the key nobody learns even which addresses there are, and is told what to send."""
    answer = ask(path, given)

    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthorized")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert "Authorization: Bearer" in answer.json()["error"]["message"]
    assert KEY not in answer.text


@pytest.mark.parametrize("path", ["/", "/livez"])
def test_page_and_probes_need_no_key(path: str) -> None:
    """Whoever looks whether the server lives, and the page that asks for the key, need none."""
    assert ask(path).status_code == 200


def test_upload_is_refused_unread() -> None:
    """A wrong key is answered before any of the body has been asked for."""
    sent: list[Message] = []

    async def answer(*_: object) -> None:
        pytest.fail("it was let in")

    async def receive() -> Message:
        pytest.fail("the body was read")

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/predict", "headers": []}
    asyncio.run(KeyCheck(answer, [KEY.encode()], (), Metrics())(scope, receive, send))

    assert sent[0]["status"] == 401


@pytest.mark.parametrize("path", ["/mine", "/livez"])
def test_web_socket_needs_a_key_everywhere(path: str) -> None:
    """A web socket that somebody mounts is closed to strangers, before it is accepted."""
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    app = build(Metrics(), settings=LOCKED)
    asyncio.run(app({"type": "websocket", "path": path, "headers": []}, receive, send))

    assert [message["type"] for message in sent] == ["websocket.close"]


def test_refusals_are_counted() -> None:
    """The metrics tell how often somebody came without the key."""
    metrics = Metrics()
    ask_app(build(metrics, settings=LOCKED), "/hello")

    assert 'antbee_rejections_total{code="unauthorized"} 1.0' in metrics.exposition().decode()


def test_browser_asks_without_a_key() -> None:
    """A browser's question before another origin's request carries no key, and is answered."""
    headers = {
        "Origin": ORIGIN,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization, content-type",
    }
    answer = ask_app(build(Metrics(), settings=LOCKED), "/hello", "OPTIONS", **headers)

    assert answer.status_code == 200
    assert "Authorization" in answer.headers["access-control-allow-headers"]


def test_refusal_can_be_read_by_a_page() -> None:
    """A page of an allowed origin can read that it needs a key."""
    assert ask("/hello", Origin=ORIGIN).headers["access-control-allow-origin"] == ORIGIN
