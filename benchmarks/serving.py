"""Our server beside what people would use instead: same weights, same pictures, same load.

    python benchmarks/serving.py ant_bee_classifier:latest --data data --figure serving.png
    python benchmarks/serving.py ant_bee_classifier:latest --tune

Every round starts each server in turn, alone on the machine, asks it about the validation
pictures in a fixed order over 1, 2, 8 and 32 connections, then about one picture and about a
12-megapixel photo, and stops it. The load comes from a process of its own on the same cores. In
each round the same threads also classify in a process without HTTP: the bound. Then come a burst
beyond what ours holds, many pictures in one request, a request's parts, batches, and ours by cores
and by size of picture. Prints tables of the medians over the rounds, then one JSON line with
everything.

`--tune` tries each peer's worker processes and the threads that each uses for one picture, at 8
connections; `servers.py` holds the best of them.
"""

import argparse
import contextlib
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import httpx

from antbee.command import say, table
from antbee.serving.settings import read_settings
from report import CONNECTIONS, print_tables, summarise
from servers import (
    HERE,
    OURS,
    PEERS,
    Running,
    Server,
    enlarge,
    find_mixed,
    find_model,
    nearest,
    running,
)
from watch import memory

EXTRAS: Final = ("bound", "overload", "many", "parts", "scaling")
WARM_UP: Final = 64
"""Requests that do not count, over 8 connections: each worker process gets its share."""
COMPARED: Final = 20
"""Pictures whose labels are compared between the servers."""
PHOTO_MEGAPIXELS: Final = 12
SIZES: Final = (0.2, 1, 3, 12, 24)
OVERLOAD: Final = 4
"""Times the requests that ours holds."""
MANY: Final = 32
"""Pictures in one request: as many as it may bring, by default."""
MANY_ROUNDS: Final = 15
TUNED: Final = ((1, 1), (1, 2), (2, 1), (2, 2), (3, 1))
"""Worker processes, and threads of each."""


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

    @contextlib.contextmanager
    def warm(self, server: Server) -> Iterator[Running]:
        """Start a server, let it answer a little, and stop it at the end."""
        with running(server, self.tag, self.model) as up:
            self.load(server, up.url, self.mixed, 8, "--requests", str(WARM_UP))
            yield up

    def load(
        self, server: Server, url: str, pictures: Sequence[Path], connections: int, *more: str
    ) -> dict[str, Any]:
        """Ask a server from another process; see `load.py` for what comes back."""
        options = ["--connections", str(connections), "--seconds", str(self.seconds), *more]
        if server.field is not None:
            options += ["--field", server.field]
        return script("load.py", url, *options, *map(str, pictures))

    def speed(self, server: Server, pictures: Sequence[Path]) -> float:
        """Start a server and measure its pictures a second at 8 connections."""
        with self.warm(server) as up:
            return float(self.load(server, up.url, pictures, 8)["pictures_per_second"])

    def round(self, server: Server) -> dict[str, Any]:
        """Start a server and measure everything of it."""
        with self.warm(server) as up:
            found: dict[str, Any] = {"ready_s": up.ready_s, "labels": self.labels(server, up.url)}
            for count in CONNECTIONS:
                found[str(count)] = self.load(server, up.url, self.mixed, count)
            found["memory_mb"] = memory(up.process.pid)
            found["picture"] = self.load(server, up.url, [self.typical], 8)
            found["photo"] = self.load(server, up.url, [self.photo], 8)
        return found

    def labels(self, server: Server, url: str) -> list[str]:
        """Ask which labels the first pictures show."""
        labels = []
        with httpx.Client(timeout=30) as client:
            for path in self.mixed[:COMPARED]:
                field, data = server.field, path.read_bytes()
                body: dict[str, Any] = {"files": {field: data}} if field else {"content": data}
                answer = client.post(url, **body).raise_for_status()
                labels.append(answer.json()["label"])
        return labels

    def parts(self, what: str, *options: str) -> dict[str, Any]:
        """Measure without HTTP, in a process of its own; see `parts.py`."""
        arguments = [what, "--model", str(self.model), "--seconds", str(self.seconds), *options]
        return script("parts.py", *arguments, *map(str, self.mixed))

    def overload(self, server: Server) -> dict[str, Any]:
        """Ask over four times the connections that ours holds requests for."""
        settings = read_settings()
        connections = OVERLOAD * (settings.threads + settings.queue)
        with self.warm(server) as up:
            at_once = self.load(server, up.url, self.mixed, connections)
            patient = self.load(server, up.url, self.mixed, connections, "--patient")
        return {"connections": connections, "at_once": at_once, "patient": patient}

    def many(self, server: Server) -> dict[str, Any]:
        """Send the same pictures in one request and in many: medians in ms, and their ratios."""
        pictures = self.mixed[:MANY]
        whole = ["--seconds", "60", "--requests"]  # for as long as they take
        single, one = [*whole, str(len(pictures))], [*whole, "1", "--together"]
        with self.warm(server) as up:
            together = up.url.replace("/predict", "/v1/predict")
            ways: dict[str, tuple[str, int, list[str]]] = {
                "one by one": (up.url, 1, single),
                "over 8 connections": (up.url, 8, single),
                "one request, JSON": (together, 1, [*one, "json"]),
                "one request, form": (together, 1, [*one, "form"]),
            }
            times: dict[str, list[float]] = {name: [] for name in ways}
            for _, (name, (url, count, more)) in itertools.product(
                range(MANY_ROUNDS), ways.items()
            ):
                found = self.load(server, url, pictures, count, *more)
                if found["counts"] != {"200": int(more[3])}:
                    raise SystemExit(f"error: not every picture was classified: {found}")
                times[name].append(found["seconds"] * 1e3)
        medians = {name: statistics.median(several) for name, several in times.items()}
        ratios = {name: taken / medians["one by one"] for name, taken in medians.items()}
        return {"pictures": len(pictures), "milliseconds": medians, "ratios": ratios}

    def by_cores(self, server: Server) -> dict[int, float]:
        """Measure pictures a second with server and load kept to the first 1, 2, … cores."""
        if not hasattr(os, "sched_setaffinity"):
            say("by cores: this system cannot keep a process to some cores; left out")
            return {}
        available = sorted(os.sched_getaffinity(0))
        found = {}
        try:
            for count in (count for count in (1, 2, 4, 8) if count <= len(available)):
                os.sched_setaffinity(0, available[:count])  # of what this process starts, too
                found[count] = self.speed(server, self.mixed)
        finally:
            os.sched_setaffinity(0, available)
        return found

    def by_size(self, server: Server) -> dict[float, float]:
        """Measure pictures a second by the size of the picture in megapixels."""
        found = {}
        with self.warm(server) as up:
            for size in SIZES:
                picture = enlarge(self.typical, self.folder / f"{size}.jpg", size)
                found[size] = self.load(server, up.url, [picture], 8)["pictures_per_second"]
        return found


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit code."""
    names = [server.key for server in (*OURS, *PEERS)] + list(EXTRAS)
    parser = argparse.ArgumentParser(description="Our server beside its peers.")
    add = parser.add_argument
    add("bento", help="a tag")
    add("--data", type=Path, default=Path("data"))
    add("--seconds", type=float, default=4.0, help="of every load (%(default)s)")
    add("--rounds", type=int, default=3)
    add("--only", type=lambda text: text.split(","), default=names, help=", ".join(names))
    add("--figure", type=Path, help="draw ours by cores and by size of picture into this PNG")
    add("--tune", action="store_true", help="try the peers' settings instead")
    options = parser.parse_args(argv)
    if unknown := set(options.only) - set(names):
        parser.error(f"--only: {', '.join(sorted(unknown))} is none of {', '.join(names)}")
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(options.bento, options.data, options.seconds, Path(folder))
        if options.tune:
            result: dict[str, Any] = tune(bench, options.only, options.rounds)
        else:
            rounds = measure_rounds(bench, options.only, options.rounds)
            result = summarise(rounds, measure_extras(bench, options.only))
            print_tables(result)
    if options.figure is not None and result.get("by_size"):
        from figure import draw  # noqa: PLC0415 - matplotlib only where a figure is asked for

        draw(result["by_cores"], result["by_size"], options.figure)
    print("\n" + json.dumps(result))
    return 0


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
        if "bound" in only:  # the server's threads together, and one alone
            bound = {
                "everyone": bench.parts("bound"),
                "alone": bench.parts("bound", "--threads", "1"),
            }
            found.setdefault("bound", []).append(bound)
            speed = bound["everyone"]["pictures_per_second"]
            say(f"round {number} of {rounds}: the bound: {speed:.1f} pictures a second")
    return found


def measure_extras(bench: Bench, only: Sequence[str]) -> dict[str, Any]:
    """Measure what is asked of ours alone."""
    found: dict[str, Any] = {}
    if "overload" in only:
        say("a burst beyond capacity")
        chosen = [server for server in OURS if server.key in only] or OURS
        found["overload"] = {server.key: bench.overload(server) for server in chosen}
    if "many" in only:
        say("many pictures in one request")
        found["many"] = bench.many(OURS[0])
    if "parts" in only:
        say("a request's parts, and batches")
        found["parts"] = bench.parts("parts")
        found["batches"] = bench.parts("batches")
    if "scaling" in only:
        say("by cores and by size of picture")
        found["by_cores"] = bench.by_cores(OURS[-1])
        found["by_size"] = bench.by_size(OURS[-1])
    return found


def tune(bench: Bench, only: Sequence[str], rounds: int) -> dict[str, float]:
    """Measure pictures a second of each peer with each of the settings; print the medians."""
    variants = [
        replace(peer, workers=workers, threads=threads)
        for peer in PEERS
        if peer.key in only
        for workers, threads in TUNED
    ]
    speeds: list[list[float]] = [[] for _ in variants]
    for _ in range(rounds):
        for one, found in zip(variants, speeds, strict=True):
            found.append(bench.speed(one, bench.mixed))
            say(f"{one.name}, {one.workers} workers, {one.threads} threads: {found[-1]:.1f}")
    medians = list(map(statistics.median, speeds))
    rows = [
        [one.name, str(one.workers), str(one.threads), f"{speed:.1f}"]
        for one, speed in zip(variants, medians, strict=True)
    ]
    print(table(["server", "workers", "threads", "pictures/s"], rows))
    names = [f"{one.key} {one.workers}x{one.threads}" for one in variants]
    return dict(zip(names, medians, strict=True))


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
