"""What stands in for `docker` and `heroku` while deploy.sh is tested.

Both write a line a call into `$STUBS/calls`. A file `$STUBS/<name>` changes what they answer. A
container, and an app that was released, is a small server on this machine.
"""

import http.server
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

FOLDER = Path(os.environ.get("STUBS", "."))
APP_PORT = os.environ.get("APP_PORT", "0")


class Server(http.server.BaseHTTPRequestHandler):
    """Answers as the service does."""

    def do_GET(self) -> None:
        """Say that it is ready."""
        self.answer({"status": "ok"})

    def do_POST(self) -> None:
        """Say how many bytes came, and which the first two are."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.answer({"label": body[:2].decode(), "bytes": len(body)})

    def answer(self, content: object) -> None:
        """Send JSON."""
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


def start_server(port: str) -> int:
    """Start a server beside this process and return its process id."""
    command = [sys.executable, __file__, "serve", port]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with (FOLDER / "servers").open("a") as file:
        file.write(f"{process.pid}\n")
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
    return 0


def main() -> int:
    """Be what the first argument says."""
    name, *arguments = sys.argv[1:]
    if name == "serve":
        http.server.HTTPServer(("127.0.0.1", int(arguments[0])), Server).serve_forever()
    with (FOLDER / "calls").open("a") as file:
        print(name, *arguments, file=file)
    return (docker if name == "docker" else heroku)(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
