"""gunicorn's settings on a dyno, or anywhere with little memory and a router in front.

The memory that the container may use decides how many workers there are and how large a picture
may be. An environment variable that is set already is left alone: `WEB_CONCURRENCY` and `ANTBEE_…`
here, anything of gunicorn's in `GUNICORN_CMD_ARGS`.
"""

import os
import shutil
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

MB: Final = 1_000_000
MASTER_MB: Final = 30
WORKER_MB: Final = 160
"""A worker with its model, at rest."""
ROOM_MB: Final = 300
"""What a worker needs beside that: the uploads it holds, small pictures, and one large one."""
SMALL_MB: Final = 19
"""What a thread needs for a picture of `antbee.images.LARGE` pixels."""
BYTES_A_PIXEL: Final = 19
"""What a larger one needs at most: a transparent WebP file, whose decoder keeps two canvases."""
LIMITS: Final = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
"""Where control groups, version 2 and 1, show a container its memory limit."""


def memory_mb() -> int:
    """How many megabytes the container may use, or the machine has."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    texts = [Path(path).read_text().strip() for path in LIMITS if Path(path).is_file()]
    return min([machine, *(int(text) for text in texts if text.isdecimal())]) // MB


def cores() -> int:
    """How many CPU cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def default_workers(megabytes: int, cores: int) -> int:
    """One a core, as far as the memory goes."""
    return max(1, min(cores, (megabytes - MASTER_MB) // (WORKER_MB + ROOM_MB)))


def limits(megabytes: int, workers: int, cores: int) -> dict[str, str]:
    """The service's settings for a worker's share of the memory."""
    room = max(ROOM_MB, (megabytes - MASTER_MB) // workers - WORKER_MB)
    threads = max(1, min(cores // workers, room // 170))
    uploads = min(200, room // 6)
    megapixels = min(50, (room - uploads - threads * SMALL_MB) // BYTES_A_PIXEL)
    return {
        # Small pictures are decoded several at once, large ones one at a time.
        "ANTBEE_THREADS": str(threads),
        "ANTBEE_UPLOADS_MB": str(uploads),
        "ANTBEE_MAX_MEGAPIXELS": str(megapixels),
        # Whatever was accepted is answered before `graceful_timeout`.
        "ANTBEE_TIMEOUT": "22",
    }


def in_memory() -> str | None:
    """A folder that is no disk, where there is one."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108 - names are random


def has_ipv6() -> bool:
    """Whether this machine can listen on IPv6."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def addresses(port: str) -> list[str]:
    """Where to listen: one IPv6 socket takes IPv4 as well, unless the system keeps them apart."""
    if not has_ipv6():
        return [f"0.0.0.0:{port}"]
    apart = Path("/proc/sys/net/ipv6/bindv6only")
    if apart.is_file() and apart.read_text().strip() == "1":
        return [f"0.0.0.0:{port}", f"[::]:{port}"]
    return [f"[::]:{port}"]


def on_starting(_: Any) -> None:  # noqa: ANN401 - gunicorn ships no types
    """Make the folder in which the workers add up their metrics, before the first of them."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        folder = tempfile.mkdtemp(prefix="metrics-", dir=in_memory())
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        made.append(folder)


def child_exit(_: Any, worker: Any) -> None:  # noqa: ANN401 - likewise
    """Take a worker that ended out of the metrics' gauges; what it counted stays."""
    from prometheus_client.multiprocess import mark_process_dead  # noqa: PLC0415 - rarely needed

    mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]  # it ships no types


def on_exit(_: Any) -> None:  # noqa: ANN401 - likewise
    """Leave nothing behind."""
    for folder in made:
        shutil.rmtree(folder, ignore_errors=True)


def workers_wanted() -> int:
    """`WEB_CONCURRENCY`, or the default, which the workers read there too."""
    text = os.environ.setdefault("WEB_CONCURRENCY", str(default_workers(memory_mb(), cores())))
    if not (text.isascii() and text.isdigit() and int(text)):
        sys.exit(f"error: WEB_CONCURRENCY={text!r}: it must be a whole number from 1")
    return int(text)


made: list[str] = []
workers = workers_wanted()
for name, value in limits(memory_mb(), workers, cores()).items():
    os.environ.setdefault(name, value)

# Ours: gunicorn's own keeps idle and half-sent connections, and any number of them.
worker_class = "antbee.serving.worker.Worker"
worker_connections = 512
bind = addresses(os.environ.get("PORT", "5000"))
# ONNX Runtime's threads do not survive a fork: a worker forked from a loaded service hangs.
preload_app = False
# Longer than the 90 s after which Heroku's router lets go of an idle connection: whoever closes
# first costs the other an error.
keepalive = 95
# Everything accepted is answered by then, ANTBEE_TIMEOUT at the latest; Heroku kills after 30 s.
graceful_timeout = 24
# A worker whose event loop has stood still for so long is replaced.
timeout = 30
# Workers do not grow, and a dyno is restarted every day anyway. A single worker that retires leaves
# its clients waiting for some seconds, though it drops none.
max_requests = 0
# The heartbeat's file: on a disk, a slow write would look like a worker that hangs.
worker_tmp_dir = in_memory()
# The service writes a line a request itself, with the request's id.
accesslog = None
errorlog = "-"
# A socket that takes commands is of no use where nobody can log in.
control_socket_disable = True
