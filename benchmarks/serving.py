"""Our server beside what people would use instead: same weights, same pictures, same load.

    python benchmarks/serving.py ant_bee_classifier:latest --data data --figure serving.png

Every round starts each server in turn, alone on the machine, asks it about the validation
pictures in a fixed order over 1, 2, 8 and 32 connections, then about one picture and about a
12-megapixel photo, and stops it. The load comes from a process of its own on the same cores. In
each round the same threads also classify in a process without HTTP: the bound. Then come a burst
beyond what ours holds, many pictures in one request, a request's parts, batches, and ours by cores
and by size of picture. Prints tables of the medians over the rounds, then one JSON line with
everything.
"""

import argparse
import contextlib
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import bentoml
import httpx
from bentoml.exceptions import BentoMLException
from PIL import Image

from antbee.command import say
from antbee.serving.settings import read_settings
from report import CONNECTIONS, draw, print_tables, summarise
from servers import HERE, OURS, PEERS, Running, Server, memory, running

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
TYPICAL: Final = 500 * 404
"""Pixels of the picture that stands for one of many alike; the nearest to it is taken."""


class Bench:
    """What every measurement needs.

    Args:
        tag: of the bento.
        data: the pictures' folder.
        seconds: of every load.
        folder: for pictures made on the way.
    """

    def __init__(self, tag: str, data: Path, seconds: float, folder: Path) -> None:
        self.tag, self.seconds, self.folder = tag, seconds, folder
        try:
            name = str(bentoml.bentos.get(tag).info.args["model"])
            self.model = Path(bentoml.models.get(name).path)
        except (BentoMLException, KeyError) as error:
            reason = f"no bento {tag}: run save_to_bento.py first ({error})"
            raise SystemExit(f"error: {reason}") from error
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

    def parts(self, what: str, *options: str) -> dict[str, Any]:
        """Measure without HTTP, in a process of its own; see `parts.py`."""
        arguments = [what, "--model", str(self.model), "--seconds", str(self.seconds), *options]
        return script("parts.py", *arguments, *map(str, self.mixed))

    def round(self, server: Server) -> dict[str, Any]:
        """Start a server and measure everything of it, and which labels it gives."""
        with self.warm(server) as up, httpx.Client(timeout=30) as client:
            found: dict[str, Any] = {"ready_s": up.ready_s, "labels": []}
            for path in self.mixed[:COMPARED]:
                field, data = server.field, path.read_bytes()
                body: dict[str, Any] = {"files": {field: data}} if field else {"content": data}
                answer = client.post(up.url, **body).raise_for_status()
                found["labels"].append(answer.json()["label"])
            for count in CONNECTIONS:
                found[str(count)] = self.load(server, up.url, self.mixed, count)
            found["memory_mb"] = memory(up.process.pid)
            found["picture"] = self.load(server, up.url, [self.typical], 8)
            found["photo"] = self.load(server, up.url, [self.photo], 8)
        return found

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
        with self.warm(server) as up:
            together = up.url.replace("/predict", "/v1/predict")
            ways: dict[str, tuple[str, int, int, list[str]]] = {
                "one by one": (up.url, 1, len(pictures), []),
                "over 8 connections": (up.url, 8, len(pictures), []),
                "one request, JSON": (together, 1, 1, ["--together", "json"]),
                "one request, form": (together, 1, 1, ["--together", "form"]),
            }
            times: dict[str, list[float]] = {name: [] for name in ways}
            for _ in range(MANY_ROUNDS):
                for name, (url, connections, requests, how) in ways.items():
                    until = ["--seconds", "60", "--requests", str(requests)]
                    found = self.load(server, url, pictures, connections, *until, *how)
                    if found["counts"] != {"200": requests}:
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
                with self.warm(server) as up:
                    one = self.load(server, up.url, self.mixed, 8)
                found[count] = one["pictures_per_second"]
        finally:
            os.sched_setaffinity(0, available)
        return found

    def by_size(self, server: Server) -> dict[float, float]:
        """Measure pictures a second by the size of the picture in megapixels."""
        found = {}
        with self.warm(server) as up:
            for size in SIZES:
                loaded = self.load(server, up.url, [self.enlarged(size)], 8)
                found[size] = loaded["pictures_per_second"]
        return found

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
    add("--only", nargs="+", choices=names, default=names, metavar="WHAT", help=", ".join(names))
    add("--figure", type=Path, help="draw ours by cores and by size of picture into this PNG")
    options = parser.parse_args(argv)
    servers = [server for server in (*PEERS, *OURS) if server.key in options.only]
    rounds: dict[str, list[Any]] = {server.key: [] for server in servers}
    extras: dict[str, Any] = {}

    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(options.bento, options.data, options.seconds, Path(folder))
        for number in range(1, options.rounds + 1):
            for server in servers:
                rounds[server.key].append(bench.round(server))
                speed = rounds[server.key][-1]["8"]["pictures_per_second"]
                say(f"round {number}: {server.name}: {speed:.1f} pictures a second")
            if "bound" in options.only:  # the server's threads together, and one alone
                everyone, alone = bench.parts("bound"), bench.parts("bound", "--threads", "1")
                rounds.setdefault("bound", []).append({"everyone": everyone, "alone": alone})
                speed = everyone["pictures_per_second"]
                say(f"round {number}: the bound: {speed:.1f} pictures a second")

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
            extras |= {"by_cores": bench.by_cores(OURS[-1]), "by_size": bench.by_size(OURS[-1])}

    result = summarise(rounds, extras)
    print_tables(result)
    if options.figure is not None and "by_size" in extras:
        draw(extras["by_cores"], extras["by_size"], options.figure)
    print("\n" + json.dumps(result))
    return 0


def pixels(path: Path) -> int:
    """Tell how many a picture has."""
    with Image.open(path) as image:
        return image.width * image.height


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
