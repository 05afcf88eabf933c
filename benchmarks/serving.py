"""Our server beside what people would use instead: same weights, same pictures, same load.

    python benchmarks/serving.py ant_bee_classifier:latest --data data --figure serving.png

Every round starts each server in turn, alone on the machine, asks it about the validation
pictures in a fixed order over 1, 2, 8 and 32 connections, then about a 12-megapixel photo, and
stops it. The load comes from a process of its own on the same cores. In each round the same threads
also classify in a process without HTTP: the bound. Then come a burst beyond what ours holds, many
pictures in one request, a request's parts, batches, and ours by cores and by size of picture.
Prints tables of the medians over the rounds, then one JSON line with everything.
"""

import argparse
import contextlib
import importlib.metadata
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import bentoml
import httpx
from bentoml.exceptions import BentoMLException
from PIL import Image

from antbee.command import say, table
from antbee.machine import cores
from antbee.serving.settings import read_settings
from servers import HERE, OURS, PEERS, Running, Server, memory, running

CONNECTIONS: Final = (1, 2, 8, 32)
LOADS: Final = (*map(str, CONNECTIONS), "photo")
LIBRARIES: Final = (
    *("bentoml", "torch", "torchvision", "onnxruntime", "pillow", "numpy"),
    *("flask", "gunicorn", "litserve", "fastapi", "uvicorn"),
)
NAMES: Final = {server.key: server.name for server in (*PEERS, *OURS)}
MIXED: Final = {
    **{f"at {count}": f"{count}.pictures_per_second.median" for count in CONNECTIONS},
    **{f"{name} at 8": f"8.pictures_per_second.{name}" for name in ("low", "high")},
    **{f"{rank} ms": f"8.{rank}.median" for rank in ("p50", "p95", "p99")},
    "12 MP photo at 8": "photo.pictures_per_second.median",
    "memory MB": "memory_mb.median",
    "ready s": "ready_s.median",
}
BURST: Final = {
    **{status: f"counts.{status}" for status in ("200", "429")},
    "lost": "lost",
    "pictures/s": "pictures_per_second",
    "p99 of 200 ms": "latency_ms.200.p99",
    **{f"{rank} of 429": f"latency_ms.429.{rank}" for rank in ("p50", "p99")},
}
EXTRAS: Final = ("bound", "overload", "many", "parts", "scaling")
WARM_UP: Final = 64  # requests that do not count: each worker process gets its share
COMPARED: Final = 20  # pictures whose labels are compared between the servers
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
        with self.warm(server) as up:
            return {
                size: self.load(server, up.url, [self.enlarged(size)], 8)["pictures_per_second"]
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


def summarise(rounds: Mapping[str, list[Any]], extras: Mapping[str, Any]) -> dict[str, Any]:
    """Take the medians over the rounds, and compare ours with the peers and with the bound."""
    servers = {key: medians(found) for key, found in rounds.items() if key != "bound"}
    for key, server in servers.items():
        labels = (rounds[one][0]["labels"] for one in (next(iter(servers)), key))
        server["labels_differing"] = sum(a != b for a, b in zip(*labels, strict=True))
    result: dict[str, Any] = {"machine": machine(), "servers": servers, **extras, "ratios": {}}
    if "bound" in rounds:
        everyone = (one["everyone"]["pictures_per_second"] for one in rounds["bound"])
        alone = (one["alone"]["latency_ms"]["p50"] for one in rounds["bound"])
        result["bound"] = {"pictures_per_second": spread(everyone), "p50_ms": spread(alone)}
    speeds = {key: one["8"]["pictures_per_second"]["median"] for key, one in servers.items()}
    ours = [server.key for server in OURS if server.key in servers]
    peers = [speed for key, speed in speeds.items() if key not in ours]
    for key in ours:
        at_8, speed = servers[key]["8"], speeds[key]
        found = {"p99_over_p50": at_8["p99"]["median"] / at_8["p50"]["median"]}
        for name in sorted({"stock", "tuned"} & speeds.keys()):
            found[f"over_{name}_bentoml"] = speed / speeds[name]
        if peers:
            found["over_best_peer"] = speed / max(peers)
        if bound := result.get("bound"):
            found["of_the_bound"] = speed / bound["pictures_per_second"]["median"]
            p50 = servers[key]["1"]["p50"]["median"]
            found["p50_above_bound_ms"] = p50 - bound["p50_ms"]["median"]
        result["ratios"][key] = found
    return result


def medians(rounds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Take the medians of one server."""
    found: dict[str, Any] = {}
    for load in LOADS:
        several = [one[load] for one in rounds]
        speeds = (one["pictures_per_second"] for one in several)
        found[load] = {"pictures_per_second": spread(speeds)}
        for rank in ("p50", "p95", "p99"):
            answered = (one["latency_ms"].get("200", {}) for one in several)
            found[load][rank] = spread(latencies.get(rank) for latencies in answered)
    for key in ("memory_mb", "ready_s"):
        found[key] = spread(one[key] for one in rounds)
    found["lost"] = sum(one[load]["lost"] for one in rounds for load in LOADS)
    return found


def spread(values: Iterable[float | None]) -> dict[str, float]:
    """Take the median, the lowest and the highest; nothing where nothing was measured."""
    known = [value for value in values if value is not None]
    if not known:
        return {}
    return {"median": statistics.median(known), "low": min(known), "high": max(known)}


def machine() -> dict[str, Any]:
    """Describe what was measured on."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.processor() or platform.machine(),
        "cores": cores(),
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in LIBRARIES},
    }


def print_tables(result: Mapping[str, Any]) -> None:
    """Print a table of everything that was measured."""
    ratios, many, parts = result["ratios"], result.get("many"), result.get("parts")
    print_table("mixed pictures", result["servers"], MIXED)
    for how, name in (("at_once", "at once"), ("patient", "after Retry-After")):
        bursts = {key: one[how] for key, one in result.get("overload", {}).items()}
        print_table(f"burst, asks again {name}", bursts, BURST)
    if many:
        columns = {"ms": many["milliseconds"], "of one by one": many["ratios"]}
        print_columns(f"{many['pictures']} pictures", columns)
    batches = {f"batch {size}": str(size) for size in (1, 2, 4, 8)}
    print_table("network, ms by threads", result.get("batches", {}), batches)
    for first, name in (("cores", "by_cores"), ("megapixels", "by_size")):
        print_columns(first, {"pictures/s": result.get(name, {})})
    if parts:
        if "bound" in result:  # the rest is what is left of one connection's p50
            rest = {key: found["p50_above_bound_ms"] for key, found in ratios.items()}
            parts = parts | {f"HTTP and rest, {NAMES[key]}": ms for key, ms in rest.items()}
        print_columns("part of a request", {"ms": parts})
    for key, found in ratios.items():
        print(f"{NAMES[key]}: " + "  ".join(f"{name} {value:.2f}" for name, value in found.items()))
    if bound := result.get("bound"):
        speed, p50 = bound["pictures_per_second"]["median"], bound["p50_ms"]["median"]
        print(f"bound: {speed:.1f} pictures a second, p50 {p50:.1f} ms alone")


def print_table(first: str, rows: Mapping[str, Any], columns: Mapping[str, str]) -> None:
    """Print rows by their names, which have the first heading, if there are any.

    Columns say where the number of each heading is in a row: keys, with dots between them.
    """
    cells = []
    for name, row in rows.items():
        cells.append([NAMES.get(name, name)])
        for path in columns.values():
            found: Any = row
            for key in path.split("."):
                found = found.get(key, {})
            if isinstance(found, float):
                found = f"{found:.1f}" if abs(found) >= 10 else f"{found:.2f}"  # noqa: PLR2004
            cells[-1].append("-" if found == {} else str(found))
    if cells:
        print(table([first, *columns], cells) + "\n")


def print_columns(first: str, columns: Mapping[str, Mapping[Any, float]]) -> None:
    """Print columns of numbers that have the same names, if there are any."""
    names = next(iter(columns.values()))
    rows = {str(name): {head: column[name] for head, column in columns.items()} for name in names}
    print_table(first, rows, {head: head for head in columns})


def draw(by_cores: Mapping[int, float], by_size: Mapping[float, float], target: Path) -> None:
    """Write a PNG of pictures a second by the number of cores, and by megapixels."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - only where a figure is asked for

    figure = Figure((10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    bars = left.bar([str(count) for count in by_cores], list(by_cores.values()), width=0.5)
    left.bar_label(bars, fmt="{:.0f}")
    left.set(title="Throughput by cores", xlabel="CPU cores")
    right.plot(list(by_size), list(by_size.values()), marker="o")
    right.set(title="Throughput by the size of a picture", xlabel="megapixels of a JPEG photo")
    right.set(xscale="log", yscale="log")
    right.set_xticks(list(by_size), [f"{size:g}" for size in by_size])
    right.set_yticks(list(by_size.values()), [f"{value:.0f}" for value in by_size.values()])
    right.minorticks_off()
    right.grid(alpha=0.3)
    for axes in (left, right):
        axes.set_ylabel("pictures a second, 8 connections")
    figure.savefig(target, dpi=150)


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
