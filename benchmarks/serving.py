"""Our server beside what people would use instead: same weights, same pictures, same load.

    python benchmarks/serving.py ant_bee_classifier:latest --data data --figure serving.png

Every round starts each server in turn, alone on the machine, asks it about the validation
pictures in a fixed order over 1, 2, 8 and 32 connections, then about one picture and about a
12-megapixel photo, and stops it. The load comes from a process of its own on the same cores. In
each round the same threads also classify in a process without HTTP: the bound. Then come a burst
beyond what ours holds, a request's parts, batches, and ours by cores and by size of picture.

Prints tables of the medians over the rounds, then one JSON line with everything.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import httpx

from antbee.command import say
from antbee.serving.settings import read_settings
from pictures import enlarge, find_mixed, find_model, nearest
from report import CONNECTIONS, print_tables, summarise
from servers import HERE, OURS, PEERS, Running, Server, memory, running

EXTRAS: Final = ("bound", "overload", "parts", "scaling")
WARM_UP: Final = 64
"""Requests that do not count, over 8 connections: each worker process gets its share."""
COMPARED: Final = 20
"""Pictures whose labels are compared between the servers."""
PHOTO_MEGAPIXELS: Final = 12
SIZES: Final = (0.2, 1, 3, 12, 24)
OVERLOAD: Final = 4


class Bench:
    """What every measurement needs.

    Args:
        tag: of the bento.
        data: the pictures' folder.
        seconds: of every load.
        folder: for pictures made on the way.
    """

    def __init__(self, tag: str, data: Path, seconds: float, folder: Path) -> None:
        self.tag = tag
        self.model = find_model(tag)
        self.mixed = find_mixed(data)
        self.typical = nearest(self.mixed)
        self.photo = enlarge(self.typical, folder / "photo.jpg", PHOTO_MEGAPIXELS)
        self.seconds = seconds
        self.folder = folder

    def round(self, server: Server) -> dict[str, Any]:
        """Start a server, measure everything of it, and stop it."""
        with self.warm(server) as up:
            found: dict[str, Any] = {"ready_s": up.ready_s, "labels": self.labels(server, up)}
            for count in CONNECTIONS:
                found[str(count)] = self.load(server, up, self.mixed, count)
            found["memory_mb"] = memory(up.process.pid)
            found["picture"] = self.load(server, up, [self.typical], 8)
            found["photo"] = self.load(server, up, [self.photo], 8)
        return found

    @contextlib.contextmanager
    def warm(self, server: Server) -> Iterator[Running]:
        """Start a server and let it answer a little."""
        with running(server, self.tag, self.model) as up:
            self.load(server, up, self.mixed, 8, "--requests", str(WARM_UP))
            yield up

    def load(
        self, server: Server, up: Running, pictures: Sequence[Path], connections: int, *more: str
    ) -> dict[str, Any]:
        """Ask a server from another process; see `load.py` for what comes back."""
        options = ["--connections", str(connections), "--seconds", str(self.seconds), *more]
        if server.field is not None:
            options += ["--field", server.field]
        return script("load.py", up.url, *options, *map(str, pictures))

    def labels(self, server: Server, up: Running) -> list[str]:
        """Ask which labels the first pictures show."""
        with httpx.Client(timeout=30) as client:
            answers = []
            for path in self.mixed[:COMPARED]:
                data = path.read_bytes()
                if server.field is None:
                    answer = client.post(up.url, content=data)
                else:
                    answer = client.post(up.url, files={server.field: (path.name, data)})
                answers.append(answer.raise_for_status().json()["label"])
        return answers

    def bound(self) -> dict[str, Any]:
        """Classify without HTTP: the server's threads together, and one alone."""
        everyone = self.parts("bound", "--seconds", str(self.seconds))
        alone = self.parts("bound", "--seconds", str(self.seconds), "--threads", "1")
        return {"everyone": everyone, "alone": alone}

    def parts(self, what: str, *options: str) -> dict[str, Any]:
        """Measure without HTTP, in a process of its own; see `parts.py`."""
        arguments = [what, "--model", str(self.model), *options]
        return script("parts.py", *arguments, *map(str, self.mixed))

    def overload(self, server: Server) -> dict[str, Any]:
        """Ask over four times the connections that ours holds requests for."""
        settings = read_settings()
        connections = OVERLOAD * (settings.threads + settings.queue)
        with self.warm(server) as up:
            at_once = self.load(server, up, self.mixed, connections)
            patient = self.load(server, up, self.mixed, connections, "--patient")
        return {"connections": connections, "at_once": at_once, "patient": patient}

    def by_cores(self, server: Server) -> dict[int, float]:
        """Measure pictures a second with server and load kept to the first 1, 2, … cores."""
        if not hasattr(os, "sched_setaffinity"):
            say("by cores: this system cannot keep a process to some cores; left out")
            return {}
        available = sorted(os.sched_getaffinity(0))
        counts = [count for count in (1, 2, 4, 8) if count <= len(available)]
        found = {}
        for count in counts:
            with kept_to(available[:count]), self.warm(server) as up:
                found[count] = self.load(server, up, self.mixed, 8)["pictures_per_second"]
        return found

    def by_size(self, server: Server) -> dict[float, float]:
        """Measure pictures a second by the size of the picture in megapixels."""
        found = {}
        with self.warm(server) as up:
            for size in SIZES:
                picture = enlarge(self.typical, self.folder / f"{size}.jpg", size)
                found[size] = self.load(server, up, [picture], 8)["pictures_per_second"]
        return found


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit code."""
    options = parse(argv)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(options.bento, options.data, options.seconds, Path(folder))
        rounds = measure_rounds(bench, options.only, options.rounds)
        extras = measure_extras(bench, options.only)
    if options.figure is not None and extras.get("by_size"):
        from figure import draw  # noqa: PLC0415 - matplotlib only where a figure is asked for

        draw(extras["by_cores"], extras["by_size"], options.figure)
    result = summarise(rounds, extras)
    print_tables(result)
    print("\n" + json.dumps(result))
    return 0


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    names = [server.key for server in (*OURS, *PEERS)] + list(EXTRAS)
    parser = argparse.ArgumentParser(description="Our server beside its peers.")
    add = parser.add_argument
    add("bento", help="a tag")
    add("--data", type=Path, default=Path("data"))
    add("--seconds", type=float, default=4.0, help="of every load (%(default)s)")
    add("--rounds", type=int, default=3)
    add("--only", type=lambda text: text.split(","), default=names, help=", ".join(names))
    add("--figure", type=Path, help="draw ours by cores and by size of picture into this PNG")
    options = parser.parse_args(argv)
    if unknown := set(options.only) - set(names):
        parser.error(f"--only: {', '.join(sorted(unknown))} is none of {', '.join(names)}")
    return options


def measure_rounds(bench: Bench, only: Sequence[str], rounds: int) -> dict[str, list[Any]]:
    """Measure every server and the bound, in turn, round by round."""
    servers = [server for server in (*PEERS, *OURS) if server.key in only]
    found: dict[str, list[Any]] = {server.key: [] for server in servers}
    for number in range(1, rounds + 1):
        for server in servers:
            one = bench.round(server)
            found[server.key].append(one)
            speed = one["8"]["pictures_per_second"]
            say(f"round {number} of {rounds}: {server.name}: {speed:.1f} pictures a second")
        if "bound" in only:
            found.setdefault("bound", []).append(bench.bound())
            speed = found["bound"][-1]["everyone"]["pictures_per_second"]
            say(f"round {number} of {rounds}: the bound: {speed:.1f} pictures a second")
    return found


def measure_extras(bench: Bench, only: Sequence[str]) -> dict[str, Any]:
    """Measure what is asked of ours alone."""
    found: dict[str, Any] = {}
    if "overload" in only:
        say("a burst beyond capacity")
        chosen = [server for server in OURS if server.key in only] or OURS
        found["overload"] = {server.key: bench.overload(server) for server in chosen}
    if "parts" in only:
        say("a request's parts, and batches")
        found["parts"] = bench.parts("parts")
        found["batches"] = bench.parts("batches")
    if "scaling" in only:
        say("by cores and by size of picture")
        found["by_cores"] = bench.by_cores(OURS[-1])
        found["by_size"] = bench.by_size(OURS[-1])
    return found


@contextlib.contextmanager
def kept_to(cores: Sequence[int]) -> Iterator[None]:
    """Keep this process, and what it starts, to some cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def script(name: str, *arguments: str) -> dict[str, Any]:
    """Run one of the scripts beside this one; return its JSON line."""
    command = [sys.executable, str(HERE / name), *arguments]
    run = subprocess.run(command, stdout=subprocess.PIPE, check=False)  # noqa: S603 - our scripts
    if run.returncode != 0:
        raise SystemExit(f"error: {name} failed; it says above why")
    found: dict[str, Any] = json.loads(run.stdout)
    return found


if __name__ == "__main__":
    raise SystemExit(main())
