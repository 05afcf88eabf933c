"""Try each peer's settings, and print its pictures a second at 8 connections with each.

    python benchmarks/tune.py ant_bee_classifier:latest --data data

The settings are worker processes and the threads that each uses for one picture. `servers.py` holds
the best of them, and the benchmark of serving runs those. Rounds are interleaved and the median is
printed; at the end comes one JSON line.
"""

import argparse
import json
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from antbee.command import say
from servers import PEERS, Server
from serving import Bench

SETTINGS: Final = ((1, 1), (1, 2), (2, 1), (2, 2), (3, 1))


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit code."""
    options = parse(argv)
    variants = [
        replace(peer, workers=workers, threads=threads)
        for peer in PEERS
        if peer.key in options.only
        for workers, threads in SETTINGS
    ]
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(options.bento, options.data, options.seconds, Path(folder))
        rounds = [[measure(bench, one) for one in variants] for _ in range(options.rounds)]
    speeds = [statistics.median(found) for found in zip(*rounds, strict=True)]
    print("server                    workers  threads  pictures/s")
    for one, speed in zip(variants, speeds, strict=True):
        print(f"{one.name:25} {one.workers:7} {one.threads:8} {speed:11.1f}")
    names = [f"{one.key} {one.workers}x{one.threads}" for one in variants]
    print("\n" + json.dumps(dict(zip(names, speeds, strict=True))))
    return 0


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="The peers' settings, side by side.")
    add = parser.add_argument
    add("bento", help="a tag; the peers run its model")
    add("--data", type=Path, default=Path("data"))
    add("--seconds", type=float, default=5.0)
    add("--rounds", type=int, default=3)
    add("--only", type=lambda text: text.split(","), default=[peer.key for peer in PEERS])
    return parser.parse_args(argv)


def measure(bench: Bench, server: Server) -> float:
    """Start a peer with its settings; return its pictures a second."""
    with bench.warm(server) as up:
        speed: float = bench.load(server, up, bench.mixed, 8)["pictures_per_second"]
    say(f"{server.name}, {server.workers} workers, {server.threads} threads: {speed:.1f}")
    return speed


if __name__ == "__main__":
    raise SystemExit(main())
