"""A container that is run as Heroku runs a dyno, and what can be read from it and done to it."""

import contextlib
import json
import secrets
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import free_port

CGROUP = Path("/sys/fs/cgroup")


@dataclass
class Dyno:
    """A running container.

    Attributes:
        name: the container's.
        port: where it listens, on this machine.
        ready_after: seconds from `docker run` to the first 200 on `/readyz`.
    """

    name: str
    port: int
    ready_after: float = 0.0

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def state(self) -> dict[str, Any]:
        """What the engine knows of it: `Running`, `OOMKilled`, `ExitCode`, `Pid`."""
        state: dict[str, Any] = json.loads(docker("inspect", "-f", "{{json .State}}", self.name))
        return state

    def shell(self, script: str) -> str:
        """Run a shell script in it."""
        return docker("exec", self.name, "sh", "-c", script)

    def get(self, path: str) -> str:
        """Get an address of the server."""
        with urllib.request.urlopen(self.url + path, timeout=5) as answer:  # noqa: S310 - http
            return str(answer.read().decode())

    def signal_all(self, name: str) -> None:
        """Signal every process, the first one too, as Heroku does."""
        self.shell(f"kill -{name} -1 1")

    def workers(self) -> list[int]:
        """The workers' process ids, as the container sees them."""
        script = (
            "for s in /proc/[0-9]*/stat; do read -r pid _ _ parent _ <$s || continue;"
            ' [ "$parent" != 1 ] || echo $pid; done'
        )
        return [int(line) for line in self.shell(script).split()]

    def wait_until_ready(self, seconds: float = 60) -> float:
        """Wait for a 200 on `/readyz`, and return how long that took."""
        began = time.monotonic()
        while time.monotonic() < began + seconds:
            with contextlib.suppress(OSError, urllib.error.URLError):
                self.get("/readyz")
                return time.monotonic() - began
            time.sleep(0.02)
        pytest.fail(f"not ready within {seconds} s:\n{self.log()}")

    def wait_for_exit(self, seconds: float = 60) -> float:
        """Wait until it has ended, and return how long that took."""
        began = time.monotonic()
        docker("wait", self.name, timeout=seconds)
        return time.monotonic() - began

    def log(self) -> str:
        """All that it has written."""
        return docker("logs", self.name)

    def memory_used(self) -> int:
        """What it uses now, in bytes."""
        memory = Memory(_folder(self.state()["Pid"]))
        memory.read()
        return memory.peak

    @contextlib.contextmanager
    def watched(self) -> Iterator["Memory"]:
        """Read its memory ten times a second meanwhile."""
        memory, stop = Memory(_folder(self.state()["Pid"])), threading.Event()

        def watch() -> None:
            while not stop.wait(0.1):
                with contextlib.suppress(OSError):
                    memory.read()

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield memory
        finally:
            stop.set()
            thread.join()


@dataclass
class Memory:
    """A control group's memory, in bytes, of either version of control groups.

    Attributes:
        peak: the most that was used at once, without files that the system could drop at any time.
        swap: the most that was swapped out.
    """

    folder: Path
    peak: int = 0
    swap: int = 0
    readings: list[int] = field(default_factory=list)

    def read(self) -> None:
        """Take a reading."""
        lines = (self.folder / "memory.stat").read_text().splitlines()
        stat = {name: int(value) for name, value in (line.split() for line in lines)}
        old = (self.folder / "memory.usage_in_bytes").is_file()
        usage = self.folder / ("memory.usage_in_bytes" if old else "memory.current")
        files = stat["total_inactive_file" if old else "inactive_file"]
        used = int(usage.read_text()) - files
        self.readings.append(used)
        self.peak = max(self.peak, used)
        swap = self.folder / "memory.swap.current"
        swapped = stat.get("total_swap", 0) if old else int(swap.read_text())
        self.swap = max(self.swap, swapped)


def _folder(pid: int) -> Path:
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            return CGROUP / "memory" / path.lstrip("/")
        if not controllers:
            unified = CGROUP / path.lstrip("/")
    return unified


def docker(*arguments: str, timeout: float = 120) -> str:
    """Run the engine's command line and return all that it printed."""
    run = subprocess.run(
        ["docker", *arguments],  # noqa: S607 - whichever the developer has
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
        check=False,
    )
    if run.returncode:
        pytest.fail(f"docker {' '.join(arguments)}: {run.stdout}")
    return run.stdout


@contextlib.contextmanager
def run_dyno(image: str, *options: str, memory: str = "512m", **settings: str) -> Iterator[Dyno]:
    """Run an image as a dyno would, with `settings` in its environment; removed at the end."""
    dyno = Dyno(f"antbee-test-{secrets.token_hex(4)}", free_port())
    environment = {"PORT": str(dyno.port), **settings}
    user = str(10_000 + secrets.randbelow(50_000))
    # fmt: off
    limits = [
        "--memory", memory, "--memory-swap", memory, "--user", f"{user}:{user}", "--read-only",
        "--tmpfs", "/tmp:size=16m",  # noqa: S108 - the container's
        "--cap-drop", "ALL", "--security-opt", "no-new-privileges",
    ]
    # fmt: on
    given = [part for name, value in environment.items() for part in ("--env", f"{name}={value}")]
    began = time.monotonic()
    options = options or ("--network", "host")
    docker("run", "--detach", "--name", dyno.name, *limits, *given, *options, image)
    try:
        if "none" not in options:
            dyno.wait_until_ready()
        dyno.ready_after = time.monotonic() - began
        yield dyno
    finally:
        docker("rm", "--force", dyno.name)
