"""deploy.sh, with stand-ins for `aws` and `docker`."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.aws.stubs import PLATFORMS, REGISTRY
from tests.aws.templates import BEANSTALK, LAMBDA, load
from tests.conftest import REPOSITORY, environment, free_port

STUBS = Path(__file__).with_name("stubs.py")
TOOLS = (
    "awk", "cat", "cp", "cut", "dirname", "find", "grep", "ls", "mkdir", "mktemp", "mv", "rm",
    "sed", "sh", "sleep", "sort", "tail", "tr",
)  # fmt: skip
IMAGE = f"{REGISTRY}/antbee@sha256:{'0' * 64}"


@dataclass(frozen=True)
class Machine:
    """A machine that has what is in its `bin`, and `aws` and `heroku` of this repository."""

    folder: Path
    port: int

    def deploy(self, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """Run deploy.sh to its end."""
        variables = {
            "AWS_REGION": "eu-central-1",
            **settings,
            "PATH": str(self.folder / "bin"),
            "STUBS": str(self.folder),
            "DEPLOYED_PORT": str(self.port),
        }
        return subprocess.run(
            ["sh", "aws/deploy.sh", *arguments],  # noqa: S607 - sh is everywhere
            cwd=self.folder,
            env=environment(self.folder / "bentoml", **variables),
            capture_output=True,
            text=True,
            check=False,
        )

    def calls(self) -> list[str]:
        """Return all calls of the stand-ins, in order."""
        return (self.folder / "calls").read_text().splitlines()

    def parameters(self) -> dict[str, str]:
        """Return the parameters that a stack was deployed with."""
        given = json.loads((self.folder / "parameters.json").read_text())
        return dict(one.split("=", 1) for one in given)

    def make(self, name: str, text: str = "") -> None:
        """Tell the stand-ins to do something else."""
        (self.folder / name).write_text(text)

    def remove(self, tool: str) -> None:
        """Take a tool away."""
        (self.folder / "bin" / tool).unlink()


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """Make a machine with everything that is needed."""
    for name in ("aws", "heroku"):
        shutil.copytree(REPOSITORY / name, tmp_path / name)
    (tmp_path / "bin").mkdir()
    for tool in TOOLS:
        (tmp_path / "bin" / tool).symlink_to(shutil.which(tool) or tool)
    scripts = {name: f"-IS {STUBS} {name}" for name in ("aws", "docker", "python3")}
    for name, script in {**scripts, "bentoml": "-m bentoml"}.items():
        _write(tmp_path / "bin" / name, f'exec {sys.executable} {script} "$@"')
    (tmp_path / ".venv-tools/bin").mkdir(parents=True)
    _write(tmp_path / ".venv-tools/bin/aws-lambda-rie", "")
    yield Machine(tmp_path, free_port())
    servers = tmp_path / "servers"
    for pid in servers.read_text().split() if servers.exists() else ():
        with contextlib.suppress(ProcessLookupError):  # one that the script itself has ended
            os.kill(int(pid), signal.SIGKILL)


def _write(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.mark.parametrize("target", ["lambda", "beanstalk"])
def test_dry_run_needs_no_account(machine: Machine, target: str) -> None:
    """A dry run builds and tries the image without AWS, and prints what would follow."""
    machine.remove("aws")
    run = machine.deploy("--dry-run", target)

    assert run.returncode == 0, run.stderr
    assert '"label": "BM", "bytes": 12342' in run.stderr
    assert run.stdout.splitlines()[0].startswith("    there is no aws: https://")
    assert "    docker push ACCOUNT.dkr.ecr.REGION.amazonaws.com/antbee\n" in run.stdout
    assert f"aws cloudformation deploy --stack-name antbee-{target} " in run.stdout
    assert machine.calls()[-1].startswith("docker rm")
    assert not any(call.startswith(("docker push", "docker login")) for call in machine.calls())


def test_image_is_tried_as_lambda_runs_it(machine: Machine) -> None:
    """The trial has Lambda's memory, processor and user, its file system, and no /dev/shm."""
    machine.deploy("--dry-run", "lambda")
    (started,) = [call for call in machine.calls() if call.startswith("docker run")]

    assert "--memory 1769m --memory-swap 1769m --cpus 1 --read-only --ipc none" in started
    assert "--user 993:990" in started
    assert "AWS_LAMBDA_FUNCTION_MEMORY_SIZE=1769" in started
    assert "--entrypoint /aws-lambda-rie antbee:aws " in started
    assert started.endswith(" /bento/src/aws/serve-lambda")


def test_trial_is_what_the_template_says() -> None:
    """What deploy.sh tries is what the templates deploy."""
    script = (REPOSITORY / "aws/deploy.sh").read_text()
    function = load(LAMBDA)["Resources"]["Function"]["Properties"]

    assert f"--memory {load(LAMBDA)['Parameters']['Memory']['Default']}m" in script
    assert f"AWS_LAMBDA_FUNCTION_TIMEOUT={function['Timeout']} " in script
    assert f" {function['ImageConfig']['Command'][0]}\n" in script
    assert f"--workdir {function['ImageConfig']['WorkingDirectory']} " in script
    assert load(BEANSTALK)["Parameters"]["Repository"]["Default"] == "antbee"


def test_deploys_to_lambda(machine: Machine) -> None:
    """After the trial: push, deploy by digest, post a picture; the curl line is what is printed."""
    run = machine.deploy("lambda", "ant_bee_classifier:latest")
    calls = [" ".join(call.split()[:3]) for call in machine.calls()]

    assert run.returncode == 0, run.stderr
    pushed = calls.index(f"docker push {REGISTRY}/antbee:0123456789ab")
    assert calls.index("docker run --detach") < pushed < calls.index("aws cloudformation deploy")
    assert machine.parameters() == {"Image": IMAGE}
    assert run.stdout == (
        f"curl -X POST http://127.0.0.1:{machine.port}/predict "
        "-H 'Content-Type: image/*' --data-binary @PICTURE\n"
    )


@pytest.mark.slow
def test_deploys_to_beanstalk(machine: Machine) -> None:
    """The bundle names the image by its digest; a new environment gets the newest platform."""
    run = machine.deploy("beanstalk")
    parameters = machine.parameters()
    bundle = json.loads((machine.folder / "bundle/Dockerrun.aws.json").read_text())

    assert run.returncode == 0, run.stderr
    assert bundle["Image"]["Name"] == IMAGE
    assert (machine.folder / "bundle/.platform/nginx/conf.d/antbee.conf").exists()
    assert parameters["SolutionStack"] == PLATFORMS[1]
    assert f"s3://{parameters['Bucket']}/{parameters['Bundle']}" in " ".join(machine.calls())


@pytest.mark.slow
def test_address_of_your_own(machine: Machine) -> None:
    """With a certificate, the load balancer's own name is not the one to ask."""
    url = f"http://localhost:{machine.port}"
    run = machine.deploy("beanstalk", URL=f"{url}/", PARAMETERS="Certificate=arn:aws:acm:x")

    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith(f"curl -X POST {url}/predict ")


@pytest.mark.slow
def test_platform_stays(machine: Machine) -> None:
    """Another platform would make another environment: one that is there keeps its own."""
    machine.make("antbee-beanstalk", "UPDATE_COMPLETE")
    machine.deploy("beanstalk")

    assert sorted(machine.parameters()) == ["Bucket", "Bundle", "Repository"]


@pytest.mark.slow
def test_key_and_parameters(machine: Machine) -> None:
    """The key is in no command's arguments; it is sent with the picture, as its clients will."""
    key = "a secret-1,b"
    run = machine.deploy("lambda", ANTBEE_API_KEY=key, PARAMETERS="Memory=3008 HttpApi=yes")

    assert run.returncode == 0, run.stderr
    assert machine.parameters() == {
        "Image": IMAGE, "ApiKey": key, "Memory": "3008", "HttpApi": "yes",
    }  # fmt: skip
    assert '"key": "Bearer a secret-1"' in run.stderr
    assert "secret" not in "".join(machine.calls())
    assert " -H 'Authorization: Bearer KEY' " in run.stdout


@pytest.mark.slow
def test_stack_that_was_never_made_is_made_again(machine: Machine) -> None:
    """What failed when it was made cannot be changed: it is deleted first."""
    machine.make("antbee-lambda", "ROLLBACK_COMPLETE")
    run = machine.deploy("lambda")
    commands = [call.split()[2] for call in machine.calls() if "cloudformation" in call]

    assert run.returncode == 0, run.stderr
    assert commands.index("delete-stack") < commands.index("wait") < commands.index("deploy")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("state", "says"),
    [
        ("nobody", "nobody is logged in, or AWS cannot be reached: aws configure, or "),
        ("no-registry", "the registry lets nobody in"),
        ("no-push", "the push failed"),
        ("no-stack", "the stack failed: CloudFormation says why above"),
    ],
)
def test_what_is_wrong_is_said(machine: Machine, state: str, says: str) -> None:
    """What AWS refuses becomes one line that says what to do."""
    machine.make(state)
    run = machine.deploy("lambda")

    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr.splitlines()[-1].startswith(f"deploy.sh: {says}")


def test_no_region(machine: Machine) -> None:
    """Without a region, nothing is built yet."""
    run = machine.deploy("lambda", AWS_REGION="", AWS_DEFAULT_REGION="")

    assert run.returncode == 1
    assert run.stderr.splitlines()[-1] == (
        "deploy.sh: no region is chosen: AWS_REGION=eu-central-1, or aws configure"
    )
    assert not any(call.startswith("docker run") for call in machine.calls())


@pytest.mark.parametrize(
    ("tool", "says"),
    [
        ("bin/docker", "there is no docker: https://"),
        ("bin/aws", "there is no aws: https://"),
        (".venv-tools/bin/aws-lambda-rie", "there is no emulator of Lambda: make tools"),
    ],
)
def test_missing_tool_is_named(machine: Machine, tool: str, says: str) -> None:
    """A tool that is not there is named, with where to get it."""
    (machine.folder / tool).unlink()
    run = machine.deploy("lambda")

    assert run.returncode == 1
    assert run.stderr.splitlines()[-1].startswith(f"deploy.sh: {says}")


def test_missing_bento_is_named(machine: Machine) -> None:
    """A tag that is not there is named."""
    run = machine.deploy("--dry-run", "lambda", "nothing:here")

    assert run.returncode == 1
    assert run.stderr.splitlines()[-1] == (
        "export.sh: there is no bento nothing:here: run save_to_bento.py first"
    )


def test_removes_everything(machine: Machine) -> None:
    """Both stacks, the source bundles, the repository; what is not there is passed over."""
    machine.make("antbee-beanstalk", "UPDATE_COMPLETE")
    machine.make("repository")
    machine.make("bundles")
    run = machine.deploy("remove")
    calls = "\n".join(machine.calls())

    assert (run.returncode, run.stdout) == (0, ""), run.stderr
    assert not (machine.folder / "antbee-beanstalk").exists()
    assert "delete-stack --stack-name antbee-lambda" not in calls
    bucket = "elasticbeanstalk-eu-central-1-123456789012"
    assert f"aws s3 rm --only-show-errors --recursive s3://{bucket}/antbee/" in calls
    assert "aws ecr delete-repository --repository-name antbee --force" in calls


def test_removing_nothing_is_said(machine: Machine) -> None:
    """In another region there is nothing, and whoever thinks that all is gone goes on to pay."""
    run = machine.deploy("remove")

    assert run.returncode == 0
    assert run.stderr.splitlines()[-1] == "    nothing called antbee was found in eu-central-1"


def test_repository_of_others_stays(machine: Machine) -> None:
    """A repository that was there before may hold what others run."""
    machine.make("repository")
    machine.make("anothers")
    run = machine.deploy("remove")

    assert run.returncode == 0
    assert "    the repository antbee was not made by this, and stays" in run.stderr
    assert not any("delete-repository" in call for call in machine.calls())


@pytest.mark.parametrize("target", ["remove", "beanstalk"])
def test_no_answer_is_not_taken_for_no(machine: Machine, target: str) -> None:
    """Where AWS does not say whether there is a stack, none is deleted, made or replaced."""
    machine.make("antbee-beanstalk", "UPDATE_COMPLETE")
    machine.make("throttled")
    run = machine.deploy(target)

    assert run.returncode == 1
    assert "Rate exceeded" in run.stderr
    assert run.stderr.splitlines()[-1].startswith("deploy.sh: nobody knows whether there is a")
    assert not any("delete" in call or "deploy --stack" in call for call in machine.calls())


@pytest.mark.slow
def test_stack_that_was_never_begun_is_new(machine: Machine) -> None:
    """One that was interrupted while its change set was made has no platform yet."""
    machine.make("antbee-beanstalk", "REVIEW_IN_PROGRESS")
    machine.deploy("beanstalk")

    assert machine.parameters()["SolutionStack"] == PLATFORMS[1]


def test_dry_run_removes_nothing(machine: Machine) -> None:
    """It prints what it would delete."""
    run = machine.deploy("remove", "--dry-run")

    assert run.returncode == 0, run.stderr
    assert "    aws ecr delete-repository --repository-name antbee --force" in run.stdout
    assert not any("delete" in call for call in machine.calls())


@pytest.mark.parametrize(
    "arguments", [(), ("--dry-run",), ("ec2",), ("--help",), ("lambda", "a", "b"), ("remove", "a")]
)
def test_wrong_usage(machine: Machine, arguments: tuple[str, ...]) -> None:
    """Anything but a target and perhaps a tag gets the usage."""
    run = machine.deploy(*arguments)

    assert run.returncode == 2
    assert run.stderr.startswith("usage: deploy.sh [--dry-run] lambda|beanstalk [TAG]")
