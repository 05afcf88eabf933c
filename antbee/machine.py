"""The machine that this process runs on: its cores, its memory, and how many servers fit."""

import ctypes
import gc
import math
import os
import re
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

_MEMORY: Final = Path("/proc/meminfo")
_GROUPS: Final = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
    ),
)
"""Where a container's limit and its use are: in version 2 of control groups, and in version 1."""
_QUOTAS: Final = (
    ("/sys/fs/cgroup", ("cpu.max",)),
    ("/sys/fs/cgroup/cpu", ("cpu.cfs_quota_us", "cpu.cfs_period_us")),
)
"""Where its microseconds of CPU time are, and in how many of them it has those; likewise."""
_OWN_GROUPS: Final = Path("/proc/self/cgroup")
_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3
_MMAP_MAX: Final = -4
_NEVER: Final = 2**31 - 1
LARGE_BUFFER: Final = 4_000_000
"""Bytes: a picture of a megapixel, as Pillow has it."""
MB: Final = 1_000_000
MASTER_MB: Final = 30
WORKER_MB: Final = 160
"""A server's process with its model, at rest."""
ROOM_MB: Final = 300
"""What it needs beside that: the uploads it has in memory, small pictures, and one large one."""
THREAD_MB: Final = 170
"""Of that room, for each thread."""
UPLOADS_MB: Final = 200
"""Of request bodies that a process has in memory at once, where there is room for them."""
SMALL_MB: Final = 19
"""What a thread needs for a picture of `antbee.images.LARGE` pixels."""
NETWORK_MB: Final = 8
"""What a thread needs more for the network's own numbers, for each area of `NETWORK_SIDE` squared
that its input is larger. A ResNet-18 at 448 takes 23 MB more than at 224 for the first thread and
11 for each other."""
NETWORK_SIDE: Final = 224
"""Pixels of the input's side with which `SMALL_MB` was measured."""
PIXEL_BYTES: Final = 10
"""Room for a pixel of a larger one: what decoding it takes at most, and a tenth more. A WebP, whose
pixels take twice that, may have half of them."""
METRICS_FOLDER: Final = "antbee-metrics-"
"""How a folder is called in which the processes of one server add up their metrics, up to a part
that nobody can guess."""


def cores() -> int:
    """How many CPU cores this process may use: those that it may run on, or its container's quota.

    A quota counts as the nearest number of cores, and as one at least. Of 1.5 cores, two threads
    answer a quarter more pictures than one does, their 99th percentile is the same.
    """
    system = os.cpu_count() or 1
    found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else system
    for group in _own_groups("cpu"):
        for root, files in _QUOTAS:
            with suppress(OSError, ValueError):  # "max" is no number, and -1 is no quota, either
                texts = [Path(root, group, file).read_text() for file in files]
                quota, period = map(int, " ".join(texts).split())
                if quota > 0:
                    found = min(found, max(1, (2 * quota + period) // (2 * period)))
    return found


def memory_folder() -> str:
    """A folder for what is small and written often: in memory, or else for temporary files."""
    memory = "/dev/shm"  # noqa: S108 - for names that cannot be guessed
    return memory if os.access(memory, os.W_OK) else tempfile.gettempdir()


def memory_limit() -> int:
    """How many bytes of memory there are in all: the container's, or the machine's.

    0 where the system does not say.
    """
    machine = 0
    with suppress(AttributeError, ValueError, OSError):
        machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([machine, *(limit for limit, _ in _containers())])


def free_memory() -> int:
    """How many bytes this process could still take: what the machine has, or its container.

    A guess where the system does not say: half of all memory, and nothing where even that is
    unknown.
    """
    machine = memory_limit() // 2
    with suppress(OSError):
        if found := re.search(r"^MemAvailable: +(\d+) kB", _MEMORY.read_text(), re.MULTILINE):
            machine = int(found[1]) * 1024
    return min([machine, *(max(limit - used, 0) for limit, used in _containers())])


def _containers() -> list[tuple[int, int]]:
    """Limit and use, in bytes, of each control group with a limit that this process is in."""
    found = []
    for group in _own_groups("memory"):
        for limit, used in ((Path(limit), Path(used)) for limit, used in _GROUPS):
            with suppress(OSError, ValueError):  # "max" is no number: there is no limit
                numbers = [(file.parent / group / file.name).read_text() for file in (limit, used)]
                found.append((int(numbers[0]), int(numbers[1])))
    return found


def _own_groups(controller: str) -> set[Path]:
    """The control groups that this process is in, below where they are mounted.

    A container sees its own as the outermost; a service of systemd is further in.
    """
    inside = {Path()}
    with suppress(OSError):
        for line in _OWN_GROUPS.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers or controller in controllers.split(","):
                own = Path(path.lstrip("/"))
                inside |= {own, *own.parents}
    return inside


def workers_that_fit(megabytes: int, cores: int) -> int:
    """How many serving processes: one a core, as far as the memory goes, and never none."""
    return max(1, min(cores, (megabytes - MASTER_MB) // (WORKER_MB + ROOM_MB)))


def threads_of_worker(workers: int, cores: int) -> int:
    """How many pictures a worker works on at once: twice its share of the cores, if it has a share.

    Connections go to whichever worker is first to take them, and of two workers one may have them
    all: with its share alone, it would leave the other's cores idle. Where they are even, twice as
    many threads answer as many pictures.
    """
    return cores if workers == 1 else min(cores, 2 * max(1, cores // workers))


def limits_of_worker(megabytes: int, workers: int, cores: int, size: int = 0) -> dict[str, str]:
    """The server's settings for each worker's share of the memory and the cores, by variable.

    `size` is that of the network's input, in pixels; 0 where it is not known.
    """
    room = max(ROOM_MB, (megabytes - MASTER_MB) // workers - WORKER_MB)
    threads = max(1, min(threads_of_worker(workers, cores), room // THREAD_MB))
    uploads = min(UPLOADS_MB, room // 6)
    small = SMALL_MB + math.ceil(NETWORK_MB * max(0.0, (size / NETWORK_SIDE) ** 2 - 1))
    return {
        # Small pictures are decoded several at once, large ones one at a time.
        "ANTBEE_THREADS": str(threads),
        "ANTBEE_UPLOADS_MB": str(uploads),
        "ANTBEE_MAX_MEGAPIXELS": str(min(50, (room - uploads - threads * small) // PIXEL_BYTES)),
    }


def keep_memory() -> None:
    """Let this process keep what it frees, where the C library is glibc.

    By default glibc hands a large buffer back at once, and the system has to clear every page of
    the next one: up to half of the time of a training step.
    """
    with suppress(AttributeError, OSError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_MMAP_MAX, 0)
        mallopt(_TRIM_THRESHOLD, _NEVER)


def give_back_large_memory() -> None:
    """Let this process give back the memory of large pictures at once, where it has glibc.

    By default glibc keeps buffers of up to 32 MB once it has freed one, in as many places as there
    are threads, and a few large pictures leave a server with hundreds of megabytes. What pictures
    of the usual sizes take is kept still: they come again and again.
    """
    with suppress(AttributeError, OSError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_MMAP_THRESHOLD, LARGE_BUFFER)
        mallopt(_TRIM_THRESHOLD, 4 * LARGE_BUFFER)  # what is kept of the smaller ones


def settle_memory() -> None:
    """Give back what a process took to start, and let it never look through what is left again.

    Looking through all objects stops all threads, a server's for a tenth of a second.
    """
    gc.collect()
    gc.freeze()
    trim_memory()


def trim_memory() -> None:
    """Return what this process has freed to the system, where the C library is glibc.

    glibc keeps freed memory for itself, and of a network that was dropped that is most of it.
    """
    # Other C libraries have no such function, and Windows has no name for its own.
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
