"""Metrics of one worker, and of several."""

import asyncio
import re
import time

from tests.heroku.container.client import Tally, for_seconds, load
from tests.heroku.container.conftest import FIGURES
from tests.heroku.container.dyno import Dyno, run_dyno


def answered(dyno: Dyno) -> float:
    """Return how many pictures the metrics say were answered."""
    text = dyno.get("/metrics")
    found = re.search(r'antbee_requests_total{path="/predict",status="200"} (\S+)', text)
    return float(found[1]) if found else 0.0


def post(dyno: Dyno, jpeg: bytes) -> Tally:
    """Post for a second, from more clients than there are workers."""
    return asyncio.run(load(dyno.port, [jpeg], for_seconds(1)))


def test_metrics_are_those_of_all_workers(image: str, jpeg: bytes) -> None:
    """Whichever worker is asked, it answers for all, and for one that has died."""
    with run_dyno(image, memory="1g", WEB_CONCURRENCY="2") as dyno:
        first = post(dyno, jpeg).outcomes[200]
        seen = {answered(dyno) for _ in range(10)}
        dyno.shell(f"kill -KILL {dyno.workers()[0]}")
        time.sleep(4)
        second = post(dyno, jpeg).outcomes[200]
        after = answered(dyno)
        in_flight = re.search(r"\nantbee_pictures_in_flight (\S+)", dyno.get("/metrics"))
        workers = len(dyno.workers())

    assert seen == {first}
    assert after == first + second
    assert in_flight is not None
    assert float(in_flight[1]) == 0
    assert workers == 2


def test_series_are_few(dyno: Dyno, jpeg: bytes) -> None:
    """A series is paid for on every machine; probes are counted, and not timed."""
    for path in ("/livez", "/readyz", "/metrics"):
        dyno.get(path)
    assert post(dyno, jpeg).outcomes[200]
    series = [line for line in dyno.get("/metrics").splitlines() if not line.startswith("#")]
    FIGURES["Prometheus series of one worker"] = len(series)

    assert len(series) <= 70
    assert any(line.startswith("antbee_request_seconds_bucket{le=") for line in series)
    assert not any("_created" in line for line in series)
