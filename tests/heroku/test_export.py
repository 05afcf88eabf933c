"""export.sh: what it writes, where it does not, and what runs it."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from antbee.machine import memory_limit
from tests.conftest import Server, free_port, wait_until_ready
from tests.heroku.conftest import Machine

pytestmark = pytest.mark.xdist_group("heroku")
TAG = "ant_bee_classifier:latest"


def test_holds_what_a_buildpack_looks_for(exported: Path) -> None:
    """A Procfile, a Python of two numbers, and pinned requirements, gunicorn's with the bento's."""
    lines = (exported / "requirements.txt").read_text().splitlines()
    requirements = {line.partition(";")[0].strip() for line in lines if line[0] != "#"}
    script = re.fullmatch(r"web: sh (\S+) bento\n", (exported / "Procfile").read_text())

    assert script is not None
    assert (exported / script[1]).is_file()
    assert (exported / ".python-version").read_text() == "{}.{}\n".format(*sys.version_info)
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", one) for one in requirements)
    names = {one.partition("==")[0] for one in requirements}
    assert {"bentoml", "onnxruntime", "gunicorn"} <= names
    assert not {"torch", "torchvision", "onnx"} & names


def test_model_lies_in_it_without_pytorchs_weights(exported: Path) -> None:
    """What is served is there, and half of the model, which only PyTorch reads, is not."""
    bento = yaml.safe_load((exported / "bento/bento.yaml").read_text())
    model = exported / "bento/models" / bento["args"]["model"].replace(":", "/")

    assert {"model.json", "model.onnx"} <= {path.name for path in model.iterdir()}
    assert not list(exported.rglob("weights.pt"))


def test_older_export_becomes_this_one(machine: Machine) -> None:
    """An update takes the place of what an export wrote; all else, a Git repository too, stays."""
    folder = machine.folder / "app"
    (folder / ".git").mkdir(parents=True)
    assert machine.run("export.sh", TAG, folder).returncode == 0
    for name in ("bento/models/old", "README.md", ".git/HEAD"):
        (folder / name).write_text("mine")
    (folder / "Procfile").unlink()
    run = machine.run("export.sh", TAG, folder)

    assert (run.returncode, run.stdout) == (0, f"{folder}\n"), run.stderr
    assert {path.name for path in folder.iterdir()} == {
        "bento", "Procfile", ".python-version", "requirements.txt", ".git", "README.md",
    }  # fmt: skip
    assert (folder / "README.md").read_text() == (folder / ".git/HEAD").read_text() == "mine"
    assert not (folder / "bento/models/old").exists()
    assert not list(machine.folder.glob(".export-*"))


def test_failed_export_leaves_nothing(machine: Machine) -> None:
    """Where BentoML fails half-way, a new folder is not made and an older export is as it was."""
    old, new = machine.folder / "old", machine.folder / "new"
    machine.run("export.sh", TAG, old)
    before = sorted(old.rglob("*"))
    machine.make("no-export")

    assert [machine.run("export.sh", TAG, one).returncode for one in (old, new)] == [1, 1]
    assert sorted(old.rglob("*")) == before
    assert not new.exists()
    assert not list(machine.folder.glob(".export-*"))


@pytest.mark.parametrize(
    ("folder", "says"),
    [
        ("heroku", "heroku holds other files: name a new folder, an empty one or an older export"),
        ("heroku/smoke.py", "heroku/smoke.py is no folder: name a new one"),
        ("nowhere/app", "there is no folder nowhere to put it into"),
        ("/", "/ holds other files: name a new folder, an empty one or an older export"),
    ],
)
def test_wrong_folder_is_left_alone(machine: Machine, folder: str, says: str) -> None:
    """A folder that holds something else, or cannot be one, is refused by name."""
    run = machine.run("export.sh", TAG, folder)

    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr == f"export.sh: {says}\n"


@pytest.mark.parametrize("arguments", [(), (TAG,), ("", "a"), (TAG, "--help"), (TAG, "a", "b")])
def test_wrong_usage(machine: Machine, arguments: tuple[str, ...]) -> None:
    """Anything but a tag and a folder gets the usage."""
    run = machine.run("export.sh", *arguments)

    assert (run.returncode, run.stderr) == (2, "usage: export.sh TAG DIR\n")


def test_serves_as_on_a_dyno(machine: Machine, jpeg: bytes) -> None:
    """With no store, under the buildpack's variables: it answers, and logs a request once."""
    machine.make("real")
    port, log = free_port(), machine.folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["sh", "heroku/dyno.sh", machine.exported],  # noqa: S607 - sh is everywhere
            cwd=machine.folder,
            env=machine.variables(PORT=str(port)),
            stdout=output,
            stderr=output,
        )
    server = Server(f"http://127.0.0.1:{port}", process, log)
    try:
        wait_until_ready(server)
        answer = server.predict(jpeg).json()
        logged = server.logged("/predict")
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
    memory = re.search(r"^dyno.sh: it has (\d+) MB of memory", log.read_text())

    assert answer["label"] in answer["probabilities"]
    assert "POST /predict 200" in logged
    assert memory is not None
    assert int(memory[1]) in (512, memory_limit() >> 20)
    assert ("1 of 2 workers fit" in log.read_text()) == (memory[1] == "512")
    assert not (machine.exported / "bento/src/antbee/__pycache__").exists()


def test_no_export_is_named(machine: Machine) -> None:
    """dyno.sh says what makes what it wants."""
    run = machine.run("dyno.sh", "heroku")

    assert run.returncode == 1
    assert run.stderr == "dyno.sh: heroku is no export: sh heroku/export.sh TAG DIR makes one\n"
