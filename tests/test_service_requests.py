"""The service, sent requests as the world sends them, under both servers."""

import base64
import csv
import gzip
import http.client
import io
import json
import socket
from urllib.parse import quote

import httpx
import pytest

from tests.conftest import LABELS, Server, encode, noise
from tests.serving.bodies import form

PICTURE = encode(noise(64, 48))
CODED = base64.b64encode(PICTURE).decode()
FORM = "Content-Type: multipart/form-data; boundary=XX"
URLENCODED = "Content-Type: application/x-www-form-urlencoded"
JSON = json.dumps({"data": CODED}).encode()
FILE = ('name="a"; filename="a.jpg"', PICTURE)
CASES: dict[str, tuple[list[str], bytes, str]] = {
    "unselected file": ([FORM], form(FILE, ('name="b"; filename=""', b""))[0], "ok"),
    "part without a name": ([FORM], form(("", PICTURE))[0], "ok"),
    "part with filename*": ([FORM], form(("name=a; filename*=UTF-8''%C3%BC", PICTURE))[0], "ok"),
    "part in base64": ([FORM], form(('name="a"', CODED.encode()))[0], "ok"),
    "urlencoded": ([URLENCODED], f"a=1&b={quote(CODED, safe='')}".encode(), "ok"),
    "urlencoded address": ([URLENCODED], b"a=https%3A%2F%2Fa.example%2Fb", "url_not_allowed"),
    "data URL": (["Content-Type: text/plain"], f"data:image/jpeg;base64,{CODED}".encode(), "ok"),
    "JSON string": (["Content-Type: application/json"], json.dumps(CODED).encode(), "ok"),
    "JSON with a mark": ([], b"\xef\xbb\xbf" + JSON, "ok"),
    "JSON in UTF-16": (["Content-Type: application/json"], JSON.decode().encode("utf-16"), "ok"),
    "no boundary": (["Content-Type: multipart/form-data"], form(FILE)[0], "no_image"),
    "lines of LF": ([FORM], form(FILE)[0].replace(b"\r\n", b"\n"), "no_image"),
    "gzip": (["Content-Encoding: gzip"], gzip.compress(PICTURE), "unsupported_encoding"),
    "gzip, br": (["Content-Encoding: gzip, br", FORM], b"\x1f\x8b", "unsupported_encoding"),
    "two codings": (["Content-Encoding: identity", "Content-Encoding: zstd"], b"\x28",
                    "unsupported_encoding"),
    "huge length": ([f"Content-Length: {'9' * 18}"], b"", "body_too_large"),
}  # fmt: skip
"""Headers, a body, and the code that it gets."""
UNPARSED = ("+9", "-9", "9_0", "0x9", "9.0", "1e1", "\xb2", "9 9", "9, 9", "9" * 4301, "9" * 30)
"""Lengths that are none, or that no body has."""


@pytest.fixture(params=["server", "gunicorn_server"])
def either(request: pytest.FixtureRequest) -> Server:
    """Return one of the two servers."""
    found: Server = request.getfixturevalue(request.param)
    return found


def ask(server: Server, headers: list[str], body: bytes) -> tuple[int, bytes]:
    """Send a request byte by byte as it is given; return the status and the answer's body."""
    if not any(one.lower().startswith("content-length") for one in headers):
        headers = [*headers, f"Content-Length: {len(body)}"]
    head = "\r\n".join(["POST /predict HTTP/1.1", "Host: x", "Connection: close", *headers])
    address = httpx.URL(server.url)
    with socket.create_connection((address.host, address.port or 80), timeout=10) as connection:
        connection.sendall(head.encode("latin-1") + b"\r\n\r\n" + body)
        answer = http.client.HTTPResponse(connection, method="POST")
        answer.begin()
        return answer.status, answer.read()


def test_requests_of_every_kind(either: Server) -> None:
    """A picture is found wherever it is, and what is wrong with a request is named."""
    expected = either.predict(PICTURE).json()
    for name, (headers, body, code) in CASES.items():
        status, content = ask(either, headers, body)
        answer = json.loads(content)

        assert answer.get("error", {"code": "ok"})["code"] == code, name
        assert (status == httpx.codes.OK) == (code == "ok"), name
        assert "error" in answer or answer == expected, name


def test_lengths_that_are_none(server: Server) -> None:
    """A length that no number can be made of is refused, and the server goes on."""
    for length in UNPARSED:
        assert ask(server, [f"Content-Length: {length}"], PICTURE)[0] in (400, 413), length
    assert ask(server, [f"Content-Length: {len(PICTURE):05000}"], PICTURE)[0] in (200, 400)


def test_table_of_many(either: Server) -> None:
    """`Accept: text/csv` gives a row a picture, which no spreadsheet runs anything in."""
    files = [("f", (name, data)) for name, data in (("=1+1.jpg", PICTURE), ("b", b"none"))]
    url, weights = f"{either.url}/v1/predict", "text/csv, application/json;q=0.5"
    answer = httpx.post(url, files=files, headers={"Accept": weights})
    good, bad = csv.DictReader(io.StringIO(answer.text))
    prediction = either.predict(PICTURE).json()

    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    shares = {f"probability_{one}": str(prediction["probabilities"][one]) for one in LABELS}
    label, probability = prediction["label"], str(prediction["probability"])
    expected = {"name": "'=1+1.jpg", "label": label, "probability": probability, **shares}
    assert good == {**expected, "error": ""}
    assert bad == {**dict.fromkeys(expected, ""), "name": "b", "error": "unsupported_image"}
