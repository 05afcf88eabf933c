"""What people say of answers; in this process."""

import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from antbee.artifact import PackedModel
from antbee.serving import feedback
from antbee.serving.observe import JsonLines
from tests.conftest import LABELS, encode
from tests.serving.in_process import SETTINGS, Server

ON = replace(SETTINGS, feedback=True)


@pytest.fixture
def server(packed: PackedModel) -> Iterator[Server]:
    """Return a server that takes feedback."""
    made = Server(packed, ON)
    yield made
    made.api.close()


def ask(server: Server, picture: bytes, **headers: str) -> tuple[str, str]:
    """Post a picture; return the answer's id and label."""
    answer = server.post("/predict", content=picture, headers=headers)
    return answer.headers["x-request-id"], answer.json()["label"]


def refused(server: Server, **request: Any) -> tuple[int, str]:  # noqa: ANN401 - as httpx
    """Post what is no feedback to take; return status and code."""
    answer = server.post("/feedback", **request)
    return answer.status_code, answer.json()["error"]["code"]


def counts(server: Server) -> dict[str, float]:
    """Read what was counted, by `said` and `meant` as the metrics write them."""
    lines = server.metrics.exposition().decode().splitlines()
    found = (line.rsplit(" ", 1) for line in lines if line.startswith("antbee_feedback_total{"))
    return {name.partition("{")[2].rstrip("}"): float(value) for name, value in found}


def test_feedback_is_counted_and_logged(
    server: Server, jpeg: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """What somebody says is right is counted beside what was said, in one line of the log."""
    request_id, said = ask(server, jpeg)
    meant = next(label for label in LABELS if label != said)
    with caplog.at_level(logging.INFO, "antbee.access"):
        answer = server.post("/feedback", json={"id": request_id, "label": meant})

    assert answer.json() == {"id": request_id, "said": said, "meant": meant}
    assert counts(server) == {f'meant="{meant}",said="{said}"': 1}
    record, _ = caplog.records
    assert record.getMessage() == f"feedback id={request_id} said={said!r} meant={meant!r}"
    line = json.loads(JsonLines().format(record))
    assert (line["id"], line["said"], line["meant"]) == (request_id, said, meant)


def test_none_of_the_labels_may_be_right_or_said(telling: PackedModel, jpeg: bytes) -> None:
    """A null is none of the labels, and a picture that is not known was called none of them."""
    server = Server(telling, ON)
    white = encode(Image.new("RGB", (320, 240), "white"))
    for picture, meant in ((jpeg, None), (white, LABELS[0])):
        request_id, label = ask(server, picture)
        said = label if picture is jpeg else None
        answer = server.post("/feedback", json={"id": request_id, "label": meant})
        assert answer.json() == {"id": request_id, "said": said, "meant": meant}
    server.api.close()

    assert f'meant="{LABELS[0]}",said="none"' in counts(server)


def test_each_answer_counts_once(server: Server, jpeg: bytes) -> None:
    """A second word on an answer is refused, and the ids are those that routers send, too."""
    request_id, _ = ask(server, jpeg, **{"X-Request-ID": "router/1"})
    sent = {"id": "router/1", "label": LABELS[0]}

    assert request_id == "router/1"
    assert server.post("/feedback", json=sent).status_code == 200
    assert refused(server, json=sent) == (404, "unknown_id")
    assert sum(counts(server).values()) == 1


@pytest.mark.parametrize("given", ["", "never", "a\nb", "\ud800", "x" * 200])
def test_unknown_id_is_refused(server: Server, given: str) -> None:
    """What was never answered has no feedback."""
    body = json.dumps({"id": given, "label": None})
    assert refused(server, content=body) == (404, "unknown_id")


def test_several_pictures_have_no_id_each(server: Server, jpeg: bytes) -> None:
    """An id of several answers is none to say something of."""
    answer = server.post("/v1/predict", files=[("a", ("a", jpeg)), ("b", ("b", jpeg))])
    sent = {"id": answer.headers["x-request-id"], "label": None}

    assert refused(server, json=sent) == (404, "unknown_id")


@pytest.mark.parametrize("label", ["hexagon", "", 1, True, ["circle"], {}])
def test_label_is_one_of_the_models(server: Server, jpeg: bytes, label: object) -> None:
    """Another label is refused, and the answer may still get its own."""
    request_id, _ = ask(server, jpeg)

    sent = {"id": request_id, "label": label}
    assert refused(server, json=sent) == (400, "unknown_label")
    assert server.post("/feedback", json=sent | {"label": None}).status_code == 200


@pytest.mark.parametrize(
    "body", [b"", b"id=1&label=a", b"[]", b'{"id": "a"}', b'{"id": 1, "label": null}']
)
def test_feedback_is_json_with_two_fields(server: Server, body: bytes) -> None:
    """Anything else is refused."""
    assert refused(server, content=body) == (400, "invalid_json")


def test_body_is_small(server: Server) -> None:
    """Nobody uploads here, whatever a picture may take."""
    body = json.dumps({"id": "a" * feedback.MOST_BYTES, "label": None})
    assert refused(server, content=body) == (413, "body_too_large")


def test_rate_is_limited(packed: PackedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """So many come at once; then one a second, and the others are told to wait for it."""
    now = 1000.0
    monkeypatch.setattr(feedback, "BURST", 2)
    monkeypatch.setattr(feedback, "time", SimpleNamespace(monotonic=lambda: now))
    server = Server(packed, ON)
    sent = {"id": "never", "label": None}
    answers = [server.post("/feedback", json=sent) for _ in range(3)]
    now += 1
    later = [server.post("/feedback", json=sent).status_code for _ in range(2)]
    server.api.close()

    assert [one.status_code for one in answers] == [404, 404, 429]
    assert answers[2].json()["error"]["code"] == "overloaded"
    assert answers[2].headers["retry-after"] == "1"
    assert later == [404, 429]


def test_processes_remember_for_each_other(
    packed: PackedModel, jpeg: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A process knows what another one of its server has answered, and what was told to it."""
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    answering, told = Server(packed, ON), Server(packed, ON)
    request_id, said = ask(answering, jpeg)
    sent = {"id": request_id, "label": None}
    answer = told.post("/feedback", json=sent)

    assert answer.json()["said"] == said
    assert refused(answering, json=sent) == (404, "unknown_id")
    for server in (answering, told):
        server.api.close()


def test_off_there_is_no_such_address(packed: PackedModel, jpeg: bytes) -> None:
    """Unless it is set, the address is like any unknown one."""
    server = Server(packed)
    request_id, _ = ask(server, jpeg)
    sent = {"id": request_id, "label": None}
    server.api.close()

    assert server.post("/feedback", json=sent).json() == server.post("/nothing").json()
