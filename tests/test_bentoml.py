"""What BentoML's documentation shows works with the service, too."""

import http.server
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import bentoml
import httpx
import httpx_ws
import pytest

from tests.conftest import KEY, REPOSITORY, Server, StartServer

pytestmark = [
    # BentoML's, as it is imported.
    pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince211"),
]

CONFIG: Final = """
services:
  http: {cors: {enabled: true, access_control_allow_origins: ["https://a.example"]}}
  traffic: {max_concurrency: 7}
"""
EXPORTS: Final = find_spec("opentelemetry.exporter") is not None
ALLOWED: Final = {"Authorization": f"Bearer {KEY}"}


@dataclass
class Collector:
    """An OTLP receiver, which has the spans that came."""

    url: str
    spans: list[Any]

    def trace(self, trace: str, size: int) -> dict[str, Any]:
        """Wait for a trace of so many spans, by name."""
        for _ in range(100):
            found = {span.name: span for span in self.spans if span.trace_id.hex() == trace}
            if len(found) >= size:
                return found
            time.sleep(0.05)
        pytest.fail(f"of the trace came only {[*found]}")


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    """Receive traces over HTTP."""
    spans: list[Any] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            from opentelemetry.proto.collector.trace.v1 import trace_service_pb2  # noqa: PLC0415

            body = self.rfile.read(int(self.headers["content-length"]))
            request = trace_service_pb2.ExportTraceServiceRequest.FromString(body)
            for resource in request.resource_spans:
                for scope in resource.scope_spans:
                    spans.extend(scope.spans)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as receiver:
        threading.Thread(target=receiver.serve_forever).start()
        try:
            yield Collector(f"http://127.0.0.1:{receiver.server_port}", spans)
        finally:
            receiver.shutdown()


@pytest.fixture(scope="module")
def more(
    start_server: StartServer, collector: Collector, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """Serve a copy of `service.py` to which everything was added, with keys old and new."""
    folder = tmp_path_factory.mktemp("more")
    for path in (REPOSITORY / "service.py", REPOSITORY / "tests/service_with_more.py"):
        shutil.copy(path, folder)
    config = folder / "config.yaml"
    config.write_text(CONFIG)
    settings = {"BENTOML_CONFIG": str(config), "ANTBEE_API_KEY": f"{KEY},another"}
    if EXPORTS:
        settings |= {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "100"}
    with start_server("service_with_more:More", folder=folder, **settings) as running:
        yield running


def ask(server: Server, path: str, **request: Any) -> httpx.Response:  # noqa: ANN401 - as httpx
    """Post something with the key."""
    return httpx.post(server.url + path, headers=ALLOWED, timeout=30, **request)


def test_methods_of_ones_own(more: Server, jpeg: bytes) -> None:
    """APIs, batchable methods and calls within the class are BentoML's, with its errors."""
    predicted = more.predict(jpeg, **ALLOWED).json()
    wrong = ask(more, "/shout", json={})

    assert ask(more, "/shout", json={"text": "hey"}).text == "HEY"
    assert ask(more, "/double", json={"numbers": [1, 2]}).json() == [2, 4]
    assert ask(more, "/label", files={"image": ("x.jpg", jpeg)}).text == predicted["label"]
    assert (wrong.status_code, wrong.json()["detail"][0]["loc"]) == (400, ["text"])


def test_task_of_ones_own(more: Server) -> None:
    """A task is submitted, asked for, and fetched."""
    task = {"task_id": ask(more, "/whisper/submit", json={"text": "HEY"}).json()["task_id"]}
    for _ in range(100):
        status = httpx.get(f"{more.url}/whisper/status", params=task, headers=ALLOWED).json()
        if status["status"] == "completed":
            break
        time.sleep(0.05)

    assert httpx.get(f"{more.url}/whisper/get", params=task, headers=ALLOWED).text == "hey"


def test_mounted_applications(more: Server) -> None:
    """A mounted application answers below its path, web sockets too, to those with a key."""
    url = f"{more.url}/mine/talk"
    socket: httpx_ws.WebSocketSession
    with httpx_ws.connect_ws(url, headers={**ALLOWED}) as socket:  # it adds headers to them
        said: str = socket.receive_text()
    with pytest.raises(httpx_ws.WebSocketUpgradeError), httpx_ws.connect_ws(url):
        pass

    assert httpx.get(f"{more.url}/mine/hello", headers=ALLOWED).json() == {"hello": "mounted"}
    assert httpx.get(f"{more.url}/mine/hello").status_code == 401
    assert said == "hello"


@pytest.mark.parametrize("path", ["/nothing", "/mine/nothing", "/predict/", "/static_content/x"])
def test_unknown_addresses_are_ours(more: Server, path: str) -> None:
    """What is nobody's address gets our answer."""
    answer = httpx.get(more.url + path, headers=ALLOWED)

    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    "path", ["/", "/predict", "/model", "/livez", "/metrics", "/schema.json", "/shout",
             "/mine/hello", "/nothing"],
)  # fmt: skip
def test_middleware_is_in_front_of_everything(more: Server, path: str) -> None:
    """Whoever is stopped by added middleware gets nowhere, with or without a key; it is counted."""
    stopped = httpx.get(more.url + path, headers={**ALLOWED, "X-Door": "closed"})
    counted = httpx.get(f"{more.url}/metrics", headers=ALLOWED).text

    assert (stopped.status_code, stopped.text) == (403, "closed")
    assert f'knocks_total{{path="{path}"}}' in counted


def test_dependencies(more: Server, jpeg: bytes) -> None:
    """A service that depends on the classifier gets what HTTP gives, and errors with a status."""
    over_http = more.predict(jpeg, **ALLOWED).json()
    named, placed, many, size, refused = ask(
        more, "/ask_desk", files={"image": ("x.jpg", jpeg)}
    ).json()

    assert named == placed == over_http
    assert many == {"images": [over_http, over_http]}
    assert size == [320, 240]
    assert refused[0] == 415
    assert "unsupported_image: " in refused[1]


def test_either_key_opens(more: Server, jpeg: bytes) -> None:
    """While a key is changed, the old one and the new one are let in."""
    answers = [more.predict(jpeg, Authorization=f"Bearer {key}") for key in (KEY, "another", "x")]

    assert [answer.status_code for answer in answers] == [200, 200, 401]


def test_client_calls_everything(more: Server, jpeg: bytes, tmp_path: Path) -> None:
    """BentoML's client finds our methods and one's own in the schema."""
    picture = tmp_path / "x.jpg"
    picture.write_bytes(jpeg)
    with bentoml.SyncHTTPClient(more.url, token=KEY) as client:
        one = client.predict(image=picture)
        many = client.predict_many(images=[picture, Path(__file__)])
        explanation = client.explain(image=picture)
        shouted = client.shout(text="hey")
    client._temp_dir.cleanup()  # BentoML leaves it to the garbage collector, which warns

    assert one == more.predict(jpeg, **ALLOWED).json()
    assert many["images"][0] == one
    assert many["images"][1]["error"]["code"] == "unsupported_image"
    assert (explanation.format, explanation.size) == ("PNG", (320, 240))
    assert shouted == "HEY"


def test_configuration_without_effect_is_named(more: Server) -> None:
    """Each key that does nothing for our routes has its line, with what to set instead."""
    log = more.log.read_text()

    for key, instead in (
        ("http.cors.enabled=True", "ANTBEE_CORS_ORIGINS"),
        ("http.cors.access_control_allow_origins=['https://a.example']", "ANTBEE_CORS_ORIGINS"),
        ("traffic.max_concurrency=7", "ANTBEE_QUEUE"),
    ):
        line = f"BentoML's {key} has no effect on antbee's own routes: set {instead}\n"
        assert line in log
    assert log.count("has no effect") in (3, 6)


@pytest.mark.skipif(not EXPORTS, reason="opentelemetry-exporter-otlp-proto-http is not installed")
def test_request_is_one_trace(more: Server, collector: Collector, jpeg: bytes) -> None:
    """A collector gets one trace of a request: decoding and the network, within the client's."""
    trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    more.predict(jpeg, **ALLOWED, traceparent=f"00-{trace}-{parent}-01")
    spans = collector.trace(trace, 3)

    assert sorted(spans) == ["POST /predict", "decode", "network"]
    assert spans["POST /predict"].parent_span_id.hex() == parent
    for stage in ("decode", "network"):
        assert spans[stage].parent_span_id == spans["POST /predict"].span_id
        assert spans[stage].end_time_unix_nano > spans[stage].start_time_unix_nano
