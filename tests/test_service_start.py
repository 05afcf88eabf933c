"""The service's starts: with other servers and runtimes, and those that fail."""

import contextlib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from antbee.artifact import ONNX, PackedModel, read_model
from antbee.serving.classifier import Classifier
from antbee.serving.observe import Metrics
from antbee.serving.settings import Settings
from tests.conftest import (
    REPOSITORY,
    Server,
    StartServer,
    bentoml_serve,
    encode,
    environment,
    free_port,
    noise,
)
from tests.test_service_limits import counted


def test_gunicorn_serves_the_same(gunicorn_server: Server, server: Server, jpeg: bytes) -> None:
    """Under gunicorn several workers give BentoML's answers, and count together."""
    name = 'antbee_requests_total{path="/predict",status="200"}'
    before = counted(gunicorn_server, name)
    answers = [gunicorn_server.predict(jpeg).json() for _ in range(10)]

    assert answers == [server.predict(jpeg).json()] * 10
    assert counted(gunicorn_server, name) - before == 10


@pytest.fixture(scope="module")
def two_workers(start_server: StartServer) -> Iterator[Server]:
    """Serve with two workers, on PyTorch."""
    with start_server(ANTBEE_RUNTIME="torch", WEB_CONCURRENCY="2") as running:
        yield running


def workers_of(server: Server) -> list[psutil.Process]:
    """Find the processes that answer."""
    found = []
    for process in psutil.Process(server.process.pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # one that BentoML asks something
            if "_bentoml_impl.worker.service" in process.cmdline():
                found.append(process)
    return found


def test_two_workers_with_torch(two_workers: Server, packed: PackedModel, server: Server) -> None:
    """As many processes as `WEB_CONCURRENCY` says, and on PyTorch the same answers to 1e-4."""
    pictures = [encode(noise(200, 150, seed)) for seed in range(4)]

    assert len(workers_of(two_workers)) == 2
    for data in pictures:
        answer, ours = two_workers.predict(data).json(), server.predict(data).json()
        assert ours["label"] == answer["label"]
        for label in packed.labels:
            assert abs(ours["probabilities"][label] - answer["probabilities"][label]) < 1e-4


def test_taken_port_stops_the_start(server: Server, bentoml_home: Path, jpeg: bytes) -> None:
    """A port that is taken is named in one line, and the metrics of who has it stay."""
    server.predict(jpeg)
    name = 'antbee_requests_total{path="/predict",status="200"}'
    before = counted(server, name)
    run = _start_failing(bentoml_home, urlsplit(server.url).port)

    assert run.returncode == 1
    assert re.fullmatch(r"error: cannot listen on 0.0.0.0:\d+ .*another with --port\n", run.stderr)
    assert counted(server, name) == before > 0


def test_workers_end_with_their_parent(two_workers: Server) -> None:
    """Soon after a kill of `bentoml serve`, its workers are gone, and their metrics."""
    workers = workers_of(two_workers)
    folder = Path(workers[0].environ()["PROMETHEUS_MULTIPROC_DIR"])
    assert list(folder.glob("*.db"))
    two_workers.process.kill()
    _, left = psutil.wait_procs(workers, timeout=30)

    assert not left
    assert not folder.exists()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="only Linux says it in time")
def test_signal_ends_a_server_that_is_just_starting_its_workers(bentoml_home: Path) -> None:
    """The first signal counts, in a moment in which circus takes no commands."""
    process = subprocess.Popen(
        [sys.executable, "-m", *bentoml_serve(".", free_port())],
        cwd=REPOSITORY,
        env=environment(bentoml_home),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    try:
        while not children.read_text():
            assert process.poll() is None
        process.terminate()

        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()


def test_bad_setting_stops_the_start(bentoml_home: Path) -> None:
    """A setting that cannot be ends the command with one line that names it."""
    run = _start_failing(bentoml_home, ANTBEE_QUEUE="many")

    assert run.returncode == 1
    assert run.stderr == "error: ANTBEE_QUEUE='many': it must be a whole number from 0 to 100000\n"


def test_no_model_stops_the_start(tmp_path: Path) -> None:
    """Without a packed model, the command says which one to make."""
    run = _start_failing(tmp_path)

    assert run.returncode == 1
    assert run.stderr.endswith("run save_to_bento.py first\n")
    assert "Traceback" not in run.stderr


def test_damaged_model_stops_the_start(bentoml_home: Path, tmp_path: Path) -> None:
    """A packed model that was damaged is refused by name."""
    home = shutil.copytree(bentoml_home, tmp_path / "home")
    (path,) = home.glob(f"models/ant_bee_classifier/*/{ONNX}")
    path.write_bytes(b"damaged" + path.read_bytes())
    run = _start_failing(home)

    assert run.returncode == 1
    assert f"{ONNX} is damaged" in run.stderr
    assert "Traceback" not in run.stderr


def _start_failing(
    home: Path, port: int | None = None, **settings: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bentoml", "serve", "--port", str(port or free_port())],
        cwd=REPOSITORY,
        env=environment(home, **settings),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_readiness_waits_for_the_first_answer(packed: PackedModel) -> None:
    """The classifier is not ready until the model has answered once."""
    classifier = Classifier(read_model(packed.folder), "x:1", Settings(), Metrics())

    assert not classifier.ready
    classifier.warm_up()
    assert classifier.ready
