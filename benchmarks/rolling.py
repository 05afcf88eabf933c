"""Replace two servers one after the other under load, as Kubernetes does, and count what is lost.

    python benchmarks/rolling.py TAG *.jpg

Two of our servers under gunicorn stand behind haproxy. For each of them a new one is started; once
that is ready, the proxy is told of it, and the old one goes: `lag` seconds later the proxy hears,
and the server is told to stop when its preStop is over. Every request is tried once, by the client
and by the proxy. It runs with the variables, the preStop and the grace period of
`kubernetes/base/deployment.yaml`, and without a preStop; with a proxy of requests, as an Ingress
controller is, and one of connections, as a Service is, with clients that connect for each request.
Prints a table, then one JSON line.
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import math
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from antbee.command import say
from load import OK, Load, ask, make_request, percentiles
from servers import HERE, OURS, Running, running

MANIFEST: Final = HERE.parent / "kubernetes/base/deployment.yaml"
LAG: Final = 2.0  # seconds
CONNECTIONS: Final = 8
SLOTS: Final = 8  # servers that the proxy can know at once
PROXY: Final = """
global
    stats socket {socket} level admin
defaults
    mode {mode}
    # A second try would hide what was lost.
    retries 0
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend clients
    bind 127.0.0.1:{port}
    default_backend servers
backend servers
    balance roundrobin
    server-template server {slots} 127.0.0.1:1 disabled
"""


@dataclass(frozen=True)
class Proxy:
    """A running haproxy; its servers come and go by its socket."""

    mode: str
    port: int
    socket: Path

    def add(self, slot: int, port: int) -> None:
        """Send requests to a server, too."""
        self._tell(f"set server servers/server{slot} addr 127.0.0.1 port {port}")
        self._tell(f"set server servers/server{slot} state ready")

    def remove(self, slot: int) -> None:
        """Send a server no new requests; its connections stay."""
        self._tell(f"set server servers/server{slot} state maint")

    def _tell(self, command: str) -> None:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self.socket))
            connection.sendall(f"{command}\n".encode())
            while connection.recv(4096):
                pass


@contextlib.contextmanager
def proxied(mode: str) -> Iterator[Proxy]:
    """Run haproxy in its mode `http` or `tcp`, with no server yet.

    Raises:
        SystemExit: there is no haproxy here.
    """
    if (program := find_haproxy()) is None:
        raise SystemExit("error: there is no haproxy here: on Debian, apt install haproxy")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        proxy = Proxy(mode, port, Path(folder) / "socket")
        text = PROXY.format(socket=proxy.socket, mode=mode, port=port, slots=SLOTS)
        (conf := Path(folder) / "haproxy.cfg").write_text(text)
        process = subprocess.Popen([program, "-q", "-db", "-f", conf])  # noqa: S603 - ours
        try:
            while not proxy.socket.exists() and process.poll() is None:
                time.sleep(0.01)
            yield proxy
        finally:
            process.terminate()
            process.wait()


def find_haproxy() -> str | None:
    """Return its path, which most people's `PATH` does not have."""
    return shutil.which("haproxy", path=f"{os.environ['PATH']}{os.pathsep}/usr/sbin")


@dataclass
class Update:
    """A Deployment of two servers, and how it is updated.

    Attributes:
        pre_stop: seconds from the end of a server's time to its SIGTERM.
        grace: seconds from then to its SIGKILL.
        lag: seconds from the end of a server's time until the proxy knows.
        killed: how many servers did not end by themselves.
    """

    proxy: Proxy
    stack: contextlib.ExitStack
    tag: str
    pre_stop: float = 0.0
    grace: float = 30.0
    lag: float = LAG
    killed: int = 0

    def __post_init__(self) -> None:
        self._servers: dict[int, Running] = {}

    def start(self, count: int = 1) -> None:
        """Start servers, and send them requests once they are ready."""
        for _ in range(count):
            slot = next(slot for slot in range(1, SLOTS + 1) if slot not in self._servers)
            server = next(one for one in OURS if one.key == "gunicorn")
            started = self.stack.enter_context(running(server, self.tag, Path()))
            self._servers[slot] = started
            self.proxy.add(slot, int(started.url.split(":")[2].split("/")[0]))

    def replace_all(self) -> None:
        """Start a server for each old one, which goes as soon as the new one is ready."""
        leaving = []
        for slot in list(self._servers):
            self.start()
            leaving.append(threading.Thread(target=self._retire, args=(slot,)))
            leaving[-1].start()
        for thread in leaving:
            thread.join()

    def stop(self) -> None:
        """Tell all servers to stop, so that nobody has to wait for one after the other."""
        for server in self._servers.values():
            server.process.terminate()

    def _retire(self, slot: int) -> None:
        process = self._servers[slot].process
        removal = threading.Timer(self.lag, self.proxy.remove, (slot,))
        removal.start()
        time.sleep(self.pre_stop)
        process.terminate()
        try:
            process.wait(self.grace)
        except subprocess.TimeoutExpired:
            process.kill()
            self.killed += 1
        removal.join()
        del self._servers[slot]


async def try_update(
    update: Update, pictures: Sequence[bytes], requests: int, pause: float = 0.08
) -> dict[str, Any]:
    """Replace all servers while they are asked, and count the answers.

    Args:
        update: whose servers.
        pictures: JPEGs, sent in turn on `CONNECTIONS` connections.
        requests: that are sent at least, and more while the update takes longer.
        pause: seconds between an answer and the next request.
    """
    url = f"http://127.0.0.1:{update.proxy.port}/predict"
    kind = {"Content-Type": "image/jpeg"}
    if update.proxy.mode == "tcp":
        kind["Connection"] = "close"
    bodies = [make_request(url, content=data, headers=kind) for data in pictures]
    load = Load(itertools.cycle(bodies), stop=math.inf, pause=pause)
    clients = [asyncio.create_task(ask(load, url)) for _ in range(CONNECTIONS)]
    update.killed = 0
    await asyncio.to_thread(update.replace_all)
    while len(load.answers) + load.lost < requests:
        await asyncio.sleep(0.1)
    load.limit = 0
    await asyncio.gather(*clients)
    counts = Counter(str(status) for status, _, _ in load.answers) + Counter(lost=load.lost)
    latencies = [(ended - began) * 1e3 for status, began, ended in load.answers if status == OK]
    return {
        "requests": counts.total(),
        "lost": counts.total() - len(latencies),
        "counts": counts,
        "p99_ms": round(percentiles(latencies)["p99"]),
        "killed": update.killed,
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Try, print, and return the exit code."""
    parser = argparse.ArgumentParser(description="What a rolling update loses.")
    add = parser.add_argument
    add("tag", help="a bento's")
    add("pictures", type=Path, nargs="+", help="JPEG files, sent in turn, again and again")
    add("--requests", type=int, default=4000, help="in each trial, at least")
    add("--lag", type=float, default=LAG, help="seconds until the proxy knows of a server's end")
    options = parser.parse_args(argv)
    pod = yaml.safe_load(MANIFEST.read_text())["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    for variable in container["env"]:
        os.environ[variable["name"]] = variable["value"]
    pre_stop = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    grace = pod["terminationGracePeriodSeconds"]
    pictures = [path.read_bytes() for path in options.pictures]
    trials = []
    for mode in ("http", "tcp"):
        with proxied(mode) as proxy, contextlib.ExitStack() as stack:
            update = Update(proxy, stack, options.tag, 0, grace, options.lag)
            update.start(2)
            stack.callback(update.stop)
            for seconds in (0, pre_stop):
                update.pre_stop, update.grace = seconds, grace - seconds
                found = asyncio.run(try_update(update, pictures, options.requests))
                trials.append({"proxy": mode, "pre_stop": seconds, **found})
                say(f"{mode}, preStop {seconds} s: {found}")
    print(f"{'proxy':8}{'preStop':>8}{'requests':>10}{'lost':>6}{'p99 ms':>8}{'killed':>8}")
    for trial in trials:
        print(
            f"{trial['proxy']:8}{trial['pre_stop']:8}{trial['requests']:10}{trial['lost']:6}"
            f"{trial['p99_ms']:8}{trial['killed']:8}"
        )
    print(json.dumps({"lag": options.lag, "grace": grace, "trials": trials}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
