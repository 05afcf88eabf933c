"""The service, as clients meet it: a real server and real requests."""

import base64
import dataclasses
import io
import json
import subprocess
import sys
from http import HTTPStatus
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from antbee.artifact import PackedModel
from antbee.images import decode_image, to_array
from antbee.predictor import load_predictor, to_prediction
from tests.conftest import (
    KEY,
    LABELS,
    ORIGIN,
    Server,
    encode,
    noise,
)

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")


def expected(packed: PackedModel, data: bytes, runtime: str = "onnx") -> dict[str, object]:
    """Predict in this process, without a server."""
    batch = to_array(decode_image(data))[np.newaxis]
    logits = load_predictor(packed, runtime).logits(batch)
    found = dataclasses.asdict(to_prediction(packed, logits[0]))
    return {name: value for name, value in found.items() if value is not None}


def without_model(answer: httpx.Response) -> dict[str, object]:
    """Return a prediction without the name of the model that made it."""
    return {name: value for name, value in answer.json().items() if name != "model"}


@pytest.mark.parametrize("format_", FORMATS)
def test_served_is_what_the_predictor_says(
    server: Server, packed: PackedModel, format_: str
) -> None:
    """The server answers exactly what the same picture gives in-process."""
    data = encode(noise(320, 240, seed=1), format_)
    answer = server.predict(data, "image/*")

    assert answer.status_code == HTTPStatus.OK
    assert expected(packed, data) == without_model(answer)
    assert answer.json()["model"].startswith("ant_bee_classifier:")


def test_every_way_of_sending_gives_the_same(server: Server, jpeg: bytes) -> None:
    """Raw bytes, a form and base64 get the same answer."""
    raw = server.predict(jpeg)
    form = httpx.post(f"{server.url}/predict", files={"anything": ("x", jpeg)})
    coded = httpx.post(f"{server.url}/predict", json={"data": base64.b64encode(jpeg).decode()})
    chunked = httpx.post(f"{server.url}/predict", content=iter([jpeg[:5000], jpeg[5000:]]))

    for answer in (form, coded, chunked):
        assert raw.json() == answer.json()


def test_many_pictures_in_one_request(server: Server) -> None:
    """Pictures sent together get what each gets alone; one that is none fails alone."""
    files = [encode(noise(320, 240, seed)) for seed in range(4)] + [b"no picture"]
    alone = [server.predict(data).json() for data in files]
    url = f"{server.url}/v1/predict"
    entries = [{"data": base64.b64encode(data).decode()} for data in files]

    assert httpx.post(url, json={"images": entries}).json() == {"images": alone}
    assert httpx.post(url, files=[("f", data) for data in files]).json() == {"images": alone}
    assert alone[-1]["error"]["code"] == "unsupported_image"


def test_picture_is_explained(server: Server, jpeg: bytes) -> None:
    """An explanation is a PNG as large as the picture, with the prediction in its headers."""
    prediction = server.predict(jpeg).json()
    answer = httpx.post(f"{server.url}/explain", content=jpeg)

    assert Image.open(io.BytesIO(answer.content)).size == (320, 240)
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["x-label"] == prediction["label"]
    assert float(answer.headers["x-probability"]) == prediction["probability"]


def test_documented_examples_work(server: Server) -> None:
    """Whoever sends an example of the documentation as it stands gets a good answer."""
    described = httpx.get(f"{server.url}/docs.json").json()["paths"]
    sent = set()
    for path, item in described.items():
        for method, operation in item.items():
            bodies = operation.get("requestBody", {}).get("content", {})
            for media_type, body in (bodies or {"": {}}).items():
                if bodies and "example" not in body:
                    continue
                how = "data" if media_type == "application/x-www-form-urlencoded" else "json"
                content = {how: body["example"]} if bodies else {}
                answer = httpx.request(method, server.url + path, **content)
                sent.add(path)

                assert answer.status_code == HTTPStatus.OK, (path, media_type, answer.text)
                assert "error" not in answer.text or path in ("/docs.json", "/metrics", "/docs")
    assert sent == set(described)


def test_key_origins_and_log(guarded: Server, jpeg: bytes, tmp_path: Path) -> None:
    """With a key, only probes and the page's files are open; BentoML's client can send it."""
    picture = tmp_path / "x.jpg"
    picture.write_bytes(jpeg)
    closed = guarded.predict(jpeg, Origin=ORIGIN, X_Request_ID="a-stranger")
    opened = guarded.predict(jpeg, Authorization=f"Bearer {KEY}")
    free = {
        path: httpx.get(guarded.url + path).status_code
        for path in ("/", "/docs", "/page/page.js", "/ping", "/livez", "/healthz", "/health",
                     "/model", "/docs.json", "/metrics", "/schema.json", "/nothing")
    }  # fmt: skip
    called = bentoml_client(guarded.url, "Path(path)", picture, KEY)
    line = guarded.logged("a-stranger")

    assert (closed.status_code, opened.status_code) == (401, 200)
    assert closed.json()["error"]["code"] == "unauthorized"
    assert closed.headers["access-control-allow-origin"] == ORIGIN
    assert list(free.values()) == [200] * 7 + [401] * 5
    assert called == opened.json()
    assert {"status": 401, "path": "/predict"}.items() <= json.loads(line).items()


def test_curl_as_in_the_readme(server: Server, jpeg: bytes, tmp_path: Path) -> None:
    """The README's curl line works, and plain `curl --data-binary` without a type too."""
    (tmp_path / "x.jpg").write_bytes(jpeg)
    command = ["curl", "-sS", "-X", "POST", f"{server.url}/predict", "--data-binary"]
    for extra in ([], ["-H", "Content-Type: image/*"]):
        run = subprocess.run(
            [*command, f"@{tmp_path / 'x.jpg'}", *extra], capture_output=True, check=True
        )

        assert json.loads(run.stdout)["label"] in LABELS


def bentoml_client(url: str, arguments: str, path: Path, key: str = "") -> object:
    """Ask with BentoML's own client, in a process of its own."""
    script = (
        "import bentoml, json, sys\nfrom pathlib import Path\nfrom PIL.Image import open\n"
        "url, path, key = sys.argv[1:]\n"
        f"print(json.dumps(bentoml.SyncHTTPClient(url, token=key or None).predict({arguments})))"
    )
    command: list[str | Path] = [sys.executable, "-c", script, url, path, key]
    return json.loads(subprocess.run(command, capture_output=True, check=True).stdout)


@pytest.mark.parametrize("arguments", ["Path(path)", "path", "image=path", "image=open(path)"])
def test_bentoml_client(server: Server, jpeg: bytes, tmp_path: Path, arguments: str) -> None:
    """BentoML's own client takes a picture or its path, by position or by name."""
    (tmp_path / "x.jpg").write_bytes(jpeg)
    called = bentoml_client(server.url, arguments, tmp_path / "x.jpg")

    assert server.predict(jpeg).json() == called


@pytest.mark.parametrize(
    ("body", "content_type", "status", "code"),
    [
        (b"", None, 400, "empty_body"),
        (b"", "image/jpeg", 400, "empty_body"),
        (b"hello", "text/plain", 415, "unsupported_image"),
        (b"hello", None, 415, "unsupported_image"),
        (b"\xff\xd8\xff\xe0 cut", "image/jpeg", 422, "corrupt_image"),
        (b"{", "application/json", 400, "invalid_json"),
        (b'{"data": "%"}', "application/json", 400, "invalid_base64"),
        (b'{"data": "aGVsbG8="}', None, 415, "unsupported_image"),
        (b'{"url": "https://example.org/x"}', None, 400, "url_not_allowed"),
        (b"--x--", "multipart/form-data; boundary=x", 400, "no_image"),
        (b"x", "multipart/form-data; boundary=", 400, "no_image"),
        (b"x", "application/vnd.bentoml+pickle", 415, "unsupported_image"),
    ],
)
def test_errors(
    server: Server, body: bytes, content_type: str | None, status: int, code: str
) -> None:
    """Each mistake of a client's gets its own status, code and message in one JSON object."""
    answer = server.predict(body, content_type)

    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert set(answer.json()) == {"error"}
    assert set(answer.json()["error"]) == {"code", "message"}


def test_request_id_and_access_log(server: Server, jpeg: bytes) -> None:
    """An answer carries the id that the client sent, and the log a line with it."""
    answer = server.predict(jpeg, X_Request_ID="from-the-router-17")

    assert answer.headers["x-request-id"] == "from-the-router-17"
    line = server.logged("from-the-router-17")
    assert f"POST /predict 200 {len(answer.content)}B" in line


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/health", "/healthz"])
def test_probes(server: Server, path: str) -> None:
    """Probes answer a JSON object."""
    answer = httpx.get(server.url + path)

    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_ping(server: Server) -> None:
    """Ping answers pong."""
    assert httpx.get(f"{server.url}/ping").json() == {"success": "pong"}


def test_metrics(server: Server, jpeg: bytes) -> None:
    """Metrics are Prometheus text, count predictions, and name no path that a client invents."""
    server.predict(jpeg)
    httpx.get(f"{server.url}/invented")
    answer = httpx.get(f"{server.url}/metrics")

    assert answer.headers["content-type"].startswith("text/plain")
    assert 'antbee_requests_total{path="/predict",status="200"}' in answer.text
    assert 'antbee_predictions_total{label="' in answer.text
    assert "invented" not in answer.text


def test_model(server: Server, packed: PackedModel) -> None:
    """The model route says what answers, and whether feedback is taken."""
    answer = httpx.get(f"{server.url}/model").json()

    assert answer.pop("model").startswith("ant_bee_classifier:")
    assert answer.pop("feedback") is False
    assert json.loads(json.dumps(packed.describe())) == answer


def test_docs_describe_what_is_answered(server: Server, jpeg: bytes) -> None:
    """The description's labels and model are those of the answers."""
    document = httpx.get(f"{server.url}/docs.json").json()
    answer = server.predict(jpeg).json()

    assert document["info"]["version"] == answer["model"]
    labels = document["components"]["schemas"]["Prediction"]["properties"]["label"]["enum"]
    assert answer["label"] in labels


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "not_found"),
        ("GET", "/predict", 405, "method_not_allowed"),
        ("DELETE", "/ping", 405, "method_not_allowed"),
        ("PUT", "/", 405, "method_not_allowed"),
    ],
)
def test_unknown_addresses(server: Server, method: str, path: str, status: int, code: str) -> None:
    """Unknown addresses and methods are answered in JSON too."""
    answer = httpx.request(method, server.url + path)

    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
