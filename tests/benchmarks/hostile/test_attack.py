"""Those who wish a server ill, and a real one; and how its answers are judged."""

import json
from typing import Any

import httpx
import pytest

from hostile import attack
from hostile.attack import OffShape, outcome
from hostile.requests import PARTS
from tests.conftest import LABELS, Server, encode, noise

PREDICTION = {
    "label": "circle",
    "probability": 0.5,
    "probabilities": {"circle": 0.5, "square": 0.25, "triangle": 0.25},
    "model": "name:version",
}
ERROR = {"error": {"code": "corrupt_image", "message": "broken"}}


@pytest.mark.parametrize(
    ("path", "status", "content", "expected"),
    [
        ("/predict", 200, PREDICTION, "ok"),
        ("/predict", 422, ERROR, "corrupt_image"),
        ("/v1/predict", 200, {"images": [PREDICTION]}, "ok"),
        ("/v1/predict", 200, {"images": [PREDICTION, ERROR]}, "some failed"),
    ],
)
def test_documented_answers_have_a_name(
    path: str, status: int, content: dict[str, Any], expected: str
) -> None:
    """Predictions and errors, alone and several together."""
    assert outcome(httpx.Response(status, json=content), path, LABELS) == expected


def test_a_heat_map_is_a_png() -> None:
    """With its label and its probability."""
    headers = {"Content-Type": "image/png", "X-Label": "circle", "X-Probability": "0.5"}
    answer = httpx.Response(200, content=encode(noise(32, 32), "PNG"), headers=headers)

    assert outcome(answer, "/explain?label=circle", LABELS) == "ok"


@pytest.mark.parametrize(
    ("path", "status", "content"),
    [
        ("/predict", 200, ERROR),
        ("/predict", 200, {"images": [PREDICTION]}),
        ("/predict", 200, {**PREDICTION, "more": 1}),
        ("/predict", 200, {**PREDICTION, "label": "square"}),
        ("/predict", 200, {**PREDICTION, "probability": 1}),
        ("/predict", 200, {**PREDICTION, "probabilities": {"circle": 0.5}}),
        ("/predict", 400, ERROR),
        ("/predict", 422, PREDICTION),
        ("/predict", 422, {"error": "corrupt_image"}),
        ("/predict", 422, {"error": {"code": "new", "message": "x"}}),
        ("/predict", 422, [ERROR]),
        ("/v1/predict", 200, PREDICTION),
        ("/v1/predict", 200, {"images": []}),
        ("/explain", 200, PREDICTION),
    ],
)
def test_other_answers_are_faults(path: str, status: int, content: Any) -> None:  # noqa: ANN401 - whatever JSON holds
    """Another shape, another status than the code's, another type."""
    with pytest.raises(OffShape):
        outcome(httpx.Response(status, json=content), path, LABELS)


def test_text_and_numbers_that_are_none_are_faults() -> None:
    """Not JSON, whatever its status and type say."""
    nan = json.dumps({**PREDICTION, "probability": float("nan")})
    for content, kind in ((nan, "application/json"), ("Internal Server Error", "text/plain")):
        answer = httpx.Response(200, content=content, headers={"Content-Type": kind})
        with pytest.raises(OffShape):
            outcome(answer, "/predict", LABELS)


def test_a_server_stands_it(
    server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A few of everything but what is huge: the exit code says that the server stood it."""
    monkeypatch.setattr(attack, "SETTLED", 0)
    parts = [name for name in PARTS if name not in ("bombs", "lengths")]
    watched = ["--url", server.url, "--pid", str(server.process.pid)]
    code = attack.main([*watched, "--count", "100", "--every", "13", "--only", *parts])
    result = json.loads(capsys.readouterr().out.splitlines()[-1])

    assert result["faults"] == []
    assert code == 0
    assert result["requests"] > 100
    assert result["children"] == result["ended"] == 0
    assert {"cut", "polyglot", "format not allowed", "form", "JSON"} <= result["kinds"].keys()
    assert result["answers"]["422 corrupt_image"] > 10
