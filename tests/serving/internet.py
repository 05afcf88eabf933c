"""An internet of one machine: a real server, and a site at a public address that it may fetch from.

    unshare --map-root-user --net --mount python -m tests.serving.internet HOME HOSTS

Runs in a network of its own, in which this machine has the public address and the site's name
stands for it; nothing leaves the machine. Prints what the server answered as one JSON line.
"""

import asyncio
import fcntl
import json
import socket
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import httpx

from tests.conftest import (
    REPOSITORY,
    Server,
    bentoml_serve,
    encode,
    environment,
    free_port,
    noise,
    wait_until_ready,
)
from tests.serving.site import AUTHORITY, NAME, ok, site

ADDRESS: Final = "8.8.8.8"
PICTURE: Final = encode(noise(320, 240))
URLS: Final = (
    *(f"https://{NAME}/ant.jpg", f"https://{ADDRESS}/ant.jpg", "https://unknown.example/ant.jpg"),
)
_SIOCSIFFLAGS: Final = 0x8914
_SIOCSIFADDR: Final = 0x8916
"""Linux's requests to set an interface's flags and its address: netdevice(7)."""
_UP: Final = 1


def main() -> int:
    """Serve, ask, print."""
    home, hosts = map(Path, sys.argv[1:])
    own_network(hosts)
    print(json.dumps(asyncio.run(visit(home))))
    return 0


def own_network(hosts: Path) -> None:
    """Give this machine the address, and the address its name."""
    _set(_SIOCSIFFLAGS, b"lo", struct.pack("H22x", _UP))
    address = struct.pack("HH4s16x", socket.AF_INET, 0, socket.inet_aton(ADDRESS))
    _set(_SIOCSIFADDR, b"lo:1", address)
    # With the dot that the server ends a name with.
    hosts.write_text(f"127.0.0.1 localhost\n{ADDRESS} {NAME}.\n")
    subprocess.run(["mount", "--bind", hosts, "/etc/hosts"], check=True)  # noqa: S607 - wherever it is


def _set(what: int, interface: bytes, value: bytes) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as anything:
        fcntl.ioctl(anything, what, struct.pack("16s", interface) + value)


async def visit(home: Path) -> dict[str, Any]:
    """Run the site and the server; tell what both saw."""
    async with site(ok(PICTURE), where=(ADDRESS, 443)) as running:
        answers = await asyncio.to_thread(ask, home)
        return {**answers, "heads": running.heads}


def ask(home: Path) -> dict[str, Any]:
    """Send the picture, and its addresses."""
    port = free_port()
    settings = {"ANTBEE_ALLOW_URLS": "on", "SSL_CERT_FILE": str(AUTHORITY)}
    log = home / "internet.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *bentoml_serve(".", port)],
            cwd=REPOSITORY,
            env=environment(home, **settings),
            stdout=output,
            stderr=output,
        )
    server = Server(f"http://127.0.0.1:{port}", process, log)
    try:
        wait_until_ready(server)
        links = [{"url": url} for url in URLS]
        with httpx.Client(base_url=server.url, timeout=30) as client:
            return {
                "sent": client.post("/predict", content=PICTURE).json(),
                "linked": [client.post("/predict", json=link).json() for link in links],
                "many": client.post("/v1/predict", json={"images": links}).json(),
                "explained": client.post("/explain", json=links[0]).headers.get("x-label"),
            }
    finally:
        process.terminate()
        process.wait(30)


if __name__ == "__main__":
    raise SystemExit(main())
