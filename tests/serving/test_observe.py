"""What the server counts."""

import asyncio
import logging
import os
import re
import weakref
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import Response

from antbee.errors import SettingsError
from antbee.predictor import Prediction
from antbee.serving.observe import DIRECTORY, Metrics, Processes, Telemetry
from tests.conftest import REPOSITORY


class Headers(list[tuple[bytes, bytes]]):
    """Headers of which can be told whether they are in memory."""


def test_predictions_and_rejections() -> None:
    """Predictions are counted by label, probability and typicality, rejections by code."""
    metrics = Metrics()
    metrics.predicted(Prediction("ant", 0.97, {}, known=True, typicality=0.4))
    metrics.predicted(Prediction("ant", 0.55, {}, known=False, typicality=0.03))
    metrics.predicted(Prediction("bee", 0.55, {}))
    metrics.rejected("corrupt_image")
    counted = metrics.exposition().decode()

    assert 'antbee_predictions_total{label="ant"} 2.0' in counted
    assert 'antbee_probability_ratio_bucket{le="0.7"} 2.0' in counted
    assert "antbee_unknown_total 1.0" in counted
    assert 'antbee_typicality_ratio_bucket{le="0.05"} 1.0' in counted
    assert "antbee_typicality_ratio_count 2.0" in counted
    assert 'antbee_rejections_total{code="corrupt_image"} 1.0' in counted


def test_stages_and_flight() -> None:
    """Time is counted by stage; pictures in flight go up and down again."""
    metrics = Metrics()
    with metrics.in_flight(), metrics.stage("decode"):
        during = metrics.exposition().decode()
    metrics.waited(0.002)
    after = metrics.exposition().decode()

    assert "antbee_pictures_in_flight 1.0" in during
    assert "antbee_pictures_in_flight 0.0" in after
    assert 'antbee_stage_seconds_count{stage="decode"} 1.0' in after
    assert 'antbee_stage_seconds_sum{stage="queue"} 0.002' in after


def test_process_is_measured() -> None:
    """The process that serves says what it uses; several say which they are."""
    alone = Metrics().exposition().decode()

    assert "\nprocess_resident_memory_bytes " in alone
    assert "\nprocess_open_fds " in alone


def test_processes_of_a_folder_are_measured(tmp_path: Path) -> None:
    """Of several that count in one folder, each that still runs is told apart by its number."""
    for pid in (os.getpid(), 2**22 + 1):  # no system gives the latter
        (tmp_path / f"counter_{pid}.db").touch()
    samples = [one for metric in Processes(tmp_path).collect() for one in metric.samples]

    assert {one.labels["pid"] for one in samples} == {str(os.getpid())}
    assert "process_cpu_seconds_total" in {one.name for one in samples}


def test_folder_that_cannot_be_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A folder for metrics is made where it is missing; one that cannot be is named."""
    (tmp_path / "file").touch()
    monkeypatch.setenv(DIRECTORY, str(tmp_path / "new" / "folder"))
    Metrics()
    monkeypatch.setenv(DIRECTORY, str(tmp_path / "file" / "folder"))

    assert (tmp_path / "new" / "folder").is_dir()
    with pytest.raises(SettingsError, match=r"PROMETHEUS_MULTIPROC_DIR=.*Not a directory"):
        Metrics()


@pytest.mark.parametrize(
    ("client", "logged"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("2001:DB8::7", "2001:DB8::7"),
        ("fe80::1%eth0", "fe80::1%eth0"),
        ("::1 GET /admin 200", "-"),
        ("someone", "-"),
        ("7" * 5000, "-"),
    ],
    ids=["ipv4", "ipv6", "zone", "line", "name", "long"],
)
def test_only_an_address_is_logged_as_the_client(
    caplog: pytest.LogCaptureFixture, client: str, logged: str
) -> None:
    """A proxy may be believed that hands on what its own client calls itself."""

    async def pass_by(*_: Any) -> Any:  # noqa: ANN401 - ASGI's
        pass

    scope: Any = {
        "type": "http",
        "client": (client, 0),
        "method": "GET",
        "path": "/x",
        "headers": [],
    }
    with caplog.at_level(logging.INFO, "antbee.access"):
        asyncio.run(Telemetry(Response(), Metrics(), ())(scope, pass_by, pass_by))

    assert caplog.messages[0].startswith(f"{logged} GET ")


def test_nothing_is_put_off_while_nobody_waits() -> None:
    """A service that others call past our HTTP counts at once, where other processes read it."""
    metrics = Metrics()
    done: list[int] = []
    metrics.note(done.append, 1)

    assert done == [1]


def test_what_is_put_off_keeps_no_request() -> None:
    """Lines and counts wait while another request is answered; what clients have sent does not."""
    metrics = Metrics()
    done: list[int] = []
    held: list[weakref.ref[Headers]] = []

    async def receive() -> Any:  # noqa: ANN401 - ASGI's
        pass

    async def send(_: Any) -> None:  # noqa: ANN401 - ASGI's
        pass

    async def answer(path: str) -> None:
        headers = Headers([(b"x-padding", bytes(60_000))])
        held.append(weakref.ref(headers))
        scope: Any = {"type": "http", "client": None, "method": "GET", "path": path}
        await telemetry({**scope, "headers": headers}, receive, send)

    async def app(scope: Any, *_: Any) -> None:  # noqa: ANN401 - ASGI's
        if scope["path"] == "/slow":
            await answer("/quick")
            metrics.note(done.append, 1)
            assert held[1]() is None
            assert done == []

    telemetry = Telemetry(app, metrics, ())
    asyncio.run(answer("/slow"))

    assert done == [1]
    assert 'antbee_requests_total{path="other",status="500"} 2.0' in metrics.exposition().decode()


def test_documents_ask_for_what_is_counted() -> None:
    """Every metric and bucket in the documents' alerts and questions is there."""
    metrics = Metrics()
    metrics.predicted(Prediction("ant", 0.97, {}, known=False, typicality=0.04))
    metrics.answered("/predict", 200, 0.01)
    metrics.rejected("overloaded")
    metrics.corrected("ant", None)
    metrics.waited(0.002)
    counted = metrics.exposition().decode()
    queries = "".join(path.read_text() for path in REPOSITORY.glob("docs/*.md"))
    asked = set(
        re.findall(r"\bantbee_\w+?_(?:total|bucket|count|sum)\b|antbee_pictures\w+", queries)
    )
    buckets = set(re.findall(r'(antbee_\w+_bucket\{le="[\d.]+")', queries))

    assert len(asked) >= 10
    assert len(buckets) >= 3
    assert not [name for name in (*asked, *buckets) if f"\n{name}" not in counted]
