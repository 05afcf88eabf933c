"""What the rounds come to: medians and ratios, and their tables."""

import importlib.metadata
import platform
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from antbee.machine import cores
from servers import OURS, PEERS

CONNECTIONS: Final = (1, 2, 8, 32)
LIBRARIES: Final = (
    *("bentoml", "torch", "torchvision", "onnxruntime", "pillow", "numpy"),
    *("flask", "gunicorn", "litserve", "fastapi", "uvicorn"),
)
NAMES: Final = {server.key: server.name for server in (*PEERS, *OURS)}


def summarise(rounds: Mapping[str, list[Any]], extras: Mapping[str, Any]) -> dict[str, Any]:
    """Take the medians over the rounds, and the ratios between them."""
    servers = {key: medians(found) for key, found in rounds.items() if key != "bound"}
    compare_labels(servers, rounds)
    result: dict[str, Any] = {"machine": machine(), "servers": servers, **extras}
    if "bound" in rounds:
        result["bound"] = {
            "pictures_per_second": spread(
                one["everyone"]["pictures_per_second"] for one in rounds["bound"]
            ),
            "p50_ms": spread(one["alone"]["latency_ms"]["p50"] for one in rounds["bound"]),
        }
    result["ratios"] = {key: ratios(key, result) for key in NAMES if is_ours(key, servers)}
    return result


def medians(rounds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Take the medians of one server."""
    loads = (*map(str, CONNECTIONS), "picture", "photo")
    found: dict[str, Any] = {
        load: {
            "pictures_per_second": spread(one[load]["pictures_per_second"] for one in rounds),
            **{
                rank: spread(one[load]["latency_ms"].get("200", {}).get(rank) for one in rounds)
                for rank in ("p50", "p95", "p99")
            },
            "generator_cpu_ms": spread(one[load]["generator_cpu_ms"] for one in rounds),
        }
        for load in loads
    }
    for key in ("memory_mb", "ready_s"):
        found[key] = spread(one[key] for one in rounds)
    found["lost"] = sum(one[load]["lost"] for one in rounds for load in loads)
    found["refused"] = sum(
        count
        for one in rounds
        for load in loads
        for status, count in one[load]["counts"].items()
        if status != "200"
    )
    return found


def spread(values: Any) -> dict[str, float]:  # noqa: ANN401 - numbers, or None where none came
    """Take the median, the lowest and the highest; nothing where nothing was measured."""
    known = [value for value in values if value is not None]
    if not known:
        return {}
    return {"median": statistics.median(known), "low": min(known), "high": max(known)}


def compare_labels(servers: dict[str, Any], rounds: Mapping[str, list[Any]]) -> None:
    """Count the labels in which each server differs from the first one."""
    if not servers:
        return
    reference = rounds[next(iter(servers))][0]["labels"]
    for key, server in servers.items():
        pairs = zip(reference, rounds[key][0]["labels"], strict=True)
        server["labels_differing"] = sum(one != other for one, other in pairs)


def is_ours(key: str, servers: Mapping[str, Any]) -> bool:
    """Tell whether a key is one of our servers, and was measured."""
    return key in servers and any(key == server.key for server in OURS)


def ratios(key: str, result: Mapping[str, Any]) -> dict[str, float]:
    """Compare one of ours with the peers and with the bound, at 8 connections."""
    servers = result["servers"]
    speeds = {name: one["8"]["pictures_per_second"]["median"] for name, one in servers.items()}
    ours = servers[key]
    peers = [speed for name, speed in speeds.items() if not is_ours(name, servers)]
    found = {"p99_over_p50": ours["8"]["p99"]["median"] / ours["8"]["p50"]["median"]}
    for name in ("stock", "tuned"):
        if name in speeds:
            found[f"over_{name}_bentoml"] = speeds[key] / speeds[name]
    if peers:
        found["over_best_peer"] = speeds[key] / max(peers)
    if bound := result.get("bound"):
        found["of_the_bound"] = speeds[key] / bound["pictures_per_second"]["median"]
        found["p50_above_bound_ms"] = ours["1"]["p50"]["median"] - bound["p50_ms"]["median"]
    return found


def machine() -> dict[str, Any]:
    """Describe what was measured on."""
    return {
        "cpu": cpu_model(),
        "cores": cores(),
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in LIBRARIES},
    }


def cpu_model() -> str:
    """Name the processor, as Linux does where it is Linux."""
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return platform.processor()
    lines = [line for line in info.read_text().splitlines() if line.startswith("model name")]
    return lines[0].partition(":")[2].strip() if lines else platform.machine()


def print_tables(result: Mapping[str, Any]) -> None:
    """Print a table of everything that was measured."""
    tables: dict[str, Callable[[Any], str]] = {
        "servers": servers_table,
        "overload": overload_table,
        "batches": batches_table,
        "by_cores": lambda found: lines("cores", found),
        "by_size": lambda found: lines("megapixels", found),
    }
    for key, write in tables.items():
        if result.get(key):
            print(write(result[key]) + "\n")
    if "parts" in result:
        print(parts_table(result) + "\n")
    for key, found in result["ratios"].items():
        row = "  ".join(f"{name} {value:.2f}" for name, value in found.items())
        print(f"{NAMES[key]}: {row}")
    if "bound" in result:
        speed, p50 = result["bound"]["pictures_per_second"], result["bound"]["p50_ms"]
        print(f"bound: {speed['median']:.1f} pictures a second, p50 {p50['median']:.1f} ms alone")


def servers_table(servers: Mapping[str, Any]) -> str:
    """Write the servers' tables: the mixed pictures, then one picture and the photo."""
    header = ["mixed pictures", *(f"at {count}" for count in CONNECTIONS), "spread at 8"]
    rows = [[*header, "p50 ms", "p95", "p99", "memory MB", "ready s"]]
    special = [["8 connections", "one picture", "p50 ms", "p99", "12 MP photo", "p50 ms", "p99"]]
    for key, one in servers.items():
        speeds = [one[str(count)]["pictures_per_second"] for count in CONNECTIONS]
        at_8 = one["8"]["pictures_per_second"]
        ranks = [middle(one["8"][rank]) for rank in ("p50", "p95", "p99")]
        rows.append([NAMES[key], *map(middle, speeds), f"{at_8['low']:.1f}-{at_8['high']:.1f}"])
        rows[-1] += [*ranks, middle(one["memory_mb"], 0), middle(one["ready_s"], 2)]
        special.append([NAMES[key]])
        for load in ("picture", "photo"):
            fields = ("pictures_per_second", "p50", "p99")
            special[-1] += [middle(one[load][field]) for field in fields]
    return table(rows) + "\n\n" + table(special)


def overload_table(overload: Mapping[str, Any]) -> str:
    """Write what came of the burst."""
    rows = [["burst", "connections", "asks again", "200", "429", "lost", "pictures/s"]]
    rows[0] += ["p99 of 200 ms", "p50 of 429", "p99 of 429"]
    for key, one in overload.items():
        for how, name in (("at_once", "at once"), ("patient", "after Retry-After")):
            load = one[how]
            counts, latency = load["counts"], load["latency_ms"]
            rows.append([NAMES[key], str(one["connections"]), name])
            rows[-1] += [str(counts.get(status, 0)) for status in ("200", "429")]
            rows[-1] += [str(load["lost"]), f"{load['pictures_per_second']:.1f}"]
            for status, rank in (("200", "p99"), ("429", "p50"), ("429", "p99")):
                rows[-1].append(number(latency.get(status, {}).get(rank)))
    return table(rows)


def parts_table(result: Mapping[str, Any]) -> str:
    """Write a request's parts; what is left of one connection's p50 is HTTP and the rest."""
    rows = [["part of a request", "ms"]]
    rows += [[name, f"{value:.2f}"] for name, value in result["parts"].items()]
    if "bound" in result:
        for key, found in result["ratios"].items():
            rows.append([f"HTTP and rest, {NAMES[key]}", f"{found['p50_above_bound_ms']:.2f}"])
    return table(rows)


def batches_table(batches: Mapping[str, Mapping[str, float]]) -> str:
    """Write the network's time a picture by the size of the batch."""
    sizes = list(next(iter(batches.values())))
    rows = [["network, ms a picture", *(f"batch {size}" for size in sizes)]]
    for threads, times in batches.items():
        rows.append([f"threads: {threads}", *(f"{times[size]:.2f}" for size in sizes)])
    return table(rows)


def lines(what: str, found: Mapping[float, float]) -> str:
    """Write pictures a second by something."""
    return table([[what, "pictures/s"], *([f"{key:g}", number(found[key])] for key in found)])


def middle(values: Mapping[str, float], digits: int = 1) -> str:
    """Write a median."""
    return number(values.get("median"), digits)


def number(value: float | None, digits: int = 1) -> str:
    """Write a number, or a dash where there is none."""
    return "-" if value is None else f"{value:.{digits}f}"


def table(rows: Sequence[Sequence[str]]) -> str:
    """Align columns: the first to the left, numbers to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )
