"""A server's processes while it works: their memory, and whether any comes or goes."""

import contextlib
import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final

import psutil

INTERVAL: Final = 0.1
"""Seconds between two looks."""
_CHILDREN_FAULTS: Final = 10
"""Field 11 of Linux's `/proc/<pid>/stat`: page faults of children that have ended. Every process
has some, so that a child counts however short it lives."""

Birth = tuple[int, float]
"""A process, and when it began: numbers are given again."""


@dataclass(frozen=True)
class Lap:
    """Proportional set size of all processes, in megabytes of 1,000,000 bytes."""

    peak: float
    end: float


class Watch:
    """Looks at a process and all its children again and again, in a thread; a context manager.

    Args:
        pid: the first of a server's processes.
    """

    def __init__(self, pid: int) -> None:
        self._first = psutil.Process(pid)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look_again, name="watch")

    def __enter__(self) -> "Watch":
        """Begin."""
        self._before = self._births()
        self._faults = self._children_faults()
        self._seen = set(self._before)
        self._peak = self._memory()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End."""
        self._stop.set()
        self._thread.join()

    def lap(self) -> Lap:
        """Tell the memory now, and the most since the last lap."""
        now = self._memory()
        peak, self._peak = max(self._peak, now), now
        return Lap(peak, now)

    def came(self) -> int:
        """Count the processes that were not there at the beginning."""
        return len(self._seen - self._before) + (self._children_faults() > self._faults)

    def went(self) -> int:
        """Count the processes that were there at the beginning and are no more."""
        return len(self._before - self._births())

    def _look_again(self) -> None:
        while not self._stop.wait(INTERVAL):
            self._seen |= self._births()
            self._peak = max(self._peak, self._memory())

    def _everyone(self) -> list[psutil.Process]:
        with contextlib.suppress(psutil.NoSuchProcess):
            return [self._first, *self._first.children(recursive=True)]
        return []

    def _births(self) -> set[Birth]:
        return {(one.pid, one.create_time()) for one in self._everyone()}

    def _memory(self) -> float:
        used = 0
        for one in self._everyone():
            with contextlib.suppress(psutil.NoSuchProcess):
                used += one.memory_full_info().pss
        return used / 1e6

    def _children_faults(self) -> int:
        faults = 0
        for one in self._everyone():
            with contextlib.suppress(OSError):
                # The second field, a name in parentheses, may hold spaces.
                fields = Path(f"/proc/{one.pid}/stat").read_text().rpartition(")")[2].split()
                faults += int(fields[_CHILDREN_FAULTS - 2])
        return faults
