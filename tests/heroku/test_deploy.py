"""deploy.sh, with stand-ins for `docker` and `heroku`."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY, environment, free_port

STUBS = Path(__file__).with_name("stubs.py")
TOOLS = (
    "awk", "cat", "curl", "dirname", "env", "grep", "mkdir", "mktemp", "rm", "sed", "sh", "sleep",
    "tr",
)  # fmt: skip


@dataclass(frozen=True)
class Machine:
    """A machine that has what is in its `bin`, and nothing else."""

    folder: Path
    home: Path
    port: int

    def deploy(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run deploy.sh to its end."""
        settings = {"STUBS": str(self.folder), "APP_PORT": str(self.port)}
        variables = environment(self.home, PATH=str(self.folder / "bin"), **settings)
        command = ["sh", str(REPOSITORY / "heroku/deploy.sh"), *arguments]
        return subprocess.run(command, env=variables, capture_output=True, text=True, check=False)

    def calls(self) -> list[str]:
        """Return the first words of all calls, in order."""
        lines = (self.folder / "calls").read_text().splitlines()
        return [" ".join(line.split()[:2]) for line in lines]

    def remove(self, tool: str) -> None:
        """Take a tool away."""
        (self.folder / "bin" / tool).unlink()

    def make(self, name: str) -> None:
        """Tell the stand-ins to do something else."""
        (self.folder / name).touch()


@pytest.fixture
def machine(tmp_path: Path, bento_home: Path) -> Iterator[Machine]:
    """Make a machine with everything that is needed."""
    _fill(tmp_path / "bin", TOOLS)
    yield Machine(tmp_path, bento_home, free_port())
    servers = tmp_path / "servers"
    for pid in servers.read_text().split() if servers.exists() else ():
        with contextlib.suppress(ProcessLookupError):  # one that the script itself has ended
            os.kill(int(pid), signal.SIGKILL)


def _fill(folder: Path, tools: Sequence[str]) -> None:
    folder.mkdir()
    for tool in tools:
        (folder / tool).symlink_to(shutil.which(tool) or tool)
    for name in ("docker", "heroku"):
        (folder / name).write_text(f'#!/bin/sh\nexec {sys.executable} {STUBS} {name} "$@"\n')
    for name, module in (("python3", ""), ("bentoml", "-m bentoml")):
        (folder / name).write_text(f'#!/bin/sh\nexec {sys.executable} {module} "$@"\n')
    for script in ("docker", "heroku", "python3", "bentoml"):
        (folder / script).chmod(0o755)


def test_dry_run_stops_before_the_push(machine: Machine) -> None:
    """A dry run checks, builds and tries, in this order, and pushes nothing."""
    run = machine.deploy("--dry-run", "my-app")
    steps = [line for line in run.stderr.splitlines() if line.startswith("==> ")]

    assert run.returncode == 0, run.stderr
    assert [step.split()[1] for step in steps] == [
        "checking", "checking", "building", "trying", "stopping",
    ]  # fmt: skip
    assert '"label": "BM", "bytes": 12342' in run.stderr
    assert run.stdout.split("\n")[-3:-1] == [
        "    docker push registry.heroku.com/my-app/web",
        "    heroku container:release web --app my-app",
    ]
    assert not {"docker push", "heroku container:login"} & set(machine.calls())


@pytest.mark.parametrize("state", ["nobody", "no-app", "other-stack"])
def test_dry_run_says_what_heroku_lacks(machine: Machine, state: str) -> None:
    """A dry run builds and tries the image without an account, and lists what is to be done."""
    machine.make(state)
    run = machine.deploy("--dry-run", "my-app")

    assert run.returncode == 0, run.stderr
    assert "docker run" in machine.calls()
    assert "    not yet: " in run.stderr
    assert ": heroku " in run.stdout.splitlines()[0]


def test_container_is_tried_as_a_dyno(machine: Machine) -> None:
    """The trial has a dyno's memory, user, file system and port, and is removed."""
    machine.deploy("--dry-run", "my-app")
    (started,) = [
        line
        for line in (machine.folder / "calls").read_text().splitlines()
        if line.startswith("docker run")
    ]

    assert "--memory 512m --memory-swap 512m --read-only" in started
    assert "--user " in started
    assert machine.calls()[-1] == "docker rm"


def test_deploys(machine: Machine) -> None:
    """After the trial: push, release, wait, post a picture; the curl line is what is printed."""
    run = machine.deploy("my-app", "ant_bee_classifier:latest")
    calls = machine.calls()

    assert run.returncode == 0, run.stderr
    pushed = calls.index("docker push")
    assert calls.index("docker run") < pushed < calls.index("heroku container:release")
    assert run.stdout == (
        f"curl -X POST http://127.0.0.1:{machine.port}/predict "
        "-H 'Content-Type: image/*' --data-binary @PICTURE\n"
    )


def test_attestations_are_left_out(machine: Machine) -> None:
    """Where docker would add them, or write an OCI manifest, it is told not to."""
    machine.make("buildx")
    machine.deploy("--dry-run", "my-app")
    calls = (machine.folder / "calls").read_text()

    assert "--provenance=false --sbom=false" in calls
    assert "type=image,name=registry.heroku.com/my-app/web,oci-mediatypes=false" in calls


@pytest.mark.parametrize("tool", ["docker", "heroku", "curl"])
def test_missing_tool_is_named(machine: Machine, tool: str) -> None:
    """A tool that is not there is named, with where to get it."""
    machine.remove(tool)
    run = machine.deploy("my-app")

    assert run.returncode == 1
    assert run.stderr.splitlines()[-1].startswith(f"deploy.sh: there is no {tool}: ")


@pytest.mark.parametrize(
    ("state", "says"),
    [
        ("nobody", "nobody is logged in, or Heroku cannot be reached: heroku login"),
        ("no-app", "there is no app my-app that you may use: heroku create my-app"),
        ("other-stack", "my-app is not on the container stack: heroku stack:set container"),
        ("no-push", "the push failed"),
    ],
)
def test_what_is_wrong_is_said(machine: Machine, state: str, says: str) -> None:
    """What Heroku or the registry refuse becomes one line that says what to do."""
    machine.make(state)
    run = machine.deploy("my-app")

    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr.splitlines()[-1].startswith(f"deploy.sh: {says}")


def test_missing_bento_is_named(machine: Machine) -> None:
    """A tag that is not there is named."""
    run = machine.deploy("my-app", "nothing:here")

    assert run.returncode == 1
    assert run.stderr.splitlines()[-1] == (
        "build.sh: there is no bento nothing:here: run save_to_bento.py first"
    )


@pytest.mark.parametrize("arguments", [(), ("--dry-run",), ("--help",), ("a", "b", "c")])
def test_wrong_usage(machine: Machine, arguments: tuple[str, ...]) -> None:
    """Anything but an app and perhaps a tag gets the usage."""
    run = machine.deploy(*arguments)

    assert (run.returncode, run.stderr) == (2, "usage: deploy.sh [--dry-run] APP [TAG]\n")
