"""`make serve`, once the virtual environment is there: from nothing to a served prediction."""

import shutil
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.conftest import REPOSITORY, Server, environment, free_port, wait_until_ready

LEFT_OUT = shutil.ignore_patterns(".*", "data", "saved_models", "__pycache__", "*.egg-info")
NO_NETWORK = dict.fromkeys(("https_proxy", "HTTPS_PROXY"), "http://127.0.0.1:9")


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy the repository as it is, with this interpreter's environment as its own."""
    folder = tmp_path_factory.mktemp("fresh") / "clone"
    shutil.copytree(REPOSITORY, folder, ignore=LEFT_OUT)
    (folder / ".venv").symlink_to(sys.prefix)
    return folder


def start(clone: Path, port: int, **settings: str) -> subprocess.Popen[bytes]:
    """Start the script; its output goes to a file beside the clone."""
    home = clone.parent / "home"
    with (clone.parent / "log").open("wb") as output:
        return subprocess.Popen(
            ["/bin/sh", clone / "scripts/quickstart.sh"],
            env={**environment(home, **settings), **NO_NETWORK, "PORT": str(port), "WEIGHTS": ""},
            stdout=output,
            stderr=subprocess.STDOUT,
        )


def serve(clone: Path, **settings: str) -> tuple[dict[str, object], str]:
    """Run the script until it serves; return what `/model` says, and the script's output."""
    port = free_port()
    process = start(clone, port, **settings)
    server = Server(f"http://127.0.0.1:{port}", process, clone.parent / "log")
    try:
        wait_until_ready(server, seconds=300)
        picture = next(clone.glob("data/val/ant/*.jpg"))
        assert server.predict(picture.read_bytes()).status_code == httpx.codes.OK
        return httpx.get(f"{server.url}/model").json(), server.log.read_text()
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.slow
def test_from_nothing_and_again(clone: Path) -> None:
    """Without a network it says so, serves the sample set, and next time uses what is there."""
    model, log = serve(clone, EPOCHS="1")
    again, second_log = serve(clone, EPOCHS="1")

    assert "no network, so a small drawn sample set" in log
    assert "(--weights none)" in log
    provenance = model["provenance"]
    assert isinstance(provenance, dict)
    assert provenance["data"]["source"] == "a drawn sample set, seed 0"
    assert provenance["weights"] == {"what": "none"}
    assert model == again
    assert "is there" in second_log
    assert "training" not in second_log


def test_a_port_in_use_is_said_at_once(clone: Path) -> None:
    """A port that something else listens on ends it with one line, before any work."""
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        process = start(clone, taken.getsockname()[1])

        assert process.wait(60) == 1
    log = (clone.parent / "log").read_text()
    assert log.startswith("error: cannot serve on port ")
    assert log.count("\n") == 1
