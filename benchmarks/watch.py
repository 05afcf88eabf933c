"""A server's processes while it works: their memory, and whether any comes or goes."""

import contextlib
import threading
from pathlib import Path
from typing import Final

import psutil

INTERVAL: Final = 0.1
"""Seconds between two looks."""
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
