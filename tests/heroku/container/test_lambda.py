"""The same image as AWS Lambda runs it: another command, and less that is there."""

import contextlib
import io
import math
import re
import secrets
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from antbee.images import LARGE
from gateway import Gateway
from tests.conftest import encode, free_port, tool
from tests.heroku.container.conftest import FIGURES
from tests.heroku.container.dyno import Dyno, docker


@contextlib.contextmanager
def run_sandbox(image: str, memory: int, **settings: str) -> Iterator[Dyno]:
    """Run the function in Lambda's emulator, with so many MiB of memory.

    It has a user of its own, and nothing to write to but 512 MB of `/tmp`: no `/dev/shm`, and no
    list of processors.
    """
    name, port, settings = f"antbee-test-{secrets.token_hex(4)}", free_port(), {**settings}
    settings |= {"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(memory), "HOME": "/home/sbx_user1051"}
    # fmt: off
    limits = [
        "--memory", f"{memory}m", "--memory-swap", f"{memory}m", "--user", "993:990", "--read-only",
        "--ipc", "none", "--tmpfs", "/tmp:size=512m,mode=1777",  # noqa: S108 - the container's
        "--mount", "type=tmpfs,dst=/sys/devices/system/cpu,tmpfs-size=4096",
        "--cap-drop", "ALL", "--security-opt", "no-new-privileges",
    ]
    emulator = [
        "--volume", f"{Path(tool('aws-lambda-rie')).resolve()}:/rie:ro", "--entrypoint", "/rie",
        "--network", "host", image,
        "--runtime-interface-emulator-address", f"127.0.0.1:{port}",
        "--runtime-api-address", f"127.0.0.1:{free_port()}",
    ]
    # fmt: on
    given = [part for one, value in settings.items() for part in ("--env", f"{one}={value}")]
    command = "/bento/src/aws/serve-lambda"
    docker("run", "--detach", "--name", name, *limits, *given, *emulator, command)
    try:
        with Gateway(free_port(), f"http://127.0.0.1:{port}") as gateway:
            threading.Thread(target=gateway.serve_forever, name="gateway").start()
            sandbox = Dyno(name, gateway.server_port)
            try:
                sandbox.wait_until_ready()
                yield sandbox
            finally:
                gateway.shutdown()
    finally:
        docker("rm", "--force", name)


def webp(megapixels: float) -> bytes:
    """Make a transparent WebP in few bytes: no other picture takes more memory for its size."""
    side = int((megapixels * 1e6) ** 0.5)
    plane = np.broadcast_to(np.linspace(0, 255, side).astype(np.uint8), (side, side))
    picture = Image.fromarray(np.stack([plane, plane], -1)).convert("RGBA")
    return encode(picture, "WEBP", lossless=True, quality=0, method=0)


@pytest.fixture(scope="module")
def sandbox(image: str) -> Iterator[Dyno]:
    """Run it with the memory that aws/lambda.yaml gives it."""
    with run_sandbox(image, 1769) as running:
        yield running


def test_answers_where_little_is_there(sandbox: Dyno, pictures: list[bytes]) -> None:
    """Pictures are answered, and the runtime is the one that packing chose."""
    for picture in pictures:
        answer = httpx.post(f"{sandbox.url}/predict", content=picture).json()
        assert answer["label"] in answer["probabilities"]
    model = httpx.get(f"{sandbox.url}/model").json()
    chosen = sandbox.shell("cat /bento/models/*/*/model.json")

    assert f'"runtime": "{model["runtime"]}"' in chosen
    assert httpx.post(f"{sandbox.url}/explain", content=pictures[0]).content[1:4] == b"PNG"
    log = sandbox.log()
    assert log.count("POST /predict 200") == len(pictures)
    assert not any(word in log for word in ("Traceback", "cpuinfo", "[ERROR]", "error:"))


def test_writes_next_to_nothing(sandbox: Dyno) -> None:
    """It leaves no file at all, in `/tmp` either; folders, BentoML makes."""
    assert sandbox.shell("find /tmp -type f").strip() == ""
    assert sandbox.shell("ls /dev/shm 2>&1 || true").startswith("ls: cannot access")


def test_memory_of_usual_pictures(image: str, pictures: list[bytes]) -> None:
    """At its peak it has at most 170 MB, as AWS counts them, libraries' pages included."""
    usual = [one for one in pictures if math.prod(Image.open(io.BytesIO(one)).size) < LARGE]
    with run_sandbox(image, 1769) as sandbox:
        for path in ("/predict", "/explain"):
            for picture in usual:
                assert httpx.post(sandbox.url + path, content=picture).is_success
        status = sandbox.shell("grep -h -e ^Name -e ^VmHWM /proc/[0-9]*/status")
    (peak,) = re.findall(r"^Name:\s+python.*\nVmHWM:\s+(\d+) kB", status, re.MULTILINE)
    FIGURES["MiB of a Lambda function at its peak"] = round(int(peak) / 1024, 1)

    assert int(peak) / 1024 <= 170


@pytest.mark.parametrize(
    ("memory", "setting", "megapixels", "status"),
    [(1024, "", 50, 413), (1024, "", 24.9, 200), (1769, "", 50, 413), (1769, "100", 50, 200)],
)
def test_largest_picture_kills_nothing(
    image: str, memory: int, setting: str, megapixels: float, status: int
) -> None:
    """A picture of few bytes and many pixels is refused, or answered where there is room for it."""
    settings = {"ANTBEE_MAX_MEGAPIXELS": setting} if setting else {}
    with run_sandbox(image, memory, **settings) as sandbox, sandbox.watched() as used:
        answer = httpx.post(f"{sandbox.url}/predict", content=webp(megapixels), timeout=60)
        state, log = sandbox.state(), sandbox.log()
    FIGURES[f"megabytes at {memory} MiB after a {megapixels} MP WebP, {status}"] = round(
        used.peak / 1e6
    )

    assert answer.status_code == status
    assert (state["Running"], state["OOMKilled"]) == (True, False)
    assert log.count("INIT START") == 1
