"""What the rounds of `serving.py` come to: medians, ratios, tables and a figure."""

import importlib.metadata
import itertools
import operator
import platform
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from antbee.command import table
from antbee.machine import cores
from servers import OURS, PEERS

CONNECTIONS: Final = (1, 2, 8, 32)
LOADS: Final = (*map(str, CONNECTIONS), "photo")
BOUND: Final = "bound"
NAMES: Final = {one.key: one.name for one in (*PEERS, *OURS)} | {BOUND: "antbee's threads, no HTTP"}
LIBRARIES: Final = (
    *("bentoml", "torch", "torchvision", "onnxruntime", "pillow", "numpy"),
    *("flask", "gunicorn", "fastapi", "uvicorn", "openvino", "nncf"),
)
MIXED: Final = {
    **{f"at {count}": f"{count}.pictures_per_second.median" for count in CONNECTIONS},
    **{f"{name} at 8": f"8.pictures_per_second.{name}" for name in ("low", "high")},
    **{f"{rank} ms": f"8.{rank}.median" for rank in ("p50", "p95", "p99")},
    "p99/p50": "8.p99_over_p50.median",
    "CPU ms": "8.server.median",
    "load's": "8.load.median",
    "other labels": "labels_differing",
    "hung": "hung",
    "12 MP photo at 8": "photo.pictures_per_second.median",
    "memory MB": "memory_mb.median",
    "ready s": "ready_s.median",
}
RATIOS: Final = {
    "pictures/s": ("8.pictures_per_second", operator.truediv),
    "CPU ms": ("8.cpu_ms.server", operator.truediv),
    "p50 ms more, alone": ("1.latency_ms.200.p50", operator.sub),
}
TUNED: Final = {
    "pictures/s": "pictures_per_second.median",
    "p99 ms": "p99.median",
    "CPU ms": "server.median",
}
CORES: Final = {
    "pictures/s": "pictures_per_second",
    "p99 ms": "latency_ms.200.p99",
    "CPU ms": "cpu_ms.server",
    "load's": "cpu_ms.load",
}
BURST: Final = {
    **{status: f"counts.{status}" for status in ("200", "429")},
    "lost": "lost",
    "pictures/s": "pictures_per_second",
    "p99 of 200 ms": "latency_ms.200.p99",
    **{f"{rank} of 429": f"latency_ms.429.{rank}" for rank in ("p50", "p99")},
}


def hardest(rounds: Mapping[str, list[Any]]) -> str | None:
    """Tell the peer with the most pictures a second, if any was measured."""
    speeds = {
        server.key: statistics.median(one["8"]["pictures_per_second"] for one in rounds[server.key])
        for server in PEERS
        if server.key in rounds
    }
    return max(speeds, key=speeds.__getitem__, default=None)


def summarise(rounds: Mapping[str, list[Any]], extras: Mapping[str, Any]) -> dict[str, Any]:
    """Take the medians over the rounds, and compare ours with the others, round by round."""
    servers = {key: medians(found) for key, found in rounds.items()}
    answers = {key: found[0]["labels"] for key, found in rounds.items() if "labels" in found[0]}
    for key, labels in answers.items():
        both = zip(labels, next(iter(answers.values())), strict=True)
        servers[key]["labels_differing"] = sum(a != b for a, b in both)
    ratios: dict[str, dict[str, float]] = {}
    keys = [one.key for one in OURS]
    for ours, other in itertools.product(keys, rounds):
        if ours in rounds and other not in keys:
            # Within a round: a machine is faster in one than in another.
            pairs = list(zip(rounds[ours], rounds[other], strict=True))
            ratios[f"{NAMES[ours]} to {NAMES[other]}"] = {
                name: statistics.median(how(at(a, path), at(b, path)) for a, b in pairs)
                for name, (path, how) in RATIOS.items()
            }
    return {"machine": machine(), "servers": servers, **extras, "ratios": ratios}


def medians(rounds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Take the medians of one server, of what was measured of it."""
    found: dict[str, Any] = {
        load: summed([one[load] for one in rounds]) for load in LOADS if load in rounds[0]
    }
    for key in {"memory_mb", "ready_s"} & rounds[0].keys():
        found[key] = spread(one[key] for one in rounds)
    found["hung"] = sum(one.get("hung", 0) for one in rounds)
    found["lost"] = sum(one[load].get("lost", 0) for one in rounds for load in LOADS if load in one)
    return found


def summed(several: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Take the medians of one load."""
    answered = [one["latency_ms"].get("200", {}) for one in several]
    return {
        "pictures_per_second": spread(one["pictures_per_second"] for one in several),
        **{rank: spread(one.get(rank) for one in answered) for rank in ("p50", "p95", "p99")},
        "p99_over_p50": spread(one["p99"] / one["p50"] for one in answered if one),
        **{who: spread(one["cpu_ms"].get(who) for one in several) for who in ("server", "load")},
    }


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
        **{
            one.name.lower(): one.version
            for one in importlib.metadata.distributions()
            if one.name.lower() in LIBRARIES
        },
    }


def print_tables(result: Mapping[str, Any]) -> None:
    """Print a table of everything that was measured."""
    many, parts = result.get("many"), result.get("parts")
    print_table("mixed pictures", result["servers"], MIXED)
    print_table("medians of the rounds' ratios", result["ratios"], {name: name for name in RATIOS})
    for how, name in (("at_once", "at once"), ("patient", "after Retry-After")):
        bursts = {key: one[how] for key, one in result.get("overload", {}).items()}
        print_table(f"burst, asks again {name}", bursts, BURST)
    if many:
        columns = {"ms": many["milliseconds"], "of one by one": many["ratios"]}
        print_columns(f"{many['pictures']} pictures", columns)
    batches = {f"batch {size}": str(size) for size in (1, 2, 4, 8)}
    print_table("network, ms by threads", result.get("batches", {}), batches)
    for key, counts in result.get("by_cores", {}).items():
        rows = {str(count): one for count, one in counts.items()}
        print_table(f"cores, {NAMES[key]}", rows, CORES)
    print_columns("megapixels", {"pictures/s": result.get("by_size", {})})
    if parts:
        print_columns("part of a request", {"ms": parts})


def print_table(first: str, rows: Mapping[str, Any], columns: Mapping[str, str]) -> None:
    """Print rows by their names, which have the first heading, if there are any.

    Columns say where the number of each heading is in a row: keys, with dots between them.
    """
    cells = []
    for name, row in rows.items():
        cells.append([NAMES.get(name, name)])
        for path in columns.values():
            found = at(row, path)
            if isinstance(found, float):
                found = f"{found:.1f}" if abs(found) >= 10 else f"{found:.2f}"  # noqa: PLR2004
            cells[-1].append("-" if found == {} else str(found))
    if cells:
        print(table([first, *columns], cells) + "\n")


def at(row: Any, path: str) -> Any:  # noqa: ANN401 - a tree of what was measured
    """Look up what is under keys with dots between them; `{}` if nothing is."""
    for key in path.split("."):
        row = row.get(key, {})
    return row


def print_columns(first: str, columns: Mapping[str, Mapping[Any, float]]) -> None:
    """Print columns of numbers that have the same names, if there are any."""
    names = next(iter(columns.values()))
    rows = {str(name): {head: column[name] for head, column in columns.items()} for name in names}
    print_table(first, rows, {head: head for head in columns})


def draw(by_cores: Mapping[int, Any], by_size: Mapping[float, float], target: Path) -> None:
    """Write a PNG of pictures a second by the number of cores, and by megapixels."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - only where a figure is asked for

    figure = Figure((10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    speeds = [one["pictures_per_second"] for one in by_cores.values()]
    bars = left.bar([str(count) for count in by_cores], speeds, width=0.5)
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
        axes.set_ylabel("pictures a second")
    figure.savefig(target, dpi=150)
