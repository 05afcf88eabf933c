"""What stands in for `docker`, `heroku` and a slow `python3` while deploy.sh is tested.

The first two write a line a call into `$STUBS/calls`. A file `$STUBS/<name>` changes what they
answer. A container, an app that was released, and gunicorn in a virtual environment are small
servers on this machine; an app's Git repository is `$STUBS/app.git`.
"""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

FOLDER = Path(os.environ.get("STUBS", "."))
APP_PORT = os.environ.get("APP_PORT", "0")
SERVER = Path(__file__).with_name("small_server.py")


def start_server(port: str) -> int:
    """Start a server beside this process and return its process id."""
    command = [sys.executable, "-IS", str(SERVER), port]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with (FOLDER / "servers").open("a") as file:
        file.write(f"{process.pid}\n")
    while process.poll() is None:  # it is ready sooner than deploy.sh would look again
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", int(port))):
            break
    return process.pid


def docker(arguments: Sequence[str]) -> int:
    """Stand in for `docker`."""
    match arguments[0]:
        case "run":
            port = next(one for one in arguments if one.startswith("PORT="))[5:]
            print(start_server("1" if (FOLDER / "broken").exists() else port))
        case "image":
            print(325_000_000)
        case "buildx":
            return 0 if (FOLDER / "buildx").exists() else 1
        case "push":
            return 1 if (FOLDER / "no-push").exists() else 0
        case "logs":
            print("the container's log")
    return 0


def heroku(arguments: Sequence[str]) -> int:
    """Stand in for `heroku`."""
    match arguments[0]:
        case "auth:whoami":
            return 1 if (FOLDER / "nobody").exists() else 0
        case "apps:info":
            stack = "heroku-24" if (FOLDER / "other-stack").exists() else "container"
            app = {"web_url": f"http://127.0.0.1:{APP_PORT}/", "stack": {"id": "1", "name": stack}}
            print(json.dumps({"app": app}, indent=2))
            return 1 if (FOLDER / "no-app").exists() else 0
        case "container:release":
            start_server(APP_PORT)
        case "git:remote":
            subprocess.run(["git", "remote", "add", "heroku", FOLDER / "app.git"], check=True)  # noqa: S607 - as heroku does
            start_server(APP_PORT)
    return 0


def python3(arguments: Sequence[str]) -> int:
    """Be `python3`, but for what takes seconds: exporting a bento, an environment's packages."""
    match arguments:
        case ["-", "ant_bee_classifier:latest", target]:
            if (FOLDER / "no-export").exists():
                Path(target).mkdir()
                return 1
            exported = Path(os.environ["EXPORTED"])
            shutil.copytree(exported / "bento", target, copy_function=copy_beginning)
            print((exported / ".python-version").read_text(), end="")
        case ["-m", "venv", target]:
            folder = Path(target) / "bin"
            folder.mkdir(parents=True)
            python = f'case "$*" in "-m pip"*) ;; *) exec {sys.executable} "$@" ;; esac'
            gunicorn = f'exec {sys.executable} -IS {SERVER} "$PORT"'
            if (FOLDER / "broken").exists():
                gunicorn = "echo the log of the server; exit 1"
            if (FOLDER / "real").exists():
                gunicorn = f'exec {sys.executable} -m gunicorn "$@"'
            for name, text in {"python": python, "gunicorn": gunicorn}.items():
                (folder / name).write_text(f"#!/bin/sh\n{text}\n")
                (folder / name).chmod(0o755)
        case _:
            os.execv(sys.executable, [sys.executable, *arguments])  # noqa: S606 - there is no shell
    return 0


def copy_beginning(source: str, target: str) -> None:
    """Copy a file, but no more than its first kilobytes."""
    with Path(source).open("rb") as file:
        Path(target).write_bytes(file.read(50_000))


def main(commands: Mapping[str, Callable[[Sequence[str]], int]]) -> int:
    """Be the command that the first argument names; all but `python3` leave a line of each call."""
    name, *arguments = sys.argv[1:]
    if name != "python3":
        with (FOLDER / "calls").open("a") as file:
            print(name, *arguments, file=file)
    return commands[name](arguments)


if __name__ == "__main__":
    raise SystemExit(main({"docker": docker, "heroku": heroku, "python3": python3}))
