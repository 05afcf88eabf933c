"""What the server counts, for Prometheus. No label takes a value that a client can invent."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
PROBABILITIES: Final = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)
SECONDS: Final = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    25.0,
)
DIRECTORY: Final = "PROMETHEUS_MULTIPROC_DIR"
"""Where the processes of one server share their numbers, as prometheus_client names it."""


class Metrics:
    """The counters of one process."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "antbee_requests", "Requests answered", ["path", "status"], registry=registry
        )
        self._seconds = Histogram(
            "antbee_request_seconds",
            "From a request's headers to the end of its answer",
            ["path"],
            buckets=SECONDS,
            registry=registry,
        )
        self._stages = Histogram(
            "antbee_stage_seconds",
            "Where a picture's time goes: queue, decode, network, draw",
            ["stage"],
            buckets=SECONDS,
            registry=registry,
        )
        self._predictions = Counter(
            "antbee_predictions", "Pictures classified", ["label"], registry=registry
        )
        self._probability = Histogram(
            "antbee_probability",
            "The probability of each prediction",
            buckets=PROBABILITIES,
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

    def answered(self, path: str, status: int, seconds: float) -> None:
        """Count a request to one of our paths, or to `other`."""
        self._requests.labels(path, status).inc()
        self._seconds.labels(path).observe(seconds)

    def predicted(self, label: str, probability: float) -> None:
        """Count a prediction."""
        self._predictions.labels(label).inc()
        self._probability.observe(probability)

    def rejected(self, code: str) -> None:
        """Count a request that got an error of ours."""
        self._rejections.labels(code).inc()

    def waited(self, seconds: float) -> None:
        """Note how long a picture waited for a thread."""
        self._stages.labels("queue").observe(seconds)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time one stage of a picture's way."""
        began = time.perf_counter()
        yield
        self._stages.labels(name).observe(time.perf_counter() - began)

    @contextmanager
    def in_flight(self, pictures: int = 1) -> Iterator[None]:
        """Count pictures while the server holds them."""
        self._in_flight.inc(pictures)
        try:
            yield
        finally:
            self._in_flight.dec(pictures)

    def exposition(self) -> bytes:
        """Write the numbers of all processes in Prometheus's text format."""
        if not os.environ.get(DIRECTORY):
            return generate_latest(self._registry)
        shared = CollectorRegistry()
        MultiProcessCollector(shared)  # type: ignore[no-untyped-call]  # it ships no types
        return generate_latest(shared)
