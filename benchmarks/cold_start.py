"""How long a Lambda function takes to start, what memory it takes, and what its handler costs.

    sh heroku/build.sh ant_bee_classifier:latest antbee:latest
    python benchmarks/cold_start.py antbee:latest

Runs the image in Lambda's emulator (`make tools`) with as much memory and processor time as AWS
gives a function, and sends it an event with a picture. That starts the process: measured are the
time to the answer, the seconds of CPU that the process has used by then, and its memory at its
peak. At its start AWS gives a small function more processor time than here.

Then, in this process, what the handler takes for an event beside the application that it calls.
Prints a table, then one JSON line.
"""

import argparse
import asyncio
import contextlib
import http.client
import io
import json
import secrets
import socket
import statistics
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil
from PIL import Image
from starlette.types import Receive, Scope, Send

from antbee.serving.aws import Function
from gateway import INVOCATIONS, to_event
from servers import HERE

EMULATOR: Final = HERE.parent / ".venv-tools/bin/aws-lambda-rie"
SIZES: Final = ((1769, 1.0), (512, 0.29))
"""MiB of memory, and the cores that AWS gives with it."""
EVENTS: Final = 2000


@dataclass
class Context:
    """What the runtime client says about an event."""

    aws_request_id: str = "0"

    def get_remaining_time_in_millis(self) -> int:
        """Return half a minute."""
        return 30_000


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit code."""
    parser = argparse.ArgumentParser(description="A Lambda function's start, memory and handler.")
    parser.add_argument("image")
    parser.add_argument("--picture", type=Path, help="what is asked about; by default one is drawn")
    parser.add_argument("--starts", type=int, default=7, help="of each size of function")
    options = parser.parse_args(argv)
    if not EMULATOR.exists():
        raise SystemExit("error: Lambda's emulator is not here: make tools")
    if options.picture:
        picture = options.picture.read_bytes()
    else:
        Image.effect_noise((500, 375), 60).convert("RGB").save(file := io.BytesIO(), "JPEG")
        picture = file.getvalue()
    event = to_event("POST", "/predict", body=picture)
    result: dict[str, Any] = {}
    for memory, cores in SIZES:
        starts = [start(options.image, memory, cores, event) for _ in range(options.starts)]
        for name, found in zip(
            ("seconds", "cpu_seconds", "peak_mib"), zip(*starts, strict=True), strict=True
        ):
            result[f"{name}_{memory}"] = round(statistics.median(found), 2)
            result[f"{name}_{memory}_most"] = round(max(found), 2)
    result["handler_ms"] = round(1000 * handler_seconds(event), 3)
    for name, value in result.items():
        print(f"{name:24} {value:8.6g}")
    print("\n" + json.dumps(result))
    return 0


def start(image: str, memory: int, cores: float, event: Any) -> tuple[float, float, float]:  # noqa: ANN401 - JSON
    """Start a function with an event, and end it: seconds, seconds of CPU, MiB at the peak.

    Raises:
        SystemExit: it did not answer.
    """
    content = json.dumps(event).encode()
    with emulator(image, memory, cores) as (port, emulators):
        connection = http.client.HTTPConnection("127.0.0.1", port)
        began = time.perf_counter()
        connection.request("POST", INVOCATIONS, content)
        answer = json.loads(connection.getresponse().read() or b"{}")
        seconds = time.perf_counter() - began
        if answer.get("statusCode") != http.HTTPStatus.OK:
            raise SystemExit(f"error: the function answered {answer}")
        (function,) = emulators.children()
        used = function.cpu_times()
        status = Path(f"/proc/{function.pid}/status").read_text()
    peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    return seconds, used.user + used.system, peak / 1024


@contextlib.contextmanager
def emulator(image: str, memory: int, cores: float) -> Iterator[tuple[int, psutil.Process]]:
    """Run an image in Lambda's emulator; gives its port and its process."""
    name, port, runtime = f"cold-start-{secrets.token_hex(4)}", free_port(), free_port()
    # fmt: off
    docker(
        "run", "--detach", "--name", name, "--network", "host", "--cpus", f"{cores}",
        "--memory", f"{memory}m", "--memory-swap", f"{memory}m", "--user", "993:990", "--read-only",
        "--ipc", "none", "--tmpfs", "/tmp:size=512m",  # noqa: S108 - the container's
        "--env", f"AWS_LAMBDA_FUNCTION_MEMORY_SIZE={memory}",
        "--volume", f"{EMULATOR.resolve()}:/rie:ro", "--entrypoint", "/rie", image,
        "--runtime-interface-emulator-address", f"127.0.0.1:{port}",
        "--runtime-api-address", f"127.0.0.1:{runtime}", "/bento/src/aws/serve-lambda",
    )
    # fmt: on
    try:
        process = psutil.Process(int(docker("inspect", "--format", "{{.State.Pid}}", name)))
        while process.is_running():
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.05)
        yield port, process
    finally:
        docker("rm", "--force", name)


def docker(*arguments: str) -> str:
    """Run the engine's command line.

    Raises:
        SystemExit: it failed, and has said why.
    """
    run = subprocess.run(  # noqa: S603 - the arguments are ours
        ["docker", *arguments],  # noqa: S607 - whichever there is
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if run.returncode:
        raise SystemExit(f"error: docker {arguments[0]} failed, and says above why")
    return run.stdout


def free_port() -> int:
    """Find a port that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def handler_seconds(event: Any) -> float:  # noqa: ANN401 - JSON
    """Measure the CPU time that the handler takes for an event, less the application's."""
    content = json.dumps({"label": "ant", "probabilities": {"ant": 0.9, "bee": 0.1}}).encode()
    headers = [(b"content-type", b"application/json")]

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            return
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b""}

    async def send(_: Any) -> None:  # noqa: ANN401 - a message
        pass

    async def alone() -> None:
        for _ in range(EVENTS):
            await app({"type": "http"}, receive, send)

    function, context = Function(app), Context()
    began = time.process_time()
    for _ in range(EVENTS):
        function(event, context)
    handled = time.process_time() - began
    function.close()
    began = time.process_time()
    asyncio.run(alone())
    return (handled - (time.process_time() - began)) / EVENTS


if __name__ == "__main__":
    raise SystemExit(main())
