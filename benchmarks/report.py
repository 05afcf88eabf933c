"""What the rounds come to: medians and ratios, and their tables."""

import importlib.metadata
import platform
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from antbee.command import table
from antbee.machine import cores
from servers import OURS, PEERS

CONNECTIONS: Final = (1, 2, 8, 32)
LOADS: Final = (*map(str, CONNECTIONS), "picture", "photo")
LIBRARIES: Final = (
    *("bentoml", "torch", "torchvision", "onnxruntime", "pillow", "numpy"),
    *("flask", "gunicorn", "litserve", "fastapi", "uvicorn"),
)
NAMES: Final = {server.key: server.name for server in (*PEERS, *OURS)}
MIXED: Final = {
    **{f"at {count}": f"{count}.pictures_per_second.median" for count in CONNECTIONS},
    **{f"{name} at 8": f"8.pictures_per_second.{name}" for name in ("low", "high")},
    **{f"{rank} ms": f"8.{rank}.median" for rank in ("p50", "p95", "p99")},
    "memory MB": "memory_mb.median",
    "ready s": "ready_s.median",
}
SPECIAL: Final = {
    "one picture": "picture.pictures_per_second.median",
    "its p50 ms": "picture.p50.median",
    "its p99": "picture.p99.median",
    "12 MP photo": "photo.pictures_per_second.median",
    "p50 ms": "photo.p50.median",
    "p99": "photo.p99.median",
}
BURST: Final = {
    **{status: f"counts.{status}" for status in ("200", "429")},
    "lost": "lost",
    "pictures/s": "pictures_per_second",
    "p99 of 200 ms": "latency_ms.200.p99",
    **{f"{rank} of 429": f"latency_ms.429.{rank}" for rank in ("p50", "p99")},
}
BATCHES: Final = {f"batch {size}": str(size) for size in (1, 2, 4, 8)}


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
        for name in ("stock", "tuned"):
            if name in speeds:
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
        names = ("pictures_per_second", "generator_cpu_ms")
        found[load] = {name: spread(one[name] for one in several) for name in names}
        for rank in ("p50", "p95", "p99"):
            answered = (one["latency_ms"].get("200", {}) for one in several)
            found[load][rank] = spread(latencies.get(rank) for latencies in answered)
    for key in ("memory_mb", "ready_s"):
        found[key] = spread(one[key] for one in rounds)
    every = [one[load] for one in rounds for load in LOADS]
    found["lost"] = sum(one["lost"] for one in every)
    counts = [(status, n) for one in every for status, n in one["counts"].items()]
    found["refused"] = sum(n for status, n in counts if status != "200")
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
    print_table("8 connections", result["servers"], SPECIAL)
    for how, name in (("at_once", "at once"), ("patient", "after Retry-After")):
        bursts = {key: one[how] for key, one in result.get("overload", {}).items()}
        print_table(f"burst, asks again {name}", bursts, BURST)
    if many:
        columns = {"ms": many["milliseconds"], "of one by one": many["ratios"]}
        print_columns(f"{many['pictures']} pictures", columns)
    print_table("network, ms by threads", result.get("batches", {}), BATCHES)
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
    """Print rows by their names, if there are any.

    Args:
        first: heading of the names.
        rows: what was measured, by name: numbers in dictionaries of dictionaries.
        columns: where the number of each heading is: keys, with dots between them.
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
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(target, dpi=150)
