"""What operators see: the metrics of a process, a request's id, and its line in the access log.

No label of a metric takes a value that a client can invent.
"""

import asyncio
import json
import logging
import os
import random
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    Summary,
    generate_latest,
)
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from antbee.errors import SettingsError
from antbee.predictor import Prediction

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
PROBABILITIES: Final = (0.5, 0.7, 0.9, 0.99)
"""How many answers are unsure, and how sure the others are; the last bucket is the rest."""
TYPICALITIES: Final = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
"""How many pictures another `ANTBEE_UNKNOWN_BELOW` would refuse, and whether half are below 0.5."""
SECONDS: Final = (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
"""From the fastest answer about a picture to a slow upload. A bucket is a series for each path and
process: what is asked of a latency is its 99th percentile, and the share above a limit."""
DIRECTORY: Final = "PROMETHEUS_MULTIPROC_DIR"
"""Where the processes of one server share their numbers, as prometheus_client names it."""
PROBES: Final = frozenset({"/livez", "/readyz", "/health", "/healthz"})
"""Paths that tell machines whether the server is there, and nothing else."""
QUIET: Final = PROBES | {"/metrics"}
"""Paths that machines ask every few seconds: counted, not logged."""
OTHER: Final = "other"
"""The metrics' name for every path that is not ours."""
LINE: Final = "%(client)s %(method)s %(path)s %(status)d %(bytes)dB id=%(id)s %(ms).1fms"
"""What the log has of a request; in JSON it has the same fields."""
SETTLE_SECONDS: Final = 0.5
"""How long requests' lines and counts are kept, at most, to be written together."""
MOST_NOTED: Final = 1000
"""How many of them, before they are written at once."""
_TOLD: Final = ("client", "method", "path", "raw_path")
"""What the log and the metrics have of a request's scope."""
_ID: Final = b"x-request-id"
SANE_ID: Final = re.compile(rb"[\w.:/+=-]{1,128}")
REQUEST_ID: Final = "antbee.request_id"
"""Where a request's scope has its id."""
NONE: Final = "none"
"""The metrics' name for none of the labels."""
_ADDRESS: Final = re.compile(r"[0-9A-Fa-f.:]{2,45}(?:%\w{1,15})?", re.ASCII)
"""What a client's address looks like; a proxy that is believed may hand on anything else."""

log = logging.getLogger("antbee.access")


class Metrics:
    """The counters of one process.

    What is told of a request is noted, and counted by `settle`, of many requests together: each
    time that the network has run, it has driven all other code out of the processor's caches, and
    the first request pays for all that it calls. While none is answered, nothing is put off.

    Attributes:
        tracer: makes a span of each stage, where traces are exported.
        unanswered: how many requests are being answered now.

    Raises:
        SettingsError: the folder that `PROMETHEUS_MULTIPROC_DIR` names cannot be had.
    """

    def __init__(self) -> None:
        if folder := os.environ.get(DIRECTORY):
            try:
                Path(folder).mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise SettingsError(f"{DIRECTORY}={folder!r}: {error.strerror}") from error
        self.tracer: Tracer | None = None
        self.unanswered = 0
        self._noted: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._settling = threading.Lock()
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "antbee_requests", "Requests answered", ["path", "status"], registry=registry
        )
        self._seconds = Histogram(
            "antbee_request_seconds",
            "From the headers of a request with a body to the end of its answer, but for 429",
            ["path"],
            buckets=SECONDS,
            registry=registry,
        )
        self._stages = Summary(
            "antbee_stage_seconds",
            "Where a picture's time goes: queue, decode, network, draw",
            ["stage"],
            registry=registry,
        )
        self._predictions = Counter(
            "antbee_predictions", "Pictures classified", ["label"], registry=registry
        )
        self._probability = Histogram(
            "antbee_probability_ratio",
            "The probability of each prediction",
            buckets=PROBABILITIES,
            registry=registry,
        )
        self._unknown = Counter(
            "antbee_unknown", "Pictures that seem to show none of the labels", registry=registry
        )
        self._typicality = Histogram(
            "antbee_typicality_ratio",
            "How usual each picture is among the model's validation pictures",
            buckets=TYPICALITIES,
            registry=registry,
        )
        self._feedback = Counter(
            "antbee_feedback",
            "Answers that somebody has said the right label of",
            ["said", "meant"],
            registry=registry,
        )
        self._rejections = Counter(
            "antbee_rejections", "Requests refused", ["code"], registry=registry
        )
        self._in_flight = Gauge(
            "antbee_pictures_in_flight",
            "Pictures that are held, whether uploading, waiting or running",
            multiprocess_mode="livesum",
            registry=registry,
        )

    def note(self, work: Callable[..., object], *arguments: object) -> None:
        """Leave something that nobody waits for to `settle`; it must not fail."""
        self._noted.append((work, arguments))
        if not self.unanswered or len(self._noted) > MOST_NOTED:
            self.settle()

    def settle(self) -> None:
        """Do what was noted, in that order."""
        with self._settling:
            while self._noted:
                work, arguments = self._noted.popleft()
                work(*arguments)

    def answered(self, path: str, status: int, seconds: float | None) -> None:
        """Count a request to one of our paths, or to `other`, and what it took if that is asked."""
        self._requests.labels(path, status).inc()
        if seconds is not None:
            self._seconds.labels(path).observe(seconds)

    def predicted(self, prediction: Prediction) -> None:
        """Count a prediction."""
        self.note(self._count, prediction)

    def _count(self, prediction: Prediction) -> None:
        self._predictions.labels(prediction.label).inc()
        self._probability.observe(prediction.probability)
        if prediction.typicality is not None:
            self._typicality.observe(prediction.typicality)
        if prediction.known is False:
            self._unknown.inc()

    def corrected(self, said: str | None, meant: str | None) -> None:
        """Count what somebody says is right, beside what was answered; None for no label."""
        self._feedback.labels(said or NONE, meant or NONE).inc()

    def rejected(self, code: str) -> None:
        """Count a request that got an error of ours."""
        self._rejections.labels(code).inc()

    def waited(self, seconds: float) -> None:
        """Tell how long a picture waited for a thread."""
        self.note(self._observe, "queue", seconds)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time one stage of a picture's way."""
        began = time.perf_counter()
        with nullcontext() if self.tracer is None else self.tracer.start_as_current_span(name):
            yield
        self.note(self._observe, name, time.perf_counter() - began)

    def _observe(self, stage: str, seconds: float) -> None:
        self._stages.labels(stage).observe(seconds)

    @contextmanager
    def in_flight(self, pictures: int = 1) -> Iterator[None]:
        """Count pictures while the server has them."""
        self._in_flight.inc(pictures)
        try:
            yield
        finally:
            self._in_flight.dec(pictures)

    def exposition(self) -> bytes:
        """Write the numbers of all processes in Prometheus's text format.

        Whatever else the service counts with prometheus_client is among them.
        """
        self.settle()
        folder = os.environ.get(DIRECTORY)
        if not folder:
            return generate_latest(self._registry) + generate_latest(REGISTRY)
        shared = CollectorRegistry()
        MultiProcessCollector(shared)  # type: ignore[no-untyped-call]  # it ships no types
        shared.register(Processes(Path(folder)))
        return generate_latest(shared)


@dataclass(eq=False)
class Processes(Collector):
    """The `process_` metrics of every process that has counted something in a folder, by `pid`."""

    folder: Path

    def collect(self) -> Iterator[Metric]:
        """Read what the system knows of each that still runs."""
        found: dict[str, Metric] = {}
        for path in self.folder.glob("counter_*.db"):
            pid = path.stem.partition("_")[2]
            for one in ProcessCollector(pid=partial(str, pid), registry=None).collect():
                metric = found.setdefault(one.name, Metric(one.name, one.documentation, one.type))
                for sample in one.samples:
                    metric.add_sample(sample.name, {"pid": pid}, sample.value)
        yield from found.values()


@dataclass
class Telemetry:
    """ASGI middleware: an id for each request, its count in the metrics, its line in the log.

    A sane `X-Request-ID` that the client or its router sent is kept, so that the lines of several
    servers can be brought together; otherwise a random one is made. The answer carries it too. The
    metrics name no other path than `paths`, and tell the latency of those that are `timed`. Line
    and count are written at once where no other request is being answered, and else a little later.
    """

    app: ASGIApp
    metrics: Metrics
    paths: Collection[str]
    timed: Collection[str] = ()

    def __post_init__(self) -> None:
        self._timer: asyncio.TimerHandle | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = time.perf_counter()
        self.metrics.unanswered += 1
        sent = (value for name, value in scope["headers"] if name == _ID)
        # To tell requests apart, not to keep anything secret: the system need not be asked.
        request_id = next(filter(SANE_ID.fullmatch, sent), b"%016x" % random.getrandbits(64))
        scope[REQUEST_ID] = request_id
        status, size = 500, 0

        async def send_with_id(message: Message) -> None:
            nonlocal status, size
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (_ID, request_id)]
            elif scope["method"] == "HEAD":
                # Starlette answers as if for GET, and gunicorn warns of every such answer.
                message["body"] = b""
            else:
                size += len(message.get("body", b""))
            await send(message)

        try:
            await self.app(scope, receive, send_with_id)
        finally:
            self.metrics.unanswered -= 1
            # With its headers, a thousand that wait to be told of could take 64 MB.
            about = {name: scope.get(name) for name in _TOLD}
            took, now = time.perf_counter() - began, time.time()
            self.metrics.note(self._tell, about, request_id, status, size, took, now)
            if self.metrics.unanswered and self._timer is None:
                self._timer = asyncio.get_running_loop().call_later(SETTLE_SECONDS, self._settle)

    def _settle(self) -> None:
        self._timer = None
        self.metrics.settle()

    def _tell(
        self, about: Scope, request_id: bytes, status: int, size: int, seconds: float, ended: float
    ) -> None:
        """Count a request that was answered, and write its line."""
        path = about["path"] if about["path"] in self.paths else OTHER
        # What is one too many waits for other refusals, and its time says nothing of answers.
        timed = path in self.timed and status != HTTPStatus.TOO_MANY_REQUESTS
        self.metrics.answered(path, status, seconds if timed else None)
        if path in QUIET or not log.isEnabledFor(logging.INFO):
            return
        client = (about["client"] or ("",))[0]
        fields = {
            "client": client if _ADDRESS.fullmatch(client) else "-",
            "method": about["method"],
            # As it came: still percent-encoded, so that no address can forge a line.
            "path": (about["raw_path"] or b"-").decode("latin-1"),
            "status": status,
            "bytes": size,
            "id": request_id.decode(),
            "ms": round(1000 * seconds, 1),
        }
        record = log.makeRecord(log.name, logging.INFO, __file__, 0, LINE, (fields,), None)
        record.created, record.msecs = ended, ended % 1 * 1000
        log.handle(record)


class JsonLines(logging.Formatter):
    """Writes a request's fields as one JSON object; `time` is when the answer was complete."""

    def format(self, record: logging.LogRecord) -> str:
        """Write one line, its time in UTC (RFC 3339)."""
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        fields: Any = record.args
        return json.dumps({"time": when, **fields})


def log_to_stderr(lines: str = "text") -> None:
    """Write the access log to stderr, unless whoever runs the server has given it a place.

    `lines` are `text`, or `json`, one object each.
    """
    if not log.handlers:
        handler = logging.StreamHandler()
        text = logging.Formatter("%(asctime)s %(message)s")
        handler.setFormatter(JsonLines() if lines == "json" else text)
        log.addHandler(handler)
        log.setLevel(logging.INFO)
        log.propagate = False
