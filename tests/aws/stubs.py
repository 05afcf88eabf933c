"""What stands in for `aws`, `docker` and a slow `python3` while deploy.sh is tested.

The first two write a line a call into `$STUBS/calls`. A file `$STUBS/<name>` changes what they
answer. A container and what was deployed are small servers on this machine.
"""

import os
import re
import shutil
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.heroku.stubs import main, start_server

FOLDER: Final = Path(os.environ.get("STUBS", "."))
DEPLOYED_PORT: Final = os.environ.get("DEPLOYED_PORT", "0")
ACCOUNT: Final = "123456789012"
REGISTRY: Final = f"{ACCOUNT}.dkr.ecr.eu-central-1.amazonaws.com"
PLATFORMS: Final = (
    "64bit Amazon Linux 2023 v4.9.0 running Docker",
    "64bit Amazon Linux 2023 v4.10.1 running Docker",
    "64bit Amazon Linux 2 v5.0.0 running Docker",
    "64bit Amazon Linux 2023 v4.11.0 running ECS",
    "64bit Windows Server 2025 v2.19.2 running IIS 10.0",
)


def is_made(name: str) -> bool:
    """Whether a test has asked for something else."""
    return (FOLDER / name).exists()


def docker(arguments: Sequence[str]) -> int:
    """Stand in for `docker`."""
    match arguments[0]:
        case "run":
            (port,) = re.findall(r"127\.0\.0\.1:(\d+):", " ".join(arguments))
            print(start_server("1" if is_made("broken") else port))
        case "image":
            print("325000000" if "{{.Size}}" in arguments else "sha256:0123456789abcdef")
        case "buildx":
            return 1
        case "login":
            return 1 if is_made("no-registry") or sys.stdin.read() != "password\n" else 0
        case "push":
            return 1 if is_made("no-push") else 0
        case "logs":
            print("the container's log")
    return 0


def aws(arguments: Sequence[str]) -> int:
    """Stand in for `aws`."""
    answers = {
        "ecr create-repository": f"{REGISTRY}/antbee",
        "ecr get-login-password": "password",
        "ecr describe-images": f"sha256:{'0' * 64}",
        "elasticbeanstalk create-storage-location": f"elasticbeanstalk-eu-central-1-{ACCOUNT}",
        "elasticbeanstalk list-available-solution-stacks": "\t".join(PLATFORMS),
        "sts get-caller-identity": ACCOUNT,
    }
    command = " ".join(arguments[:2])
    match command:
        case "configure get":
            return 1
        case "sts get-caller-identity" if is_made("nobody"):
            return 255
        case "ecr describe-repositories":
            if not is_made("repository"):
                return refuse("RepositoryNotFoundException")
            print(f"arn:aws:ecr:eu-central-1:{ACCOUNT}:repository/antbee")
        case "ecr list-tags-for-resource" if not is_made("anothers"):
            print("antbee-deploy.sh")
        case "s3api list-objects-v2":
            if not is_made("bundles"):
                return refuse("NoSuchBucket: The specified bucket does not exist")
            print("antbee/1.zip")
        case "cloudformation describe-stacks":
            return describe_stack(arguments)
        case "cloudformation deploy":
            return deploy(arguments)
        case "cloudformation delete-stack":
            stack = arguments[arguments.index("--stack-name") + 1]
            (FOLDER / stack).unlink()
        case "cloudformation describe-stack-events":
            print("Function\tthe reason")
        case "s3 cp":
            bundle = next(one for one in arguments if one.endswith(".zip"))
            zipfile.ZipFile(bundle).extractall(FOLDER / "bundle")
    if command in answers:
        print(answers[command])
    return 0


def refuse(reason: str) -> int:
    """Say why there is no answer, and return the exit code."""
    print(f"An error occurred: {reason}", file=sys.stderr)
    return 254


def describe_stack(arguments: Sequence[str]) -> int:
    """Say what is asked about a stack, which is a file of its name with its status in it."""
    stack = FOLDER / arguments[arguments.index("--stack-name") + 1]
    if is_made("throttled"):
        return refuse("ThrottlingException: Rate exceeded")
    if not stack.exists():
        return refuse(f"ValidationError: Stack with id {stack.name} does not exist")
    query = arguments[arguments.index("--query") + 1]
    if "StackStatus" in query:
        print(stack.read_text())
    elif "Outputs" in query:
        print(f"http://127.0.0.1:{DEPLOYED_PORT}/")
    return 0


def deploy(arguments: Sequence[str]) -> int:
    """Keep the parameters, and serve."""
    parameters = arguments[arguments.index("--parameter-overrides") + 1].removeprefix("file://")
    shutil.copy(parameters, FOLDER / "parameters.json")
    if is_made("no-stack"):
        return 255
    (FOLDER / arguments[arguments.index("--stack-name") + 1]).write_text("CREATE_COMPLETE")
    start_server(DEPLOYED_PORT)
    return 0


def python3(arguments: Sequence[str]) -> int:
    """Be `python3`, but for exporting a bento."""
    match arguments:
        case ["-", "ant_bee_classifier:latest", target]:
            files = {
                "bento.yaml": "",
                "env/python/requirements.txt": "bentoml==1.4.39\n",
                "src/aws/requirements.txt": "awslambdaric==4.2.2\n",
                "src/aws/serve-lambda": "",
                "src/heroku/requirements.txt": "gunicorn==27.0\n",
                "src/heroku/serve-gunicorn": "",
            }
            for name, text in files.items():
                path = Path(target) / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
            print("3.11")
        case _:
            os.execv(sys.executable, [sys.executable, *arguments])  # noqa: S606 - there is no shell
    return 0


if __name__ == "__main__":
    raise SystemExit(main({"aws": aws, "docker": docker, "python3": python3}))
