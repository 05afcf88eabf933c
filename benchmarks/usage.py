"""A command, and what it and all processes that it starts use."""

import os
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from servers import memory

EVERY: Final = 0.5
"""Seconds between two looks at the memory: each takes milliseconds a process."""


@dataclass(frozen=True)
class Usage:
    """What a command took."""

    began: float  # seconds since the epoch, as files' times are
    seconds: float  # to its end
    cpu_seconds: float  # of all processes that were waited for
    peak_mb: float  # megabytes at any look, of all processes, once what they share


def measure(command: Sequence[object], log: Path) -> Usage:
    """Run a command to its end; what it prints goes to a file.

    Raises:
        SystemExit: it failed; with what it printed.
    """
    began, most = time.time(), 0.0
    ended = threading.Event()

    def look() -> None:
        nonlocal most
        while not ended.wait(EVERY):
            most = max(most, memory(process.pid))

    with log.open("wb") as file:
        arguments = list(map(str, command))
        process = subprocess.Popen(arguments, stdout=file, stderr=subprocess.STDOUT)  # noqa: S603
    watch = threading.Thread(target=look)
    watch.start()
    try:
        _, status, used = os.wait4(process.pid, 0)
    finally:
        ended.set()
        watch.join()
    seconds = time.time() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(arguments)} failed:\n" + log.read_text(errors="replace"))
    return Usage(began, seconds, used.ru_utime + used.ru_stime, most)
