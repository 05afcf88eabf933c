"""Our server beside the hardest peers: our own packed network, same pictures, same load.

    python benchmarks/serving.py ant_bee_classifier:latest --data data --figure serving.png
    python benchmarks/serving.py ant_bee_classifier:latest --only fastapi-raw gunicorn bound
    python benchmarks/serving.py ant_bee_classifier:latest --tune

Every round starts each server in turn, another one first each time, alone on the machine, asks it
about the validation pictures in a fixed order over 1, 2, 8 and 32 connections, then about a
12-megapixel photo, and stops it. The load comes from a process of its own on the same cores. In
each round the same threads also classify in a process without HTTP: the bound. Then come a burst
beyond what ours holds, many pictures in one request, a request's parts, batches, ours and the
hardest peer by cores, and ours by size of picture. Prints tables of the medians over the rounds,
ratios of what one round measured, then one JSON line with everything.
"""

import argparse
import contextlib
import functools
import itertools
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeVar

import bentoml
import httpx
from bentoml.exceptions import BentoMLException
from PIL import Image

from antbee.command import say
from antbee.machine import cores
from antbee.serving.settings import read_settings
from servers import HERE, OURS, PEERS, Running, Server, memory, on_cores, running
from summary import (
    BOUND,
    CONNECTIONS,
    NAMES,
    TUNED,
    draw,
    hardest,
    print_table,
    print_tables,
    summarise,
    summed,
)

T = TypeVar("T")

EXTRAS: Final = (BOUND, "overload", "many", "parts", "scaling")
WARM_UP: Final = 64  # requests that do not count: each worker process gets its share
COMPARED: Final = 20  # pictures whose labels are compared between the servers
PATIENCE: Final = 30  # seconds that a server may take for one of these
TRIES: Final = 3  # times that a server may hang in a round: OpenVINO's does now and then
PHOTO_MEGAPIXELS: Final = 12
SIZES: Final = (0.2, 1, 3, 12, 24)
OVERLOAD: Final = 4  # times the requests that ours holds
MANY: Final = 32  # pictures in one request: as many as it may bring, by default
MANY_ROUNDS: Final = 15
TYPICAL: Final = 500 * 404  # pixels of the picture that stands for one of many alike, about


class Bench:
    """What every measurement of a bento needs: its model, pictures of a folder, seconds a load."""

    def __init__(self, tag: str, data: Path, seconds: float, folder: Path) -> None:
        self.tag, self.seconds, self.folder = tag, seconds, folder
        try:
            name = str(bentoml.bentos.get(tag).info.args["model"])
            packed = Path(bentoml.models.get(name).path)
        except (BentoMLException, KeyError) as error:
            reason = f"no bento {tag}: run save_to_bento.py first ({error})"
            raise SystemExit(f"error: {reason}") from error
        self.model = folder / "model"  # where a peer's own network finds room beside ours
        self.model.mkdir()
        for path in packed.iterdir():
            (self.model / path.name).symlink_to(path)
        # All photographs of the validation, in an order that is shuffled and always the same.
        self.mixed = sorted((data / "val").glob("*/[!.]*.jp*g"))
        if not self.mixed:
            raise SystemExit(f"error: no JPEG in {data}/val/<label>/: run get_data.sh first")
        random.Random(0).shuffle(self.mixed)  # noqa: S311 - an order, not a secret
        self.typical = min(self.mixed, key=lambda path: abs(pixels(path) - TYPICAL))
        self.photo = self.enlarged(PHOTO_MEGAPIXELS)

    @contextlib.contextmanager
    def warm(self, server: Server) -> Iterator[Running]:
        """Start a server, let it answer a little, and stop it at the end."""
        with running(server, self.tag, self.model) as up:
            self.load(up, self.mixed, 8, "--requests", str(WARM_UP))
            yield up

    def load(
        self, up: Running, pictures: Sequence[Path], connections: int, *more: str, path: str = ""
    ) -> dict[str, Any]:
        """Ask a server from another process; see `load.py` for what comes back."""
        url = up.url.replace(up.server.path, path) if path else up.url
        options = ["--connections", str(connections), "--seconds", str(self.seconds), *more]
        if up.server.field is not None:
            options += ["--field", up.server.field]
        return script("load.py", url, "--pid", str(up.process.pid), *options, *map(str, pictures))

    def parts(self, what: str, *options: str) -> dict[str, Any]:
        """Measure without HTTP, in a process of its own; see `parts.py`."""
        arguments = [what, "--model", str(self.model), "--seconds", str(self.seconds), *options]
        return script("parts.py", *arguments, *map(str, self.mixed))

    def bound(self) -> dict[str, Any]:
        """Let as many threads as our server has classify without HTTP, and one alone."""
        loads = {"8": self.parts("bound"), "1": self.parts("bound", "--threads", "1")}
        for one in loads.values():
            one["latency_ms"], one["cpu_ms"] = {"200": one["latency_ms"]}, {"server": one["cpu_ms"]}
        return loads

    def round(self, server: Server) -> dict[str, Any]:
        """Measure a server, and how often it had to be started anew because it hung."""
        for hung in range(TRIES):
            with contextlib.suppress(httpx.TimeoutException):
                return self.measure(server) | {"hung": hung}
            say(f"{server.name} gave no answer within {PATIENCE} s")
        raise SystemExit(f"error: {server.name} hung {TRIES} times: leave it out with --only")

    def measure(self, server: Server) -> dict[str, Any]:
        """Start a server and measure everything of it, and which labels it gives."""
        with self.warm(server) as up, httpx.Client(timeout=PATIENCE) as client:
            found: dict[str, Any] = {"ready_s": up.ready_s, "labels": []}
            for path in self.mixed[:COMPARED]:
                field, data = server.field, path.read_bytes()
                body: dict[str, Any] = {"files": {field: data}} if field else {"content": data}
                answer = client.post(up.url, **body).raise_for_status().json()
                one = answer[0] if isinstance(answer, list) else answer
                found["labels"].append(one["label"])
            for count in CONNECTIONS:
                found[str(count)] = self.load(up, self.mixed, count)
            found["memory_mb"] = memory(up.process.pid)
            found["photo"] = self.load(up, [self.photo], 8)
        return found

    def tune(self, server: Server, rounds: int) -> dict[str, Any]:
        """Try numbers of processes, and of threads in each: the medians, fastest first.

        All run at once and are asked in turn, so that what else the machine does meets all alike.
        """
        counts = itertools.product({1, cores(), cores() + 1}, {1, cores(), 2 * cores()})
        ways = [replace(server, workers=one, threads=other) for one, other in sorted(counts)]
        found: dict[str, list[Any]] = {}
        with contextlib.ExitStack() as stack:
            up = [stack.enter_context(self.warm(way)) for way in ways]
            for number in range(rounds):
                for one in rotated(up, number):
                    name = f"{server.name}: {one.server.workers} of {one.server.threads}"
                    found.setdefault(name, []).append(self.load(one, self.mixed, 8))
        tuned = [(name, summed(several)) for name, several in found.items()]
        return dict(sorted(tuned, key=lambda one: -one[1]["pictures_per_second"]["median"]))

    def overload(self, server: Server) -> dict[str, Any]:
        """Ask over four times the connections that ours holds requests for."""
        settings = read_settings()
        connections = OVERLOAD * (settings.threads + settings.queue)
        with self.warm(server) as up:
            at_once = self.load(up, self.mixed, connections)
            patient = self.load(up, self.mixed, connections, "--patient")
        return {"connections": connections, "at_once": at_once, "patient": patient}

    def many(self, server: Server) -> dict[str, Any]:
        """Send the same pictures in one request and in many: medians in ms, and their ratios."""
        pictures = self.mixed[:MANY]
        with self.warm(server) as up:
            one, several = up.server.path, "/v1/predict"
            ways: dict[str, tuple[str, int, int, list[str]]] = {
                "one by one": (one, 1, len(pictures), []),
                "over 8 connections": (one, 8, len(pictures), []),
                "one request, JSON": (several, 1, 1, ["--together", "json"]),
                "one request, form": (several, 1, 1, ["--together", "form"]),
            }
            times: dict[str, list[float]] = {name: [] for name in ways}
            for _ in range(MANY_ROUNDS):
                for name, (path, connections, requests, how) in ways.items():
                    until = ["--seconds", "60", "--requests", str(requests)]
                    found = self.load(up, pictures, connections, *until, *how, path=path)
                    if found["counts"] != {"200": requests}:
                        raise SystemExit(f"error: not every picture was classified: {found}")
                    times[name].append(found["seconds"] * 1e3)
        medians = {name: statistics.median(several) for name, several in times.items()}
        ratios = {name: taken / medians["one by one"] for name, taken in medians.items()}
        return {"pictures": len(pictures), "milliseconds": medians, "ratios": ratios}

    def by_cores(self, servers: Sequence[Server]) -> dict[str, dict[int, Any]]:
        """Measure servers, and their load, kept to the first 1, 2, 4, … cores."""
        found: dict[str, dict[int, Any]] = {server.key: {} for server in servers}
        if not hasattr(os, "sched_setaffinity"):
            say("by cores: this system cannot keep a process to some cores; left out")
            return found
        available = sorted(os.sched_getaffinity(0))
        try:
            for count in (2**power for power in range(len(available).bit_length())):
                os.sched_setaffinity(0, available[:count])  # of what this process starts, too
                for server in servers:
                    with self.warm(on_cores(server, count)) as up:
                        found[server.key][count] = self.load(up, self.mixed, max(8, 4 * count))
        finally:
            os.sched_setaffinity(0, available)
        return found

    def by_size(self, server: Server) -> dict[float, float]:
        """Measure pictures a second by the size of the picture in megapixels."""
        with self.warm(server) as up:
            return {
                size: self.load(up, [self.enlarged(size)], 8)["pictures_per_second"]
                for size in SIZES
            }

    def enlarged(self, megapixels: float) -> Path:
        """Write the typical picture as large, 4 to 3, as a camera would: JPEG, quality 90."""
        height = round((megapixels * 1e6 * 3 / 4) ** 0.5)
        with Image.open(self.typical) as image:
            large = image.convert("RGB").resize((height * 4 // 3, height), Image.Resampling.BICUBIC)
        target = self.folder / f"{megapixels}.jpg"
        large.save(target, quality=90)
        return target


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit code."""
    names = [server.key for server in (*OURS, *PEERS)] + list(EXTRAS)
    parser = argparse.ArgumentParser(description="Our server beside its peers.")
    add = parser.add_argument
    add("bento", help="a tag")
    add("--data", type=Path, default=Path("data"))
    add("--seconds", type=float, default=4.0, help="of every load (%(default)s)")
    add("--rounds", type=int, default=3)
    add("--tune", action="store_true", help="try numbers of processes and threads of the peers")
    add("--only", nargs="+", choices=names, default=names, metavar="WHAT", help=", ".join(names))
    add("--figure", type=Path, help="draw ours by cores and by size of picture into this PNG")
    options = parser.parse_args(argv)
    servers = [server for server in (*PEERS, *OURS) if server.key in options.only]
    for server in filter(Server.missing, servers):
        say(f"{server.name} is left out: pip install -e '.[openvino]' installs {server.missing()}")
    servers = [server for server in servers if not server.missing()]
    rounds: dict[str, list[Any]] = {}
    extras: dict[str, Any] = {}

    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(options.bento, options.data, options.seconds, Path(folder))
        if any(server.runtime == "nncf" for server in servers):
            say("NNCF quantizes the network")
            script("peers/nncf_int8.py", str(bench.model), str(options.data))
        if options.tune:
            tuned = [bench.tune(one, options.rounds) for one in servers if one.runtime]
            for found in tuned:
                print_table("processes of threads", found, TUNED)
            print(json.dumps(tuned))
            return 0
        measures: dict[str, Callable[[], dict[str, Any]]] = {
            server.key: functools.partial(bench.round, server) for server in servers
        }
        if BOUND in options.only:
            measures[BOUND] = bench.bound
        for number in range(options.rounds):
            for key in rotated(list(measures), number):
                rounds.setdefault(key, []).append(measures[key]())
                speed = rounds[key][-1]["8"]["pictures_per_second"]
                say(f"round {number + 1}: {NAMES[key]}: {speed:.1f} pictures a second")

        if "overload" in options.only:
            say("a burst beyond capacity")
            chosen = [server for server in OURS if server in servers] or OURS
            extras["overload"] = {server.key: bench.overload(server) for server in chosen}
        if "many" in options.only:
            say("many pictures in one request")
            extras["many"] = bench.many(OURS[0])
        if "parts" in options.only:
            say("a request's parts, and batches")
            extras |= {"parts": bench.parts("parts"), "batches": bench.parts("batches")}
        if "scaling" in options.only:
            say("by cores and by size of picture")
            peers = [server for server in servers if server.key == hardest(rounds)]
            extras |= {"by_cores": bench.by_cores([OURS[-1], *peers])}
            extras |= {"by_size": bench.by_size(OURS[-1])}

    result = summarise(rounds, extras)
    print_tables(result)
    if options.figure is not None and "by_size" in extras:
        draw(extras["by_cores"][OURS[-1].key], extras["by_size"], options.figure)
    print("\n" + json.dumps(result))
    return 0


def rotated(several: Sequence[T], by: int) -> list[T]:
    """Begin with another one each round, so that no place in the order is always the same one's."""
    by %= max(len(several), 1)
    return [*several[by:], *several[:by]]


def pixels(path: Path) -> int:
    """Tell how many a picture has."""
    with Image.open(path) as image:
        return image.width * image.height


def script(name: str, *arguments: str) -> dict[str, Any]:
    """Run one of the scripts beside this one; return its JSON line, the last."""
    command = [sys.executable, str(HERE / name), *arguments]
    run = subprocess.run(command, stdout=subprocess.PIPE, check=False)  # noqa: S603 - our scripts
    if run.returncode != 0:
        raise SystemExit(f"error: {name} failed; it says above why")
    found: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    raise SystemExit(main())
