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


# What stands in for Python and BentoML; what is run from standard input is Python's still.
STUB = """#!/bin/sh
case "$1" in
    train.py) sh ./train ;;
    save_to_bento.py) sh ./pack "$2" ;;
    serve) echo "serving $2" ;;
    *) exec "$REAL" "$@" ;;
esac
"""


def follow(tmp_path: Path, train: str, pack: str, **told: str) -> tuple[int, str]:
    """Run the script with scripts for training and packing; its exit code, and what it said."""
    shutil.copytree(REPOSITORY / "scripts", tmp_path / "scripts")
    for folder in (".venv/bin", "data/train", "saved_models"):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    for name in ("python", "bentoml"):
        (tmp_path / ".venv/bin" / name).write_text(STUB)
        (tmp_path / ".venv/bin" / name).chmod(0o755)
    (tmp_path / "train").write_text(train)
    (tmp_path / "pack").write_text(pack)
    settings = {"REAL": sys.executable, "PORT": str(free_port()), "WEIGHTS": "none"}
    done = subprocess.run(
        ["/bin/sh", tmp_path / "scripts/quickstart.sh"],
        env={"PATH": "/usr/bin:/bin", **settings, **told},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout


def test_packing_does_not_wait_for_the_report(tmp_path: Path) -> None:
    """A report that ends only when the model is packed keeps nothing from being served."""
    report = "echo best.pt; for i in $(seq 200); do [ -e packed ] && exit; sleep 0.1; done; exit 1"
    code, said = follow(tmp_path, report, "touch packed; echo tag:$1")

    assert code == 0
    assert said.endswith("serving tag:best.pt\n")
    assert "training and packing: " in said


@pytest.mark.parametrize(
    ("train", "pack", "code"),
    [
        ("exit 1", "echo tag:$1", 1),
        ("exit 130", "echo tag:$1", 130),
        ("echo best.pt; exit 130", "echo tag:$1", 130),
        ("echo best.pt", "exit 1", 1),
    ],
    ids=["training fails", "training is interrupted", "so is the report", "packing fails"],
)
def test_what_fails_ends_it(tmp_path: Path, train: str, pack: str, code: int) -> None:
    """Its exit code is what failed, nothing is served, and the next time does it again."""
    found, said = follow(tmp_path, train, pack)

    assert found == code
    assert "serving" not in said
    assert not (tmp_path / "saved_models/bento").exists()


def test_an_interruption_is_said_once(tmp_path: Path) -> None:
    """Ctrl-C ends the report and packing beside it; packing says what it has to say at once."""
    report = (
        "echo best.pt; while [ ! -e packed ]; do sleep 0.1; done; echo interrupted >&2; exit 130"
    )
    pack = "echo packing best.pt >&2; echo interrupted >&2; touch packed; exit 130"
    code, said = follow(tmp_path, report, pack)

    assert code == 130
    assert said.count("interrupted") == 1
    assert "packing best.pt" in said


def test_what_comes_too_late_is_said(tmp_path: Path) -> None:
    """What was begun goes on as it began, whatever it is told now."""
    last = tmp_path / "saved_models/20260101-000000-resnet18/last.pt"
    last.parent.mkdir(parents=True)
    last.touch()
    code, said = follow(tmp_path, "echo best.pt", "echo tag:$1", EPOCHS="5", DATA_URL="a.zip")

    assert code == 0
    assert "pictures: data/ is there, whatever DATA_URL says" in said
    assert "last.pt as it began, whatever EPOCHS says, whatever WEIGHTS says; delete" in said
