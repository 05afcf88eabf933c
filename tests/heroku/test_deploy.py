"""deploy.sh, with stand-ins for `docker` and `heroku`, and a Git repository on this machine."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.heroku.conftest import Machine

pytestmark = pytest.mark.xdist_group("heroku")  # one bento and one export for all of them


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


@pytest.mark.parametrize("state", ["no-tool", "nobody", "no-app", "other-stack"])
def test_dry_run_says_what_heroku_lacks(machine: Machine, state: str) -> None:
    """A dry run builds and tries the image without an account, and lists what is to be done."""
    machine.make(state)
    if state == "no-tool":
        machine.remove("heroku")
    run = machine.deploy("--dry-run", "my-app")

    assert run.returncode == 0, run.stderr
    assert "docker run" in machine.calls()
    assert "    not yet: " in run.stderr
    assert re.search(": heroku |no heroku: https", run.stdout.splitlines()[0])


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


def test_app_with_a_key(machine: Machine) -> None:
    """The key is sent, the first of several, and is in no command's arguments."""
    run = machine.deploy("my-app", ANTBEE_API_KEY="secret,old", SMALL_SERVER_KEY="secret")

    assert run.returncode == 0, run.stderr
    assert '"key": "Bearer secret"' in run.stderr
    assert "-H 'Authorization: Bearer KEY' -H 'Content-Type: image/*'" in run.stdout
    assert "secret" not in run.stdout + (machine.folder / "calls").read_text()


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
        "export.sh: there is no bento nothing:here: run save_to_bento.py first"
    )


@pytest.mark.parametrize(
    "arguments", [(), ("--dry-run",), ("--git",), ("--help",), ("a", "b", "c"), ("a", "")]
)
def test_wrong_usage(machine: Machine, arguments: tuple[str, ...]) -> None:
    """Anything but an app and perhaps a tag gets the usage."""
    run = machine.deploy(*arguments)

    assert (run.returncode, run.stderr) == (2, "usage: deploy.sh [--git] [--dry-run] APP [TAG]\n")


@pytest.fixture
def repository(machine: Machine) -> Path:
    """Make the app's Git repository, with another app in it, and a Git that is hard to please."""
    machine.make("other-stack")
    git, folder, other = ("git", "-c", "user.name=x", "-c", "user.email=x"), "app.git", "other"
    for command in (
        ("git", "init", "--quiet", "--bare", folder),
        ("git", "init", "--quiet", "--initial-branch", "main", other),
        (*git, "-C", other, "commit", "--quiet", "--allow-empty", "--message", "Another app"),
        (*git, "-C", other, "push", "--quiet", "../app.git", "main"),
    ):
        subprocess.run(command, cwd=machine.folder, check=True)
    (machine.folder / "ignored").write_text("*.onnx\nmodels/\n")
    (machine.folder / "gitconfig").write_text(
        f"[core]\nexcludesFile = {machine.folder}/ignored\nautocrlf = true\n"
        "[commit]\ngpgSign = true\n[gpg]\nprogram = false\n"
    )
    return machine.folder / folder


def test_git_dry_run_stops_before_the_push(machine: Machine, repository: Path) -> None:
    """A dry run exports the bento, tries it without Docker, and pushes nothing."""
    run = machine.deploy("my-app", "--git", "--dry-run")
    steps = [line for line in run.stderr.splitlines() if line.startswith("==> ")]

    assert run.returncode == 0, run.stderr
    assert [step.split()[1] for step in steps] == [
        "checking", "checking", "exporting", "trying", "stopping",
    ]  # fmt: skip
    assert "    dyno.sh: it has " in run.stderr
    assert '"label": "BM", "bytes": 12342' in run.stderr
    assert run.stdout == "    heroku git:remote --app my-app\n    git push --force heroku main\n"
    assert machine.calls() == ["heroku auth:whoami", "heroku apps:info"]
    assert _git(repository, "log", "--format=%s", "main") == ["Another app"]


def test_git_push_is_the_whole_export(machine: Machine, repository: Path) -> None:
    """All is committed, whatever Git ignores, signs or converts, in place of what was there."""
    run = machine.deploy("my-app", "--git")
    pushed = _git(repository, "ls-tree", "-r", "--name-only", "main")
    names = [path.relative_to(machine.exported) for path in machine.exported.rglob("*")]

    assert run.returncode == 0, run.stderr
    assert _git(repository, "log", "--format=%s", "main") == ["ant_bee_classifier:latest"]
    assert pushed == sorted(map(str, (one for one in names if (machine.exported / one).is_file())))
    assert run.stdout.startswith(f"curl -X POST http://127.0.0.1:{machine.port}/predict ")


def _git(repository: Path, *arguments: str) -> list[str]:
    command = ["git", "-C", str(repository), *arguments]
    return subprocess.check_output(command, text=True).splitlines()


def test_git_push_that_fails(machine: Machine, repository: Path) -> None:
    """A build that Heroku breaks off, which ends the push, is said in a line."""
    hook = repository / "hooks/pre-receive"
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    run = machine.deploy("my-app", "--git")

    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr.splitlines()[-1] == "deploy.sh: the push failed: Heroku says why above"


@pytest.mark.usefixtures("repository")
def test_git_export_that_does_not_start(machine: Machine) -> None:
    """What ends before it is ready is not waited for: its log is shown, and nothing is pushed."""
    machine.make("broken")
    run = machine.deploy("my-app", "--git")

    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr.splitlines()[-2:] == [
        "the log of the server", "deploy.sh: it does not start: its log is above",
    ]  # fmt: skip
    assert "heroku git:remote" not in machine.calls()


def test_git_takes_no_container_stack(machine: Machine) -> None:
    """An app on the container stack builds no Python: how to change that is said."""
    run = machine.deploy("--git", "my-app")

    assert run.returncode == 1
    assert run.stderr.splitlines()[-1] == (
        "deploy.sh: my-app is on the container stack: heroku stack:set heroku-24 --app my-app"
    )


def test_git_needs_git(machine: Machine) -> None:
    """Git that is not there is named; Docker is not asked for."""
    machine.remove("docker")
    machine.remove("git")
    run = machine.deploy("--git", "my-app")

    assert run.returncode == 1
    assert run.stderr.splitlines()[-1].startswith("deploy.sh: there is no git: https://")
