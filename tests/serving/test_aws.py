"""An application as a Lambda function: events in, and what AWS makes HTTP answers of out."""

import base64
import json
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from antbee.artifact import PackedModel
from antbee.serving.api import TIME_LEFT
from antbee.serving.aws import MARGIN, MOST_BYTES, Function
from antbee.serving.settings import Settings
from gateway import from_answer, to_event
from tests.conftest import encode, noise
from tests.serving.in_process import SETTINGS, Json, Server, coded

STARTS: list[str] = []
GIF = encode(noise(32, 24), "GIF")
PNG = encode(noise(32, 24), "PNG")


@dataclass
class Context:
    """What the runtime client says of an event."""

    aws_request_id: str = "8f6e1c9e-6f3a-4b4b-9df5-0f5a1d2f6b11"
    milliseconds: int = 30_000

    def get_remaining_time_in_millis(self) -> int:
        """Return what is left."""
        return self.milliseconds


async def echo(request: Request) -> Response:
    """Tell what came."""
    scope = request.scope
    told = {name: scope[name] for name in ("method", "path", "scheme", "client", "server")}
    told |= {name: scope[name].decode() for name in ("raw_path", "query_string")}
    told |= {"headers": request.headers.items(), "left": scope[TIME_LEFT], "state": scope["state"]}
    return JSONResponse({**told, "body": (await request.body()).decode("latin-1")})


async def give(request: Request) -> Response:
    """Answer with the bytes and the type that were asked for."""
    size, media_type = int(request.query_params["size"]), request.query_params["type"]
    answer = Response(b"\xff" * size, media_type=media_type)
    answer.set_cookie("a", "1")
    answer.set_cookie("b", "2")
    answer.headers.append("Vary", "Accept")
    answer.headers.append("Vary", "Origin")
    return answer


async def fail(_: Request) -> Response:
    """Fail as only a bug does."""
    raise KeyError("secret")


async def text(_: Request) -> Response:
    """Answer with a text that is not ASCII."""
    return PlainTextResponse("Größe 🐝\u2028")


@asynccontextmanager
async def life(_: Starlette) -> AsyncIterator[dict[str, str]]:
    """Count the starts and the ends."""
    STARTS.append("start")
    yield {"loaded": "once"}
    STARTS.append("end")


@pytest.fixture(scope="module")
def small() -> Iterator[Function]:
    """Serve something small."""
    methods = ["GET", "POST"]
    routes = [Route("/give", give), Route("/fail", fail), Route("/text", text)]
    routes.append(Route("/{path:path}", echo, methods=methods))
    function = Function(Starlette(routes=routes, lifespan=life))
    yield function
    function.close()


@pytest.fixture(scope="module")
def pictures(packed: PackedModel) -> Iterator[Function]:
    """Serve the packed model."""
    function = Function(Server(packed, SETTINGS).app)
    yield function
    function.close()


def told(function: Function, event: Json, context: Context | None = None) -> Any:  # noqa: ANN401
    """Ask, and read the answer's JSON."""
    status, _, content = from_answer(function(event, context or Context()))
    assert status == 200, content
    return json.loads(content)


def test_starts_once_for_all_events(small: Function) -> None:
    """The application's life begins before the first event, and a hundred begin none."""
    for _ in range(100):
        assert told(small, to_event("GET", "/x"))["state"] == {"loaded": "once"}

    assert STARTS == ["start"]


def test_a_request_is_what_was_sent(small: Function) -> None:
    """Address, query, headers and body arrive as over HTTP, and so does who asks."""
    headers = [("X-Two", "a"), ("x-two", "b"), ("Cookie", "s=1; t=2"), ("Content-Type", "image/*")]
    event = to_event("POST", "/a%20b/%C3%BC?q=1%202&q=%26", headers, b"\x00\xff")
    found = told(small, event)

    assert (found["method"], found["scheme"]) == ("POST", "https")
    assert (found["path"], found["raw_path"]) == ("/a b/ü", "/a%20b/%C3%BC")
    assert found["query_string"] == "q=1%202&q=%26"
    assert found["client"] == ["203.0.113.7", 0]
    assert found["body"] == "\x00\xff"
    sent = dict(found["headers"])
    assert (sent["x-two"], sent["cookie"], sent["content-type"]) == ("a,b", "s=1; t=2", "image/*")


@pytest.mark.parametrize(
    ("raw_path", "path", "raw"),
    [
        ("/a b\t/ü", "/a b\t/ü", "/a%20b%09/%C3%BC"),
        ("/100%", "/100%", "/100%"),
        ("/a?b#c", "/a?b#c", "/a%3Fb%23c"),
        ("/", "/", "/"),
    ],
)
def test_a_path_that_was_decoded_already(
    small: Function, raw_path: str, path: str, raw: str
) -> None:
    """An HTTP API decodes paths: nothing in one gets into a log, or becomes a query."""
    found = told(small, to_event("GET", "/") | {"rawPath": raw_path})

    assert (found["path"], found["raw_path"]) == (path, raw)


@pytest.mark.parametrize(
    ("raw_path", "path"),
    [("/prod/model", "/model"), ("/prod", "/"), ("/prod/", "/"), ("/product", "/product")],
)
def test_a_stage_is_no_part_of_the_path(small: Function, raw_path: str, path: str) -> None:
    """An HTTP API puts the name of its stage in front, unless it is the default one."""
    event = to_event("GET", "/") | {"rawPath": raw_path}
    event["requestContext"]["stage"] = "prod"

    assert told(small, event)["path"] == path


def test_the_function_s_time_out_is_known(small: Function) -> None:
    """The application is told how long there is, less what an error takes on its way."""
    found = told(small, to_event("GET", "/"), Context(milliseconds=4000))

    assert found["left"] == 4 - MARGIN


@pytest.mark.parametrize(
    ("sent", "id_"), [("mine-17", "mine-17"), ("\x00 not sane", Context().aws_request_id)]
)
def test_the_id_is_the_client_s_or_aws_s(
    pictures: Function, sent: str, id_: str, caplog: pytest.LogCaptureFixture
) -> None:
    """AWS's id of the request is in the answer and in the log, unless a sane one was sent."""
    caplog.set_level(logging.INFO, "antbee.access")
    plain = pictures(to_event("POST", "/predict", body=PNG), Context())
    named = pictures(to_event("POST", "/predict", [("X-Request-ID", sent)], PNG), Context())

    assert plain["headers"]["x-request-id"] == Context().aws_request_id
    assert named["headers"]["x-request-id"] == id_
    first, second = caplog.messages
    assert f"id={Context().aws_request_id} " in first
    assert f"id={id_} " in second


@pytest.mark.parametrize(
    ("media_type", "size", "as_text"),
    [("image/png", 500, False), ("text/plain", 0, True), ("text/plain", 500, False)],
)
def test_bytes_come_out_as_they_are(
    small: Function, media_type: str, size: int, as_text: bool
) -> None:
    """What is no text goes to AWS in base64; headers that come twice are joined, cookies listed."""
    answer = small(to_event("GET", f"/give?size={size}&type={media_type}"), Context())

    assert from_answer(answer)[2] == b"\xff" * size
    assert answer["isBase64Encoded"] is not as_text
    assert answer["headers"]["vary"] == "Accept, Origin"
    assert [one.partition(";")[0] for one in answer["cookies"]] == ["a=1", "b=2"]


def test_text_comes_out_as_it_is(small: Function) -> None:
    """A text is a text for AWS as well, to be read in a console."""
    answer = small(to_event("GET", "/text"), Context())

    assert (answer["body"], answer["isBase64Encoded"]) == ("Größe 🐝\u2028", False)
    assert "content-length" not in answer["headers"]


def test_an_answer_that_aws_would_not_hand_on(small: Function) -> None:
    """More than 6 MB, as JSON, become an error of ours; a little less goes through."""
    sizes = (MOST_BYTES * 3 // 4 - 300, MOST_BYTES * 3 // 4)
    fits, not_ = (
        small(to_event("GET", f"/give?size={size}&type=image/png"), Context()) for size in sizes
    )

    assert fits["statusCode"] == 200
    assert not_["statusCode"] == 413
    assert json.loads(not_["body"])["error"]["code"] == "body_too_large"


def test_a_bug_is_logged_and_answered(small: Function, caplog: pytest.LogCaptureFixture) -> None:
    """What the application raises is in the log, and not an error of the function."""
    status, _, _ = from_answer(small(to_event("GET", "/fail"), Context()))

    assert status == 500
    assert "KeyError: 'secret'" in caplog.text
    assert told(small, to_event("GET", "/x"))["path"] == "/x"


V1 = {"version": "1.0", "httpMethod": "GET", "path": "/", "headers": {}, "requestContext": {}}
GOOD = to_event("GET", "/")
NONE_: list[object] = [
    {}, [], None, 7, "text", {"key1": "value1", "key2": "value2"}, V1, {"Records": [{"body": "x"}]},
    {"requestContext": {"elb": {}}, "httpMethod": "GET", "path": "/", "headers": {}},
    GOOD | {"version": "1.0"}, GOOD | {"headers": None}, GOOD | {"rawPath": None},
    GOOD | {"body": "%", "isBase64Encoded": True}, GOOD | {"body": 7},
    GOOD | {"headers": {"\ud800": "x"}}, GOOD | {"requestContext": {"http": "x"}},
]  # fmt: skip


@pytest.mark.parametrize("event", NONE_, ids=range(len(NONE_)))
def test_events_that_are_no_requests(
    small: Function, event: object, caplog: pytest.LogCaptureFixture
) -> None:
    """A console's test, a queue or the older format gets an error that says what is taken."""
    status, _, content = from_answer(small(event, Context()))

    assert (status, json.loads(content)["error"]["code"]) == (400, "bad_request")
    assert b"payload format 2.0" in content
    assert len(caplog.records) == 1


def test_surrogates_do_no_harm(small: Function) -> None:
    """Half a character, which JSON can spell, is answered in one way or another."""
    event = to_event("GET", "/") | {"body": "\ud800"}

    assert told(small, event)["body"] == "?"


@pytest.mark.parametrize("path", ["/predict", "/explain"])
@pytest.mark.parametrize("media_type", ["text/plain", "application/json", "Application/JSON"])
@pytest.mark.parametrize("data", [PNG, GIF, encode(noise(32, 24)), encode(noise(9, 9), "WEBP")])
def test_a_picture_that_came_as_text(
    pictures: Function, path: str, media_type: str, data: bytes
) -> None:
    """AWS destroys a picture that is said to be text: the error says how to send it."""
    event = to_event("POST", path, [("Content-Type", media_type)], data)
    status, headers, content = from_answer(pictures(event, Context()))

    assert status in (400, 415, 422)
    assert media_type in json.loads(content)["error"]["message"]
    assert "Content-Type: image/*" in json.loads(content)["error"]["message"]
    assert dict(headers)["x-request-id"]


def test_texts_that_are_pictures(pictures: Function) -> None:
    """JSON and base64 arrive as text, and are answered as the same bytes are."""
    raw = told(pictures, to_event("POST", "/predict", body=PNG))
    sent = json.dumps(coded(PNG)).encode()
    typed = [("Content-Type", "application/json")]
    text_ = [("Content-Type", "text/plain")]
    many = json.dumps({"images": [coded(PNG), coded(b"none")]}).encode()

    assert told(pictures, to_event("POST", "/predict", typed, sent)) == raw
    assert told(pictures, to_event("POST", "/predict", text_, base64.b64encode(PNG))) == raw
    both = told(pictures, to_event("POST", "/v1/predict", typed, many))["images"]
    assert both == [raw, both[1]]
    assert both[1]["error"]["code"] == "unsupported_image"


def test_refusals_of_other_texts_stay_as_they_are(pictures: Function) -> None:
    """What was a text when it was sent is not said to be a picture."""
    event = to_event("POST", "/predict", [("Content-Type", "application/json")], b"{")
    status, _, content = from_answer(pictures(event, Context()))

    assert status == 400
    assert "AWS" not in content.decode()


def test_json_is_the_server_s_byte_for_byte(pictures: Function, packed: PackedModel) -> None:
    """An answer is what the same application gives over HTTP."""
    server = Server(packed, SETTINGS)
    for path in ("/predict", "/v1/predict", "/nothing"):
        body = json.dumps({"images": [coded(PNG)]}).encode() if path[1] == "v" else PNG
        over_http = server.post(path, content=body)
        status, _, content = from_answer(pictures(to_event("POST", path, body=body), Context()))

        assert (status, content) == (over_http.status_code, over_http.content)


def test_an_explanation_is_a_png(pictures: Function) -> None:
    """A picture goes through AWS in base64."""
    status, headers, content = from_answer(
        pictures(to_event("POST", "/explain", body=PNG), Context())
    )

    assert (status, dict(headers)["content-type"]) == (200, "image/png")
    assert content.startswith(b"\x89PNG")


def test_too_late_is_said_before_aws_ends_it(pictures: Function) -> None:
    """Where the function's own time-out comes first, the client still gets an error of ours."""
    event = to_event("POST", "/predict", body=PNG)
    status, _, content = from_answer(pictures(event, Context(milliseconds=100)))

    assert (status, json.loads(content)["error"]["code"]) == (504, "timeout")
    assert from_answer(pictures(event, Context()))[0] == 200


def test_a_key_is_asked_for(packed: PackedModel) -> None:
    """A refusal before the body is read is an answer like any other, and HEAD has none."""
    function = Function(Server(packed, Settings(api_key=("open-sesame",))).app)
    try:
        stranger = from_answer(function(to_event("POST", "/predict", body=PNG), Context()))
        key = [("Authorization", "Bearer open-sesame")]
        friend = from_answer(function(to_event("POST", "/predict", key, PNG), Context()))
        head = from_answer(function(to_event("HEAD", "/livez"), Context()))
    finally:
        function.close()

    assert [stranger[0], friend[0], head[0]] == [401, 200, 200]
    assert head[2] == b""


def test_a_start_that_fails_is_raised() -> None:
    """What goes wrong before the first event, AWS is told in the words of whoever noticed."""

    @asynccontextmanager
    async def broken(_: Starlette) -> AsyncIterator[None]:
        raise ValueError("the model is damaged")
        yield

    with pytest.raises(ValueError, match="the model is damaged"):
        Function(Starlette(lifespan=broken))
