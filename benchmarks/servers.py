"""The servers that are compared: how they are started, watched and stopped.

Each is started in a process group of its own on a free port, and stopped by that group. While it
works its processes are watched: their memory, and whether any comes or goes.
"""

import argparse
import contextlib
import http.client
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import psutil

from antbee.machine import cores

HERE: Final = Path(__file__).resolve().parent
DROPPED: Final = ("PORT", "WEB_CONCURRENCY", "GUNICORN_CMD_ARGS", "BENTOML_CONFIG")
"""Variables by which a terminal's own settings would change the servers'."""
INTERVAL: Final = 0.1  # seconds between two looks
CHILDREN_FAULTS: Final = 10
"""Field 11 of Linux's `/proc/<pid>/stat`: page faults of children that have ended. Every process
has some, so that a child counts however short it lives."""
START_SECONDS: Final = 120
STOP_SECONDS: Final = 15


@dataclass(frozen=True)
class Server:
    """A server, and the setting that it runs with."""

    key: str  # for the command line
    name: str  # for the tables
    command: str  # with {port}, {tag}, {workers} and {threads}; `python` is this one
    ready: str = "/readyz"  # answers, and not with 5xx, once pictures can be sent
    field: str | None = None  # of the form that holds the picture; None where the body is it
    path: str = "/predict"  # where pictures are sent
    runtime: str = ""  # of a peer that is given our packed network; see `peers/packed.py`
    workers: int = 1  # processes that answer
    threads: int = 1  # that work in each of them

    def missing(self) -> str | None:
        """Name a library that its runtime needs and that is not installed, if there is one."""
        needed = {"openvino": ("openvino",), "nncf": ("openvino", "nncf")}.get(self.runtime, ())
        return next((name for name in needed if importlib.util.find_spec(name) is None), None)


@dataclass(frozen=True)
class Running:
    """A server that answers."""

    server: Server
    url: str  # where pictures are sent
    process: subprocess.Popen[bytes]  # the first of its processes
    ready_s: float  # seconds from its start until it is ready
    log: Path  # what it prints


ADDRESS: Final = "--host 127.0.0.1 --port {port}"
GUNICORN: Final = (
    "env PORT={port} GUNICORN_CMD_ARGS=--bind=127.0.0.1:{port} sh heroku/serve-gunicorn {tag}"
)
OURS: Final = (
    Server("bentoml", "antbee, bentoml serve", f"python -m bentoml serve {{tag}} {ADDRESS}"),
    Server("gunicorn", "antbee, gunicorn", GUNICORN),
)
STOCK: Final = f"python -m bentoml serve stock_bentoml:Stock {ADDRESS}"
BENTOML: Final = f"python -m bentoml serve bentoml_int8:Tuned {ADDRESS}"
FLASK: Final = (
    "python -m gunicorn --workers {workers} --threads {threads} --bind 127.0.0.1:{port} "
    "flask_int8:app"
)
FASTAPI: Final = (
    f"python -m uvicorn fastapi_int8:app {ADDRESS} --workers {{workers}} --loop uvloop "
    "--http httptools --no-access-log --log-level warning"
)
CORES: Final = cores()
RAW: Final = ("/predict", None, "/predict")
FORM: Final = ("/form", "file", "/form")
BATCH: Final = ("/readyz", "images", "/predict")
PEERS: Final = (
    Server("stock", "BentoML, torch, no settings", STOCK),
    Server("bentoml-int8", "BentoML, our int8", BENTOML, *BATCH, "onnx", CORES, 2 * CORES),
    Server("flask", "Flask, gunicorn, our int8", FLASK, *RAW, "onnx", CORES, 2 * CORES),
    Server("fastapi-form", "FastAPI, form, our int8", FASTAPI, *FORM, "onnx", CORES + 1, CORES),
    Server("fastapi-raw", "FastAPI, our int8", FASTAPI, *RAW, "onnx", CORES, CORES),
    Server("openvino", "FastAPI, OpenVINO, our int8", FASTAPI, *RAW, "openvino", 1, 2 * CORES),
    Server("nncf", "FastAPI, OpenVINO, its int8", FASTAPI, *RAW, "nncf", 1, CORES),
)
"""Processes and threads are what `serving.py --tune` found fastest on two cores; ask it again on
another machine. OpenVINO has threads of its own, and more processes are in each other's way. A peer
without a page for it is ready once it says how it wants to be asked, 405."""


def on_cores(server: Server, count: int) -> Server:
    """Give a peer its share of processes and threads where it has fewer cores than there are."""
    workers, threads = (
        max(1, round(number * count / cores())) for number in (server.workers, server.threads)
    )
    return replace(server, workers=workers, threads=threads)


@contextlib.contextmanager
def running(server: Server, tag: str, model: Path) -> Iterator[Running]:
    """Start a server, wait until it is ready, and stop it; ours serve a bento, peers a model.

    Raises:
        SystemExit: it did not start; with the end of what it printed.
    """
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    said = {"tag": tag, "port": port, "workers": server.workers, "threads": server.threads}
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "log").open("wb") as log:
        (metrics := Path(folder) / "metrics").mkdir()
        environment = {name: value for name, value in os.environ.items() if name not in DROPPED}
        programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment |= {"PATH": programs, "BENTOML_DO_NOT_TRACK": "True"}
        environment |= {"PROMETHEUS_MULTIPROC_DIR": str(metrics), "PEER_MODEL": str(model)}
        environment |= {"PEER_WORKERS": str(server.workers), "PEER_THREADS": str(server.threads)}
        environment |= {"PEER_RUNTIME": server.runtime}
        began = time.perf_counter()
        process = subprocess.Popen(  # noqa: S603 - the commands above
            [word.format(**said) for word in server.command.split()],
            cwd=HERE.parent if server.key in {one.key for one in OURS} else HERE / "peers",
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            if not wait_until_ready(port, server.ready, process):
                end = Path(log.name).read_text(errors="replace")[-2000:]
                raise SystemExit(f"error: {server.name} did not start:\n{end}")
            ready_s = time.perf_counter() - began
            url = f"http://127.0.0.1:{port}{server.path}"
            yield Running(server, url, process, ready_s, Path(log.name))
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_SECONDS)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # what is left of its group
            process.wait()


def family(pid: int) -> set[psutil.Process]:
    """Find a process and all its children; psutil tells apart those that had the same number."""
    with contextlib.suppress(psutil.NoSuchProcess):
        first = psutil.Process(pid)
        return {first, *first.children(recursive=True)}
    return set()


def memory(pid: int) -> float:
    """Count the megabytes of a process and all its children, once what they share."""
    used = 0
    for one in family(pid):
        with contextlib.suppress(psutil.NoSuchProcess):
            used += one.memory_full_info().pss
    return used / 1e6


def processor(pid: int) -> float:
    """Count the seconds that a process and all its children have computed, ended ones included."""
    seconds = 0.0
    for one in family(pid):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = one.cpu_times()
            seconds += times.user + times.system + times.children_user + times.children_system
    return seconds


def children_faults(pid: int) -> int:
    """Count the page faults of all ended children of a process and its children."""
    faults = 0
    for one in family(pid):
        with contextlib.suppress(OSError):
            # The second field, a name in parentheses, may hold spaces.
            fields = Path(f"/proc/{one.pid}/stat").read_text().rpartition(")")[2].split()
            faults += int(fields[CHILDREN_FAULTS - 2])
    return faults


class Watch(contextlib.AbstractContextManager["Watch"]):
    """Looks at a server's first process and all its children again and again, in a thread."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._before = family(pid)
        self._seen = set(self._before)
        self._faults = children_faults(pid)
        self._peak = memory(pid)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look_again, name="watch")
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        """End."""
        self._stop.set()
        self._thread.join()

    def lap(self) -> tuple[float, float]:
        """Tell the most memory since the last lap, and the memory now."""
        now = memory(self._pid)
        peak, self._peak = max(self._peak, now), now
        return peak, now

    def came(self) -> int:
        """Count the processes that were not there at the beginning."""
        return len(self._seen - self._before) + (children_faults(self._pid) > self._faults)

    def went(self) -> int:
        """Count the processes that were there at the beginning and are no more."""
        return len(self._before - family(self._pid))

    def _look_again(self) -> None:
        while not self._stop.wait(INTERVAL):
            self._seen |= family(self._pid)
            self._peak = max(self._peak, memory(self._pid))


def add_target(parser: argparse.ArgumentParser) -> None:
    """Let a command take a bento to serve, or the address of a server that runs."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("bento", nargs="?", help="a tag, or . for the working folder")
    what.add_argument("--url", help="ask this running server instead of starting one")
    parser.add_argument("--server", choices=[one.key for one in OURS], default=OURS[0].key)


@contextlib.contextmanager
def target(options: argparse.Namespace) -> Iterator[tuple[str, int | None, Path | None]]:
    """Start a server, or take the one that runs; give its address, first process and log."""
    if options.url is not None:
        yield options.url, getattr(options, "pid", None), None
        return
    server = next(one for one in OURS if one.key == options.server)
    with running(server, options.bento, Path()) as up:
        yield up.url.removesuffix("/predict"), up.process.pid, up.log


def wait_until_ready(port: int, path: str, process: subprocess.Popen[bytes]) -> bool:
    """Wait for an answer below 500 on a path; False if the process ends or takes too long."""
    end = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < end:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=START_SECONDS)
        with (
            contextlib.suppress(OSError, http.client.HTTPException),
            contextlib.closing(connection),
        ):
            connection.request("GET", path)
            if connection.getresponse().status < http.HTTPStatus.INTERNAL_SERVER_ERROR:
                return True
        time.sleep(0.01)
    return False
