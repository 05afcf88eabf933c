"""The service's starts: with other servers and runtimes, and those that fail."""

import contextlib
import shutil
import subprocess
import sys
from http import HTTPStatus
from pathlib import Path

import httpx
import psutil

from antbee.artifact import ONNX, PackedModel, read_model
from antbee.serving.classifier import Classifier
from antbee.serving.metrics import Metrics
from antbee.serving.settings import Settings
from tests.conftest import (
    REPOSITORY,
    Server,
    StartServer,
    encode,
    environment,
    free_port,
    gunicorn,
    noise,
)


def test_gunicorn_serves_the_same(
    start_server: StartServer, server: Server, jpeg: bytes, tmp_path: Path
) -> None:
    """Under gunicorn several workers give BentoML's answers, and count together."""
    settings = {"WEB_CONCURRENCY": "2", "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    with start_server(command=gunicorn, **settings) as gunicorn_server:
        answers = [gunicorn_server.predict(jpeg).json() for _ in range(10)]
        counted = httpx.get(f"{gunicorn_server.url}/metrics").text

    assert answers == [server.predict(jpeg).json()] * 10
    assert 'antbee_requests_total{path="/predict",status="200"} 10.0' in counted


def test_workers_answer_together(start_server: StartServer, jpeg: bytes) -> None:
    """`bentoml serve` starts as many processes as `WEB_CONCURRENCY` says."""
    with start_server(WEB_CONCURRENCY="2") as server:
        answer = server.predict(jpeg)
        commands = _commands_below(server.process.pid)

    assert answer.status_code == HTTPStatus.OK
    assert sum("_bentoml_impl.worker.service" in command for command in commands) == 2


def _commands_below(pid: int) -> list[list[str]]:
    commands = []
    for process in psutil.Process(pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # one that BentoML asks something
            commands.append(process.cmdline())
    return commands


def test_torch_runtime_gives_the_same_answers(
    start_server: StartServer, packed: PackedModel, server: Server
) -> None:
    """PyTorch and ONNX Runtime serve the same labels and probabilities to 1e-4."""
    pictures = [encode(noise(200, 150, seed)) for seed in range(4)]
    with start_server(ANTBEE_RUNTIME="torch") as torch_server:
        answers = [torch_server.predict(data).json() for data in pictures]

    for data, answer in zip(pictures, answers, strict=True):
        ours = server.predict(data).json()
        assert ours["label"] == answer["label"]
        for label in packed.labels:
            assert abs(ours["probabilities"][label] - answer["probabilities"][label]) < 1e-4


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


def _start_failing(home: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bentoml", "serve", "--port", str(free_port())],
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


def test_nothing_unusual_is_logged(server: Server) -> None:
    """After the requests of all the service's tests, these the last, no traceback is in the log."""
    assert "Traceback" not in server.log.read_text()
