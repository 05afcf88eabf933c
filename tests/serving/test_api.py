"""`/predict` and `/v1/predict`, answered in this process."""

import asyncio
import itertools
import json
import threading
import time
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import httpx
import numpy as np
import pytest
from starlette.types import Message, Scope

from antbee.artifact import PackedModel
from antbee.calibration import Calibration
from antbee.errors import RequestError
from antbee.predictor import Prediction
from antbee.serving.api import prefers_csv
from antbee.serving.fetch import Downloader
from antbee.serving.openapi import describe
from antbee.serving.pool import Check, Throttle
from antbee.serving.settings import Settings
from tests.conftest import LABELS, encode, noise
from tests.serving.in_process import SETTINGS, Json, Server, coded


class Slow:
    """Takes the classifier's place: sleeps, and notes how many do so at once."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.done: list[bytes] = []
        self.most = 0
        self._now = 0
        self._lock = threading.Lock()

    def __call__(self, data: bytes, check: Check) -> Prediction:
        """Predict after a while."""
        check()
        with self._one_more():
            time.sleep(self.seconds)
        check()
        self.done.append(data)
        return Prediction("circle", 1.0, dict.fromkeys(LABELS, 1.0))

    @contextmanager
    def _one_more(self) -> Iterator[None]:
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
        yield
        with self._lock:
            self._now -= 1


@pytest.fixture(scope="module")
def server(packed: PackedModel) -> Iterator[Server]:
    """Return a server that nothing is changed in."""
    shared = Server(packed)
    yield shared
    shared.api.close()


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Callable[[Server, float], Slow]:
    """Return what makes a server's predictions slow."""

    def make(server: Server, seconds: float) -> Slow:
        predict = Slow(seconds)
        monkeypatch.setattr(server.api.classifier, "predict", predict)
        return predict

    return make


async def each(pieces: Sequence[bytes]) -> AsyncIterator[bytes]:
    """Send a body in pieces."""
    for piece in pieces:
        yield piece


def images(*entries: Json) -> Json:
    """Make a body for many pictures."""
    return {"images": list(entries)}


def errors(answer: httpx.Response) -> list[str | None]:
    """Return each picture's error code, or None."""
    return [entry.get("error", {}).get("code") for entry in answer.json()["images"]]


@pytest.mark.parametrize("form", [True, False])
def test_many_get_what_each_gets_alone(server: Server, form: bool) -> None:
    """Answers come in order, digit for digit those of single requests, errors included."""
    files = [encode(noise(320, 240, seed)) for seed in range(5)]
    files.insert(2, b"no picture")
    files.insert(4, files[0][:3000])
    alone = [server.post("/predict", content=data).json() for data in files]
    sent: Json = (
        {"files": [("any", (str(index), data)) for index, data in enumerate(files)]}
        if form
        else {"json": images(*map(coded, files))}
    )
    answer = server.post("/v1/predict", **sent)

    assert answer.status_code == 200
    assert answer.json() == {"images": alone}
    assert errors(answer)[2] == "unsupported_image"
    assert errors(answer)[4] == "corrupt_image"


def test_probabilities_are_calibrated_on_every_route(packed: PackedModel, jpeg: bytes) -> None:
    """Temperature 2 halves the logarithm of every ratio of probabilities, and no label changes."""
    plain, halved = Server(packed), Server(replace(packed, calibration=Calibration(2.0)))
    before, after = (one.post("/predict", content=jpeg).json() for one in (plain, halved))
    many = halved.post("/v1/predict", json=images(coded(jpeg))).json()["images"][0]
    explained = halved.post("/explain", content=jpeg).headers["x-probability"]
    ratios = [np.diff(np.log(list(answer["probabilities"].values()))) for answer in (before, after)]

    assert ratios[0] / 2 == pytest.approx(ratios[1])
    assert after["label"] == before["label"]
    assert many == after
    assert float(explained) == after["probability"]


def test_number_of_pictures_is_limited(packed: PackedModel, jpeg: bytes) -> None:
    """As many pictures as the setting says are answered; one more is too many."""
    settings = replace(SETTINGS, max_images=3)
    some, more = (
        Server(packed, settings).post("/v1/predict", json=images(*[coded(jpeg)] * number))
        for number in (3, 4)
    )

    assert errors(some) == [None] * 3
    assert (more.status_code, more.json()["error"]["code"]) == (400, "too_many_images")
    assert "at most 3" in more.json()["error"]["message"]


def test_body_of_many_is_limited_as_a_whole(packed: PackedModel, jpeg: bytes) -> None:
    """The largest body is that of all pictures together."""
    settings = replace(SETTINGS, max_body_mb=2.5 * len(jpeg) / 1e6)
    files = [("f", ("x", jpeg))] * 3

    assert errors(Server(packed, settings).post("/v1/predict", files=files[:2])) == [None] * 2
    assert Server(packed, settings).post("/v1/predict", files=files).status_code == 413


def test_many_use_the_threads_and_no_more(
    packed: PackedModel, slow: Callable[[Server, float], Slow]
) -> None:
    """The pictures of one request run on all threads, and never on more."""
    server = Server(packed, Settings(threads=3, queue=9))
    predict = slow(server, 0.02)
    answer = server.post("/v1/predict", json=images(*[coded(b"x")] * 12))

    assert errors(answer) == [None] * 12
    assert predict.most == 3


def test_many_keep_nobody_waiting(
    packed: PackedModel, slow: Callable[[Server, float], Slow]
) -> None:
    """A single picture that comes later goes before all but the few of a batch that run already."""
    server = Server(packed, Settings(threads=1, queue=4))
    predict = slow(server, 0.02)

    async def both() -> None:
        async with server.client() as client:
            batch = asyncio.create_task(
                client.post("/v1/predict", json=images(*[coded(b"many")] * 20))
            )
            while len(predict.done) < 2:
                await asyncio.sleep(0.001)
            assert (await client.post("/predict", content=b"single")).status_code == 200
            assert errors(await batch) == [None] * 20

    asyncio.run(both())

    assert predict.done.index(b"single") <= 5


def test_late_pictures_fail_alone(
    packed: PackedModel, slow: Callable[[Server, float], Slow]
) -> None:
    """When the time is over, the pictures that are done are answered and the others are late."""
    server = Server(packed, Settings(threads=1, queue=4, timeout=0.5))
    slow(server, 0.2)
    answer = server.post("/v1/predict", json=images(*[coded(b"x")] * 5))

    assert answer.status_code == 200
    assert errors(answer) == [None] * 2 + ["timeout"] * 3
    assert server.counted('antbee_rejections_total{code="timeout"}') == 3


def test_pictures_need_not_be_late_at_once(
    packed: PackedModel,
    slow: Callable[[Server, float], Slow],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of one that is late, the next, which an event loop ends a little later, learns nothing."""
    server = Server(packed, Settings(threads=2, queue=4, timeout=0.2))
    slow(server, 0.35)
    in_time, later = server.api._in_time, itertools.count()
    monkeypatch.setattr(server.api, "_in_time", lambda end: in_time(end + 0.1 * next(later)))
    answer = server.post("/v1/predict", json=images(*[coded(b"x")] * 5))

    assert answer.status_code == 200
    assert errors(answer)[0] == "timeout"
    assert errors(answer)[-1] == "timeout"


def test_busy_server_refuses_many_as_it_refuses_one(packed: PackedModel) -> None:
    """Without a free ticket the whole request gets 429."""
    server = Server(packed, Settings(threads=1, queue=0))
    with server.api._pool.ticket():
        answer = server.post("/v1/predict", json=images(coded(b"x")))

    assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")


def test_refusals_are_no_latency(packed: PackedModel) -> None:
    """How long a refusal waits for others is not among the times that answers take."""
    server = Server(packed, Settings(threads=1, queue=0))
    with server.api._pool.ticket():
        server.post("/predict", content=b"x")
    server.post("/predict", content=b"x")
    counted = server.metrics.exposition().decode()

    assert 'antbee_requests_total{path="/predict",status="429"} 1.0' in counted
    assert 'antbee_request_seconds_count{path="/predict"} 1.0' in counted


def test_refusal_that_waits_holds_no_body(
    packed: PackedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of what is refused nothing is in memory any more while its answer waits for others'."""
    held: list[int] = []

    async def wait(_: Throttle) -> None:
        held.append(tracemalloc.get_traced_memory()[0])

    monkeypatch.setattr(Throttle, "wait", wait)
    server = Server(packed, Settings(threads=1, queue=0))
    body = [bytes(1_000_000)] * 4  # which the server puts together
    tracemalloc.start()
    with server.api._pool.ticket():
        answer = server.post("/predict", content=each(body))
    tracemalloc.stop()
    server.api.close()

    assert answer.status_code == httpx.codes.TOO_MANY_REQUESTS
    assert len(held) == 1
    assert held[0] < 1_000_000


def test_pictures_are_counted(packed: PackedModel, jpeg: bytes) -> None:
    """Each picture of a request counts as a prediction or an error, and none stays in flight."""
    server = Server(packed)
    label = server.post("/v1/predict", json=images(coded(jpeg), coded(b"x"), coded(jpeg))).json()[
        "images"
    ][0]["label"]

    assert server.counted(f'antbee_predictions_total{{label="{label}"}}') == 2
    assert server.counted('antbee_rejections_total{code="unsupported_image"}') == 1
    assert server.counted('antbee_requests_total{path="/v1/predict",status="200"}') == 1
    assert server.counted("antbee_pictures_in_flight") == 0


def test_addresses_are_fetched(packed: PackedModel, server: Server, jpeg: bytes) -> None:
    """Pictures at addresses are answered like those that were sent; a failed one fails alone."""
    at_once, most = 0, 0

    async def fetch(url: str) -> bytes:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0.01)
        at_once -= 1
        if url.endswith("gone"):
            raise RequestError("download_failed", "it is gone")
        return jpeg

    settings = replace(SETTINGS, download_threads=3)
    single = Server(packed, settings, fetch).post("/predict", json={"url": "https://a/x"})
    entries = [{"url": "https://a/x"}, {"url": "https://a/gone"}, coded(jpeg)]
    answer = Server(packed, settings, fetch).post("/v1/predict", json=images(*entries * 4))

    assert single.json() == server.post("/predict", content=jpeg).json()
    assert errors(answer) == [None, "download_failed", None] * 4
    assert most == 3


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("text/csv", True),
        ("Text/CSV; header=present", True),
        ("text/*", True),
        ("text/csv, */*", True),
        ("text/csv;q=0.9, */*;q=0.8", True),
        ("*/*;q=0.5, text/csv ; Q = 0.6", True),
        ("application/json;q=0.1,text/csv;q=0.2", True),
        ("text/csv, application/json;q=0", True),
        ("", False),
        ("*/*", False),
        ("application/json", False),
        ("text/csv, application/json", False),
        ("text/csv;q=0.5, application/json", False),
        ("text/csv;q=0.5, */*", False),
        ("text/csv;q=0", False),
        ("text/csv;q=0, */*", False),
        ("text/html, application/xhtml+xml, application/xml;q=0.9, */*;q=0.8", False),
        ("text/plain", False),
        *[(f"text/csv;q={q}", False) for q in ("", "2", "-1", "1e0", "nan", "1_0", "\u0661", "x")],
        (",;,;;=,/," * 1000 + "text/csv", True),
    ],
)
def test_client_says_what_it_likes_best(accept: str, expected: bool) -> None:
    """CSV is for whoever would rather have it than JSON, by weight and by exactness."""
    assert prefers_csv(accept) is expected


def test_table_of_many(server: Server, jpeg: bytes) -> None:
    """In a table a picture goes by its file's name, its address, or its number."""
    several = images(coded(jpeg), {"url": "https://a.example/b"}, {"x": 1})
    answer = server.post("/v1/predict", json=several, headers={"Accept": "text/csv"})
    head, first, *others = answer.text.split("\n")

    assert (
        head
        == "name,label,probability,probability_circle,probability_square,probability_triangle,error"
    )
    assert first.startswith("1,")
    assert first.endswith(",")
    assert others == ["https://a.example/b,,,,,,url_not_allowed", "3,,,,,,invalid_json", ""]
    refused = server.post("/v1/predict", json=images(), headers={"Accept": "text/csv"})
    assert refused.json()["error"]["code"] == "no_image"


@pytest.mark.parametrize(
    ("url", "name"),
    [(r"https://a/\ud800", r"https://a/\ud800"), ("x" * 5000, "x" * 1000)],
    ids=["half", "long"],
)
def test_address_is_a_name_in_csv(server: Server, url: str, name: str) -> None:
    """Half of a character is spelt out, and of an endless address its begin is shown."""
    body = f'{{"images": [{{"url": "{url}"}}]}}'
    answer = server.post("/v1/predict", content=body, headers={"Accept": "text/csv"})

    assert answer.text.splitlines()[1] == f"{name},,,,,,url_not_allowed"


def test_described_examples_are_answered(server: Server) -> None:
    """What the description of the API sends as a form or in JSON is a picture, the same one."""
    described = describe("x:1", LABELS, SETTINGS)["paths"]["/predict"]["post"]["requestBody"]
    form, sent = (
        described["content"][f"application/{kind}"]["example"]
        for kind in ("x-www-form-urlencoded", "json")
    )
    answers = [server.post("/predict", data=form), server.post("/predict", json=sent)]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json() == answers[1].json()


@pytest.mark.parametrize("path", ["/predict", "/v1/predict", "/explain"])
@pytest.mark.parametrize(
    "body",
    [
        r'{"url": "https://a.example/\ud800"}',
        r'{"data": "\ud800"}',
        r'{"\ud800": ""}',
        r'"https://a.example/\ud800"',
        r'"data:\ud800,\udfff"',
    ],
)
def test_half_a_character_is_the_clients_mistake(packed: PackedModel, path: str, body: str) -> None:
    """JSON can spell what UTF-8 cannot carry; it is refused wherever it stands."""
    body = f'{{"images": [{body}]}}' if path == "/v1/predict" else body
    fetch = Downloader(1, 1, 1000).fetch
    answer = Server(packed, SETTINGS, fetch).post(path, content=body)

    assert answer.status_code == (200 if path == "/v1/predict" else 400)
    assert "error" in answer.text


def test_addresses_are_refused_one_by_one(server: Server, jpeg: bytes) -> None:
    """Where no addresses are fetched, a picture that is sent beside one is answered still."""
    answer = server.post("/v1/predict", json=images({"url": "https://a"}, coded(jpeg)))

    assert errors(answer) == ["url_not_allowed", None]


@pytest.mark.parametrize("path", ["/predict", "/v1/predict"])
def test_work_ends_when_the_client_leaves(
    packed: PackedModel, slow: Callable[[Server, float], Slow], path: str
) -> None:
    """When the client has left, what has not begun never does, and its tickets are free again."""
    server = Server(packed, Settings(threads=1, queue=1))
    predict = slow(server, 0.4)
    body = json.dumps(images(*[coded(b"x")] * 9)).encode() if path == "/v1/predict" else b"x"
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        if messages:
            return messages.pop()
        await asyncio.sleep(0.05)
        return {"type": "http.disconnect"}

    async def leave() -> int:
        scope: Scope = {
            "type": "http",
            "method": "POST",
            "path": path,
            "headers": [],
            "client": None,
        }
        sent: list[Message] = []

        async def send(message: Message) -> None:
            sent.append(message)

        await server.app({**scope, "query_string": b""}, receive, send)
        await asyncio.sleep(0.6)
        with server.api._pool.ticket(), server.api._pool.ticket():
            return int(sent[0]["status"])

    assert asyncio.run(leave()) == 499
    assert predict.done == []
