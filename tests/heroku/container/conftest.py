"""The image, built once from a bento of its own, and how long the tests run.

`FULL=1` makes every test as long as a release deserves; otherwise they are as short as they can be
and still fail. `CHECKPOINT` and `DATA` name what is packed and posted; without them, a network is
trained on the drawn pictures for one epoch. `IMAGE` is an image that is there already.
"""

import io
import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import REPOSITORY, encode, environment
from tests.heroku.container.dyno import Dyno, docker, run_dyno

FIGURES: dict[str, float | str] = {}
"""What was measured, by what it is; printed at the end."""


@dataclass(frozen=True)
class Scale:
    """How long the tests run.

    Attributes:
        rounds: how often a container is stopped, and how often a worker is killed.
        load_seconds: of mixed pictures.
        idle_seconds: for which a connection is left alone before it is used again.
        burst: how many pictures of the largest size come at once.
    """

    rounds: int
    load_seconds: float
    idle_seconds: float
    burst: int = 100


SHORT = Scale(rounds=3, load_seconds=20, idle_seconds=8)
FULL = Scale(rounds=50, load_seconds=600, idle_seconds=91)


@pytest.fixture(scope="session")
def scale() -> Scale:
    """Return how long the tests run."""
    return FULL if os.environ.get("FULL") else SHORT


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of pictures: `DATA`, or drawn ones."""
    if "DATA" in os.environ:
        return Path(os.environ["DATA"]).resolve()
    folder = tmp_path_factory.mktemp("pictures") / "data"
    subprocess.run(["sh", "get_data.sh", "--sample", folder], cwd=REPOSITORY, check=True)  # noqa: S607 - sh is everywhere
    return folder


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    """Make a BentoML home with one bento in it."""
    home, runs = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("runs")
    checkpoint = os.environ.get("CHECKPOINT")
    if checkpoint is None:
        options = ("--data", str(data), "--weights", "none", "--epochs", "1", "--bento", "no")
        checkpoint = _python("train.py", *options, "--out", str(runs), home=home)
    _python("save_to_bento.py", checkpoint, "--data", str(data), home=home)
    return home


def _python(*arguments: str, home: Path) -> str:
    command = [sys.executable, *arguments]
    output = subprocess.check_output(command, cwd=REPOSITORY, env=environment(home), text=True)
    return output.splitlines()[-1]


@pytest.fixture(scope="session")
def image(request: pytest.FixtureRequest, scale: Scale) -> Iterator[str]:
    """Build the image, or take `IMAGE`."""
    if "IMAGE" in os.environ:
        yield os.environ["IMAGE"]
        return
    name = f"antbee-test:{secrets.token_hex(4)}"  # others may be testing on the same engine
    began = time.monotonic()
    _build(request.getfixturevalue("home"), name, cached=scale is not FULL)
    FIGURES["seconds to build the image"] = round(time.monotonic() - began, 1)
    size = int(docker("image", "inspect", "--format", "{{.Size}}", name))
    FIGURES["megabytes of the image"] = round(size / 1e6, 1)
    yield name
    docker("image", "rm", name)


def _build(home: Path, name: str, *, cached: bool) -> None:
    options = [os.environ.get("DOCKER_BUILD_ARGS", ""), "--network=host"]
    settings = {"DOCKER_BUILD_ARGS": " ".join(options if cached else [*options, "--no-cache"])}
    run = subprocess.run(
        ["sh", "heroku/build.sh", "ant_bee_classifier:latest", name],  # noqa: S607 - sh is everywhere
        cwd=REPOSITORY,
        env=environment(home, **settings),
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr


@pytest.fixture(scope="module")
def dyno(image: str) -> Iterator[Dyno]:
    """Run one container for the tests of a file that leave it as it was."""
    with run_dyno(image) as running:
        yield running


@pytest.fixture(scope="session")
def pictures(data: Path) -> list[bytes]:
    """Return 36 pictures of the validation set."""
    files = sorted((data / "val").glob("*/*.*"))
    return [file.read_bytes() for file in files[:: max(1, len(files) // 36)]][:36]


@pytest.fixture(scope="session")
def mixed(pictures: list[bytes]) -> list[bytes]:
    """Return four times nine pictures, with a 12-megapixel photo after each nine."""
    photo = Image.open(io.BytesIO(pictures[0])).convert("RGB").resize((4032, 3024))
    large = encode(photo, quality=92)
    groups = [pictures[start : start + 9] for start in range(0, len(pictures), 9)]
    return [picture for group in groups for picture in (*group, large)]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what was measured: a table, then one JSON line."""
    if FIGURES:
        terminalreporter.section("measured")
        for name, value in FIGURES.items():
            terminalreporter.write_line(f"{value!s:>12}  {name}")
        terminalreporter.write_line(json.dumps(FIGURES))
