"""Our routes in front of BentoML's application."""

import asyncio
import json
import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Message

from antbee.serving.api import Api
from antbee.serving.app import create_app
from antbee.serving.observe import JsonLines, Metrics
from antbee.serving.settings import Settings

SETTINGS = Settings(max_body_mb=0.001)
ORIGIN = "https://pages.example"


async def hello(_: Request) -> Response:
    """Answer well."""
    return PlainTextResponse("hello")


async def broken(_: Request) -> Response:
    """Fail as only a bug does."""
    raise KeyError("secret")


def build(
    metrics: Metrics, bentoml_app: Starlette | None = None, settings: Settings = SETTINGS
) -> Starlette:
    """Build an application with two routes of ours, and a page."""
    ours = [Route("/hello", hello), Route("/broken", broken), Route("/livez", hello)]
    theirs = [
        *(Route(path, broken) for path in ("/", "/hello", "/livez")),
        *(Route(path, hello) for path in ("/predict", "/schema.json")),
    ]
    app = bentoml_app or Starlette(routes=theirs)
    return create_app(app, no_service, [Route("/", hello)], metrics, settings, ours)


def no_service() -> Api:
    """Fail where a route asks for a service that these tests have not."""
    pytest.fail("no service")


def ask(path: str, method: str = "GET", **headers: str) -> httpx.Response:
    """Send one request."""
    return ask_app(build(Metrics()), path, method, **headers)


def ask_app(app: Starlette, path: str, method: str = "GET", **headers: str) -> httpx.Response:
    """Send one request to an application."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)

    async def send() -> httpx.Response:
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.request(method, path, headers=headers)

    return asyncio.run(send())


@pytest.mark.parametrize("path", ["/", "/predict", "/schema.json"])
def test_what_is_not_ours_is_bentomls(path: str) -> None:
    """The page takes the place of BentoML's; what we have not is passed on."""
    assert ask(path).text == "hello"


@pytest.mark.parametrize("path", ["/readyz", "/predict/submit", "/hello/", "/livez/", "/hello//"])
def test_unknown_addresses_are_ours(path: str) -> None:
    """What nobody has is our 404, also what only looks like an address of ours."""
    answer = ask(path)

    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


@pytest.mark.parametrize("path", ["/hello", "/predict"])
def test_wrong_method_says_which_are_right(path: str) -> None:
    """A 405 is a JSON object and keeps its Allow header, BentoML's too."""
    answer = ask(path, "POST")

    assert (answer.status_code, answer.json()["error"]["code"]) == (405, "method_not_allowed")
    assert "GET" in answer.headers["allow"]


def test_a_bug_is_answered_without_its_details() -> None:
    """What only a bug can raise becomes a 500 of our shape that tells nothing of the inside."""
    answer = ask("/broken")

    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal_error")
    assert "secret" not in answer.text


def test_life_cycle_is_bentomls() -> None:
    """Starting and stopping the application starts and stops BentoML's."""
    events = []

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        events.append("started")
        yield
        events.append("stopped")

    async def live() -> None:
        messages = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])

        async def receive() -> Message:
            return next(messages)

        async def send(message: Message) -> None:
            events.append(message["type"])

        await build(Metrics(), Starlette(lifespan=lifespan))({"type": "lifespan"}, receive, send)

    asyncio.run(live())

    expected = ["started", "lifespan.startup.complete", "stopped", "lifespan.shutdown.complete"]
    assert events == expected


@pytest.mark.parametrize("sent", ["abc-1.2:3/+=", "a" * 128])
def test_sane_request_id_is_kept(sent: str) -> None:
    """A request's own id comes back."""
    assert ask("/hello", **{"X-Request-ID": sent}).headers["x-request-id"] == sent


@pytest.mark.parametrize("sent", ["", "two words", "a" * 129, "<b>", 'x"y'])
def test_odd_request_id_is_replaced(sent: str) -> None:
    """An id that could forge or flood a log is replaced by one of ours."""
    answer = ask("/hello", **{"X-Request-ID": sent})

    assert len(answer.headers["x-request-id"]) == 16


def test_one_line_a_request(caplog: pytest.LogCaptureFixture) -> None:
    """The access log has one line a request: method, path, status, bytes, id, milliseconds."""
    with caplog.at_level(logging.INFO, "antbee.access"):
        ask("/hello", **{"X-Request-ID": "me"})
        ask("/a%0Ab")

    first, second = (record.getMessage() for record in caplog.records)
    assert first.startswith("127.0.0.1 GET /hello 200 5B id=me ")
    assert first.endswith("ms")
    assert second.startswith("127.0.0.1 GET /a%0Ab 404 ")


def test_access_log_in_json(caplog: pytest.LogCaptureFixture) -> None:
    """A line in JSON says what a plain one does, in an object, and when."""
    with caplog.at_level(logging.INFO, "antbee.access"):
        ask("/hello", **{"X-Request-ID": "me"})
    lines = map(JsonLines().format, caplog.records)
    (line,) = map(json.loads, lines)

    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", line.pop("time"))
    assert 0 <= line.pop("ms") < 10_000
    expected = {"client": "127.0.0.1", "method": "GET", "path": "/hello", "status": 200}
    assert line == {**expected, "bytes": 5, "id": "me"}


@pytest.mark.parametrize(("origins", "allowed"), [((ORIGIN,), ORIGIN), (("*",), "*")])
def test_pages_of_named_origins_may_ask(origins: tuple[str, ...], allowed: str) -> None:
    """A browser hears that it may hand over any answer, an error's included, with our headers."""
    app = build(Metrics(), settings=Settings(cors_origins=origins))
    for path in ("/hello", "/nothing"):
        answer = ask_app(app, path, Origin=ORIGIN)

        assert answer.headers["access-control-allow-origin"] == allowed
        assert "X-Probability" in answer.headers["access-control-expose-headers"]


def test_pages_of_other_origins_may_not() -> None:
    """Other origins hear nothing of it, and by default nobody does."""
    app = build(Metrics(), settings=Settings(cors_origins=(ORIGIN,)))

    for other in ("https://pages.example.org", "http://pages.example", "null"):
        assert "access-control-allow-origin" not in ask_app(app, "/hello", Origin=other).headers
    assert "access-control-allow-origin" not in ask("/hello", Origin=ORIGIN).headers


def test_requests_are_counted_by_known_paths() -> None:
    """The metrics name our paths; all others are one."""
    metrics = Metrics()
    app = build(metrics)
    for path in ("/hello", "/x", "/y", "/broken"):
        ask_app(app, path)
    counted = metrics.exposition().decode()

    assert 'antbee_requests_total{path="/hello",status="200"} 1.0' in counted
    assert 'antbee_requests_total{path="other",status="404"} 2.0' in counted
    assert 'antbee_requests_total{path="/broken",status="500"} 1.0' in counted


def test_only_what_takes_a_body_is_timed() -> None:
    """A latency is a dozen series: somebody's own routes have one, probes and pages do not."""
    metrics = Metrics()
    app = build(metrics, Starlette(routes=[Route("/mine", hello, methods=["POST"])]))
    for path, method in (("/mine", "POST"), ("/hello", "GET"), ("/livez", "GET"), ("/x", "POST")):
        ask_app(app, path, method)
    timed = re.findall(r'antbee_request_seconds_count{path="(.*)"}', metrics.exposition().decode())

    assert timed == ["/mine"]
