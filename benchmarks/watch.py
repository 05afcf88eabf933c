"""A server's processes while it works: their memory, and whether any comes or goes.

    python benchmarks/watch.py PID --minutes 60

prints a line a minute while something else asks the server, such as load.py with `--pause`, then
one JSON line. Exit code 1: memory grew by more than 5 % after minute 10, or open files or threads.
"""

import argparse
import contextlib
import json
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import psutil

INTERVAL: Final = 0.1
"""Seconds between two looks."""
MAX_GROWTH: Final = 0.05
CHILDREN_FAULTS: Final = 10
"""Field 11 of Linux's `/proc/<pid>/stat`: page faults of children that have ended. Every process
has some, so that a child counts however short it lives."""


def family(pid: int) -> set[psutil.Process]:
    """Find a process and all its children; psutil tells apart those that had the same number."""
    with contextlib.suppress(psutil.NoSuchProcess):
        first = psutil.Process(pid)
        return {first, *first.children(recursive=True)}
    return set()


def memory(pid: int) -> float:
    """Proportional set size of a process and all its children, in megabytes of 1,000,000 bytes.

    Pages that processes share are counted once.
    """
    used = 0
    for one in family(pid):
        with contextlib.suppress(psutil.NoSuchProcess):
            used += one.memory_full_info().pss
    return used / 1e6


def children_faults(pid: int) -> int:
    """Count the page faults of all ended children of a process and its children."""
    faults = 0
    for one in family(pid):
        with contextlib.suppress(OSError):
            # The second field, a name in parentheses, may hold spaces.
            fields = Path(f"/proc/{one.pid}/stat").read_text().rpartition(")")[2].split()
            faults += int(fields[CHILDREN_FAULTS - 2])
    return faults


class Watch(contextlib.AbstractContextManager["Watch"]):
    """Looks at a process and all its children again and again, in a thread.

    Args:
        pid: the first of a server's processes.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._before = family(pid)
        self._seen = set(self._before)
        self._faults = children_faults(pid)
        self._peak = memory(pid)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look_again, name="watch")
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        """End."""
        self._stop.set()
        self._thread.join()

    def lap(self) -> tuple[float, float]:
        """Tell the most memory since the last lap, and the memory now."""
        now = memory(self._pid)
        peak, self._peak = max(self._peak, now), now
        return peak, now

    def came(self) -> int:
        """Count the processes that were not there at the beginning."""
        return len(self._seen - self._before) + (children_faults(self._pid) > self._faults)

    def went(self) -> int:
        """Count the processes that were there at the beginning and are no more."""
        return len(self._before - family(self._pid))

    def _look_again(self) -> None:
        while not self._stop.wait(INTERVAL):
            self._seen |= family(self._pid)
            self._peak = max(self._peak, memory(self._pid))


def main(argv: Sequence[str] | None = None) -> int:
    """Watch, print, and return the exit code."""
    parser = argparse.ArgumentParser(description="A server's memory, open files and threads.")
    parser.add_argument("pid", type=int)
    parser.add_argument("--minutes", type=int, default=60)
    options = parser.parse_args(argv)
    rows = []
    for minute in range(options.minutes + 1):
        processes = family(options.pid)
        files, threads = (
            sum(method(one) for one in processes)
            for method in (psutil.Process.num_fds, psutil.Process.num_threads)
        )
        rows.append((memory(options.pid), files, threads))
        print(
            f"minute {minute}: {rows[-1][0]:.1f} MB, {files} files, {threads} threads", flush=True
        )
        time.sleep(60 * (minute < options.minutes))
    (before, *fixed), (after, *fixed_after) = rows[min(10, options.minutes)], rows[-1]
    growth = after / before - 1
    print(json.dumps({"minutes": options.minutes, "growth": growth, "from": before, "to": after}))
    return int(growth > MAX_GROWTH or fixed_after > fixed)


if __name__ == "__main__":
    raise SystemExit(main())
