"""The service as a Lambda function, in AWS's own emulator, behind what a function URL does."""

import platform
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from gateway import Gateway
from tests.conftest import (
    GUARDED,
    REPOSITORY,
    Server,
    environment,
    free_port,
    tool,
    wait_until_ready,
)

MEMORY = {"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1769"}


@contextmanager
def emulated(command: list[str], log: Path, variables: dict[str, str]) -> Iterator[Server]:
    """Let Lambda's emulator run a command, behind a gateway; it starts with the first request."""
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        pytest.skip("Lambda's emulator is for Linux on x86-64")
    port = free_port()
    options = ["--runtime-interface-emulator-address", f"127.0.0.1:{port}"]
    options += ["--runtime-api-address", f"127.0.0.1:{free_port()}"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [tool("aws-lambda-rie"), *options, *command],
            cwd=REPOSITORY,
            env=variables,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    while process.poll() is None:  # until it listens
        with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            break
        time.sleep(0.01)
    with Gateway(free_port(), f"http://127.0.0.1:{port}") as gateway:
        threading.Thread(target=gateway.serve_forever, name="gateway").start()
        try:
            yield Server(f"http://127.0.0.1:{gateway.server_port}", process, log)
        finally:
            gateway.shutdown()
            process.send_signal(signal.SIGTERM)
            process.wait(30)


@contextmanager
def function(home: Path, log: Path, **settings: str) -> Iterator[Server]:
    """Serve the packed model of a BentoML home from the working folder."""
    variables = environment(home, **{**MEMORY, **settings})
    with emulated(["aws/serve-lambda"], log, variables) as server:
        wait_until_ready(server)
        yield server


@pytest.fixture(scope="session")
def server(bentoml_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Serve with default settings."""
    log = tmp_path_factory.mktemp("function") / "log"
    with function(bentoml_home, log) as running:
        yield running
    assert "Traceback" not in log.read_text()


@pytest.fixture(scope="session")
def guarded(bentoml_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Serve with a key, small limits, one origin, a log in JSON, and addresses allowed."""
    log = tmp_path_factory.mktemp("function") / "log"
    with function(bentoml_home, log, **GUARDED) as running:
        yield running
    assert "Traceback" not in log.read_text()
