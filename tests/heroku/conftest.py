"""A bento of the shared packed model, its export, and a machine to deploy them from."""

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

BUILD = """
import bentoml, yaml
options = yaml.safe_load(open("bentofile.yaml"))
model = bentoml.models.get("ant_bee_classifier:latest")
bentoml.build(**options, name="ant_bee_classifier", args={"model": str(model.tag)}, build_ctx=".")
"""
STUBS = Path(__file__).with_name("stubs.py")
TOOLS = (
    "awk", "cat", "cp", "curl", "cut", "dirname", "du", "env", "find", "git", "grep", "id", "ls",
    "mkdir", "mktemp", "mv", "rm", "rmdir", "sed", "sh", "sleep", "tr",
)  # fmt: skip


@pytest.fixture(scope="session")
def bento_home(bentoml_home: Path) -> Path:
    """Build a bento in the BentoML home that has the packed model."""
    command = [sys.executable, "-c", BUILD]
    subprocess.run(
        command, cwd=REPOSITORY, env=environment(bentoml_home), check=True, capture_output=True
    )
    return bentoml_home


@pytest.fixture(scope="session")
def exported(bento_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Export the bento for `git push`, by a path that is relative to another folder."""
    folder = tmp_path_factory.mktemp("export") / "app"
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    run = subprocess.run(
        ["sh", REPOSITORY / "heroku/export.sh", "ant_bee_classifier:latest", folder.name],  # noqa: S607 - sh is everywhere
        cwd=folder.parent,
        env=environment(bento_home, PATH=path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stdout) == (0, f"{folder.name}\n"), run.stderr
    return folder


@dataclass(frozen=True)
class Machine:
    """A machine that has what is in its `bin` and a copy of `heroku`, and nothing else.

    Its `python3` copies the shared export where a bento is exported, with its large files cut
    short; a virtual environment that it makes has the packages of this one.
    """

    folder: Path
    home: Path
    port: int
    exported: Path

    def run(
        self, script: str, *arguments: str | Path, **settings: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a script of `heroku` to its end, in the machine's folder."""
        return subprocess.run(
            ["sh", f"heroku/{script}", *arguments],  # noqa: S607 - sh is everywhere
            cwd=self.folder,
            env=self.variables(**settings),
            capture_output=True,
            text=True,
            check=False,
        )

    def deploy(self, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """Run deploy.sh to its end."""
        return self.run("deploy.sh", *arguments, **settings)

    def variables(self, **settings: str) -> dict[str, str]:
        """Return the environment in which its scripts run."""
        return environment(
            self.home,
            PATH=str(self.folder / "bin"),
            STUBS=str(self.folder),
            APP_PORT=str(self.port),
            EXPORTED=str(self.exported),
            GIT_CONFIG_GLOBAL=str(self.folder / "gitconfig"),
            **settings,
        )

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
def machine(tmp_path: Path, bento_home: Path, exported: Path) -> Iterator[Machine]:
    """Make a machine with everything that is needed."""
    shutil.copytree(REPOSITORY / "heroku", tmp_path / "heroku")
    _fill(tmp_path / "bin", TOOLS)
    yield Machine(tmp_path, bento_home, free_port(), exported)
    servers = tmp_path / "servers"
    for pid in servers.read_text().split() if servers.exists() else ():
        with contextlib.suppress(ProcessLookupError):  # one that the script itself has ended
            os.kill(int(pid), signal.SIGKILL)


def _fill(folder: Path, tools: Sequence[str]) -> None:
    folder.mkdir()
    for tool in tools:
        (folder / tool).symlink_to(shutil.which(tool) or tool)
    scripts = {name: f"-IS {STUBS} {name}" for name in ("docker", "heroku", "python3")}
    for name, script in {**scripts, "bentoml": "-m bentoml"}.items():
        (folder / name).write_text(f'#!/bin/sh\nexec {sys.executable} {script} "$@"\n')
        (folder / name).chmod(0o755)
