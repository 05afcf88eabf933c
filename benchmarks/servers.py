"""The servers that are compared: how each is started, and its time to ready and memory.

Each is started in a process group of its own on a free port, and stopped by that group.
"""

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from antbee.machine import cores

HERE: Final = Path(__file__).resolve().parent
PYTHON: Final = sys.executable
DROPPED: Final = ("PORT", "WEB_CONCURRENCY", "GUNICORN_CMD_ARGS", "BENTOML_CONFIG")
"""Variables by which a terminal's own settings would change the servers'."""
START_SECONDS: Final = 120
STOP_SECONDS: Final = 15


@dataclass(frozen=True)
class Server:
    """A server, and the setting that it runs with.

    Attributes:
        key: for the command line.
        name: for the tables.
        command: with `{port}`, `{tag}`, `{workers}` and `{threads}`.
        ready: the path that answers 200 once pictures can be sent.
        field: of the form that holds the picture; None where the body is the picture.
        folder: where it runs.
        workers: processes that answer.
        threads: that each process uses for one picture.
    """

    key: str
    name: str
    command: Sequence[str]
    ready: str = "/readyz"
    field: str | None = None
    folder: Path = HERE / "peers"
    workers: int = 1
    threads: int = 1


@dataclass(frozen=True)
class Running:
    """A server that answers.

    Attributes:
        url: where pictures are sent.
        process: the first of its processes.
        ready_s: seconds from its start to the first 200 on its readiness route.
        log: what it prints.
    """

    url: str
    process: subprocess.Popen[bytes]
    ready_s: float
    log: Path


def _python(arguments: str) -> tuple[str, ...]:
    return (PYTHON, *arguments.split(" "))


ADDRESS: Final = "--host 127.0.0.1 --port {port}"

OURS: Final = (
    Server(
        "bentoml",
        "antbee, bentoml serve",
        _python(f"-m bentoml serve {{tag}} {ADDRESS}"),
        folder=HERE.parent,
    ),
    Server(
        "gunicorn",
        "antbee, gunicorn",
        (
            *("env", "PORT={port}", "GUNICORN_CMD_ARGS=--bind=127.0.0.1:{port}"),
            *("WEB_CONCURRENCY={workers}", "sh", "heroku/serve-gunicorn", "{tag}"),
        ),
        folder=HERE.parent,
    ),
)

STOCK: Final = _python(f"-m bentoml serve stock_bentoml:Stock {ADDRESS}")
PEERS: Final = (
    Server("stock", "BentoML, torch", STOCK, threads=cores()),
    Server("tuned", "BentoML, torch, tuned", STOCK, workers=2),
    Server(
        "flask",
        "Flask, gunicorn, torch",
        _python("-m gunicorn --workers {workers} --bind 127.0.0.1:{port} flask_torch:app"),
        ready="/ready",
        field="file",
        workers=2,
    ),
    Server(
        "litserve",
        "LitServe, torch",
        _python("litserve_torch.py {port}"),
        ready="/health",
        field="file",
        workers=2,
    ),
    Server(
        "fastapi",
        "FastAPI, ONNX Runtime",
        _python(f"-m uvicorn fastapi_onnx:app {ADDRESS} --workers {{workers}} --no-access-log"),
        ready="/ready",
        field="file",
    ),
)
"""The first is as its documentation's first page leaves it: one process, torch's own threads. The
others have their best of the settings that `tune.py` tries."""


@contextlib.contextmanager
def running(server: Server, tag: str, model: Path) -> Iterator[Running]:
    """Start a server, wait until it is ready, and stop it at the end.

    Args:
        server: which one.
        tag: the bento that ours serve.
        model: the packed model's folder that the peers read.

    Raises:
        SystemExit: it did not start; with the end of what it printed.
    """
    port = free_port()
    places = {"port": port, "tag": tag, "workers": server.workers, "threads": server.threads}
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "log").open("w+b") as log:
        began = time.perf_counter()
        process = subprocess.Popen(  # noqa: S603 - the commands above
            [part.format(**places) for part in server.command],
            cwd=server.folder,
            env=environment(server, model, Path(folder)),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            if not wait_until_ready(port, server.ready, process):
                log.seek(0)
                said = log.read().decode(errors="replace")[-2000:]
                raise SystemExit(f"error: {server.name} did not start:\n{said}")
            url = f"http://127.0.0.1:{port}/predict"
            yield Running(url, process, time.perf_counter() - began, Path(log.name))
        finally:
            stop(process)


def environment(server: Server, model: Path, folder: Path) -> dict[str, str]:
    """Give the variables that a server starts with."""
    metrics = folder / "metrics"
    metrics.mkdir()
    return {
        **{name: value for name, value in os.environ.items() if name not in DROPPED},
        "PATH": f"{Path(PYTHON).parent}{os.pathsep}{os.environ['PATH']}",
        "BENTOML_DO_NOT_TRACK": "True",
        "PROMETHEUS_MULTIPROC_DIR": str(metrics),
        "PEER_MODEL": str(model),
        "PEER_WORKERS": str(server.workers),
        "PEER_THREADS": str(server.threads),
        # torch.set_num_threads holds for the thread that calls it, and some peers infer in others.
        **({} if server in OURS else {"OMP_NUM_THREADS": str(server.threads)}),
    }


def free_port() -> int:
    """Find a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def wait_until_ready(port: int, path: str, process: subprocess.Popen[bytes]) -> bool:
    """Wait for the first 200 on a path; False if the process ends or takes too long."""
    end = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < end:
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=START_SECONDS)
            with contextlib.closing(connection):
                connection.request("GET", path)
                if connection.getresponse().status == http.HTTPStatus.OK:
                    return True
        time.sleep(0.01)
    return False


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ask a server to end, and end what is left of its group."""
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def memory(pid: int) -> float:
    """Proportional set size of a process and all its children, in megabytes of 1,000,000 bytes.

    Pages that processes share are counted once.
    """
    parent = psutil.Process(pid)
    everyone = [parent, *parent.children(recursive=True)]
    return float(sum(one.memory_full_info().pss for one in everyone)) / 1e6
