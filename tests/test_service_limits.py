"""The service, when it is sent too much."""

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus

import httpx
import pytest
from PIL import Image

from tests.conftest import KEY, Server, StartServer, encode, noise


def test_two_files_are_too_many(server: Server, jpeg: bytes) -> None:
    """A form with two pictures is told that one is enough."""
    answer = httpx.post(f"{server.url}/predict", files={"a": ("a", jpeg), "b": ("b", jpeg)})

    assert answer.json()["error"]["code"] == "too_many_images"


def test_limits(guarded: Server, jpeg: bytes) -> None:
    """Bodies and pictures larger than the settings allow get 413, whatever their length says."""
    key = {"Authorization": f"Bearer {KEY}"}
    body = jpeg + bytes(100_000)
    announced = guarded.predict(body, **key)
    chunked = httpx.post(f"{guarded.url}/predict", content=iter([body]), headers=key)
    pixels = guarded.predict(encode(noise(400, 300)), **key)

    assert guarded.predict(jpeg, **key).status_code == HTTPStatus.OK
    for answer, code in (
        (announced, "body_too_large"),
        (chunked, "body_too_large"),
        (pixels, "image_too_large"),
    ):
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, code)


def test_overload_and_timeout(start_server: StartServer) -> None:
    """More than the queue holds get 429 at once; what takes too long gets 504; then all is well."""
    slow, small = encode(noise(3000, 3000), "PNG"), encode(noise(64, 64))
    settings = {"ANTBEE_THREADS": "1", "ANTBEE_QUEUE": "2", "ANTBEE_TIMEOUT": "0.3"}
    with start_server(**settings) as server, ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda _: server.predict(slow), range(12)))
        # The last of them may still be being decoded, though nobody waits for it.
        well = any(server.predict(small).status_code == HTTPStatus.OK for _ in range(30))
    codes = {answer.status_code for answer in answers}

    assert {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.GATEWAY_TIMEOUT} <= codes
    assert codes <= {HTTPStatus.OK, HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.GATEWAY_TIMEOUT}
    refused = next(answer for answer in answers if answer.status_code == 429)
    late = next(answer for answer in answers if answer.status_code == 504)
    assert (refused.json()["error"]["code"], refused.headers["retry-after"]) == ("overloaded", "1")
    assert late.json()["error"]["code"] == "timeout"
    assert well


@pytest.fixture(scope="module")
def narrow(start_server: StartServer) -> Iterator[Server]:
    """Serve one picture at a time, with eight more that may wait."""
    with start_server(ANTBEE_THREADS="1", ANTBEE_QUEUE="8") as running:
        yield running


@pytest.mark.parametrize("name", ["narrow", "gunicorn_server"])
def test_burst_loses_no_request(request: pytest.FixtureRequest, name: str) -> None:
    """Many times what fits at once: every upload gets an answer, 200 or 429, none a reset."""
    server: Server = request.getfixturevalue(name)
    picture = encode(noise(640, 480)) + bytes(500_000)
    with ThreadPoolExecutor(24) as pool:
        answers = list(pool.map(lambda _: server.predict(picture).status_code, range(120)))

    assert set(answers) == {HTTPStatus.OK, HTTPStatus.TOO_MANY_REQUESTS}


def counted(server: Server, name: str) -> float:
    """Read one number of a server's metrics; 0 where it has not been counted yet."""
    lines = httpx.get(f"{server.url}/metrics").text.splitlines()
    return next((float(line.split()[-1]) for line in lines if line.startswith(f"{name} ")), 0.0)


def test_client_that_leaves_makes_room(narrow: Server) -> None:
    """A picture whose client hung up while it waited is not classified."""
    slow = encode(noise(2500, 2500), "PNG")
    decoded = 'antbee_stage_seconds_count{stage="decode"}'
    before = counted(narrow, decoded)

    def leave(_: int) -> None:
        with contextlib.suppress(httpx.TimeoutException):
            httpx.post(f"{narrow.url}/predict", content=slow, timeout=0.05, verify=False)  # noqa: S501 - there is no certificate

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(leave, range(8)))
    assert narrow.predict(encode(noise(64, 64))).status_code == HTTPStatus.OK

    assert counted(narrow, "antbee_pictures_in_flight") == 0
    assert counted(narrow, decoded) - before < 8


def test_huge_picture_in_few_bytes(server: Server) -> None:
    """A small file that unpacks to more pixels than allowed is refused."""
    bomb = encode(Image.new("1", (20_000, 20_000)), "PNG")

    assert server.predict(bomb).json()["error"]["code"] == "image_too_large"
