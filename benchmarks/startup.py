"""Start a bento several times: seconds to the first 200 on `/readyz`, and memory under way.

    python benchmarks/startup.py ant_bee_classifier:latest --picture ant.jpg

Memory is the proportional set size of all processes after a hundred predictions: shared pages are
counted once. Prints a table, then one JSON line.
"""

import argparse
import json
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import httpx
import psutil

PREDICTIONS: Final = 100


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit code."""
    options = parse(argv)
    print("round  ready s  memory MB")
    rounds = []
    for number in range(options.rounds):
        seconds, megabytes = measure(options.bento, options.picture.read_bytes())
        rounds.append({"ready_s": round(seconds, 2), "memory_mb": round(megabytes)})
        print(f"{number + 1:5} {seconds:8.2f} {megabytes:10.0f}", flush=True)
    medians = {key: statistics.median(one[key] for one in rounds) for key in rounds[0]}
    print("\n" + json.dumps({"rounds": rounds, "median": medians}))
    return 0


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Time to ready and memory of `bentoml serve`.")
    parser.add_argument("bento", help="a tag")
    parser.add_argument("--picture", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    return parser.parse_args(argv)


def measure(bento: str, picture: bytes) -> tuple[float, float]:
    """Start a server and stop it again; return seconds to ready and megabytes."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    command = [sys.executable, "-m", "bentoml", "serve", bento, "--host", "127.0.0.1"]
    began = time.perf_counter()
    process = subprocess.Popen(  # noqa: S603 - bentoml with arguments of our own
        [*command, "--port", port], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        seconds = wait_until_ready(f"http://127.0.0.1:{port}", process) - began
        for _ in range(PREDICTIONS):
            url = f"http://127.0.0.1:{port}/predict"
            httpx.post(url, content=picture, timeout=30).raise_for_status()
        return seconds, memory(process.pid) / 1e6
    finally:
        process.terminate()
        process.wait()


def wait_until_ready(url: str, process: subprocess.Popen[bytes]) -> float:
    """Return when `/readyz` first answered 200."""
    while process.poll() is None:
        try:
            if httpx.get(f"{url}/readyz", timeout=30).status_code == httpx.codes.OK:
                return time.perf_counter()
        except httpx.TransportError:
            time.sleep(0.01)
    raise SystemExit("the server did not start: run the same `bentoml serve` by hand")


def memory(pid: int) -> int:
    """Proportional set size of a process and all its children, in bytes."""
    parent = psutil.Process(pid)
    return sum(one.memory_full_info().pss for one in [parent, *parent.children(recursive=True)])


if __name__ == "__main__":
    raise SystemExit(main())
