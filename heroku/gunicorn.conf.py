"""gunicorn's settings on a dyno, or anywhere with little memory and a router in front.

The memory that the container may use decides how many workers there are at most and how large a
picture may be. An environment variable that is set already is left alone otherwise:
`WEB_CONCURRENCY` and `ANTBEE_…` here, anything of gunicorn's in `GUNICORN_CMD_ARGS`.
"""

import json
import os
import shutil
import socket
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

# gunicorn puts the working folder, which has the bento's own antbee, on the path after this file.
sys.path[:0] = [str(Path.cwd()), str(Path(__file__).parent)]

from antbee.machine import (  # noqa: E402 - likewise
    MB,
    METRICS_FOLDER,
    cores,
    limits_of_worker,
    memory_folder,
    memory_limit,
    workers_that_fit,
)


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


def that_fit(asked: int) -> int:
    """How many of so many workers the memory holds, said in a line where that is not all of them.

    Heroku's buildpack for Python asks for one in 256 MB, whatever a worker needs.
    """
    fit = workers_that_fit(memory, asked)
    if fit < asked:
        print(f"{memory_limit() >> 20} MB of memory: {fit} of {asked} workers fit", file=sys.stderr)
    return fit


def input_size() -> int:
    """How many pixels wide the network's pictures are; 0 where no packed model lies in the bento.

    In an exported bento, as on a dyno, it lies beside the source, where this is started.
    """
    sizes = [0]
    for index in Path.cwd().glob("../models/*/*/model.json"):
        # What is wrong with it, the service says.
        with suppress(OSError, ValueError, LookupError, TypeError):
            sizes.append(int(json.loads(index.read_text())["preprocessing"]["crop"]))
    return max(sizes)


def when_ready(arbiter: Any) -> None:  # noqa: ANN401 - gunicorn ships no types
    """Make the folder in which several workers add up their metrics, before the first of them.

    One that another master made, which started this one to take its place, goes when that one does.
    """
    # GUNICORN_CMD_ARGS has had the last word.
    arbiter.num_workers = that_fit(arbiter.num_workers)
    if ours(os.environ.get(METRICS, METRICS_FOLDER)):
        os.environ.pop(METRICS, None)
        if arbiter.num_workers > 1:
            os.environ[METRICS] = tempfile.mkdtemp(prefix=METRICS_FOLDER, dir=memory_folder())


def ours(folder: str) -> bool:
    """Whether the metrics' folder is none that somebody has chosen."""
    return Path(folder).name.startswith(METRICS_FOLDER)


def child_exit(server: Any, worker: Any) -> None:  # noqa: ANN401 - likewise
    """Take a worker that ended out of the metrics' gauges; what it counted stays.

    gunicorn starts another in its place. Where it ended before it served, and no other serves, the
    next would end as well, be it for lack of memory: the server stops.

    Raises:
        HaltServer: ends gunicorn.
    """
    from gunicorn.errors import HaltServer  # noqa: PLC0415 - rarely needed
    from prometheus_client.multiprocess import mark_process_dead  # noqa: PLC0415 - likewise

    if METRICS in os.environ:
        mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]  # it ships no types
    stopping = not server.LISTENERS
    if not stopping and not any(one.served for one in (worker, *server.WORKERS.values())):
        raise HaltServer("a worker ended before it served, and no other serves", 1)


def on_exit(_: Any) -> None:  # noqa: ANN401 - likewise
    """Leave nothing behind, and end with 1 as every command here does, whatever gunicorn says."""
    from gunicorn.errors import HaltServer  # noqa: PLC0415 - likewise

    if ours(folder := os.environ.get(METRICS, "")):
        shutil.rmtree(folder, ignore_errors=True)
    if isinstance(sys.exception(), HaltServer):
        sys.exit(1)


METRICS = "PROMETHEUS_MULTIPROC_DIR"
# When each series began, which nobody asks: as many series again. Several workers have none.
os.environ.setdefault("PROMETHEUS_DISABLE_CREATED_SERIES", "true")
memory = memory_limit() // MB
count = os.environ.get("WEB_CONCURRENCY", str(workers_that_fit(memory, cores())))
if not (count.isascii() and count.isdigit() and int(count)):
    sys.exit(f"error: WEB_CONCURRENCY={count!r}: it must be a whole number from 1")
workers = that_fit(int(count))
os.environ["WEB_CONCURRENCY"] = str(workers)
port = os.environ.get("PORT", "5000")
if not (port.isascii() and port.isdigit() and int(port) <= 65535):  # noqa: PLR2004 - the last port
    sys.exit(f"error: PORT={port!r}: it must be a whole number up to 65535")
for name, value in limits_of_worker(memory, workers, cores(), input_size()).items():
    os.environ.setdefault(name, value)
if "DYNO" in os.environ:
    # Only the router reaches a dyno, from a private address; the one that it adds is the client's.
    # The buildpack for Python says "*", which would believe what the client has put before that.
    private = "127.0.0.1,::1,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16"
    given = os.environ.get("FORWARDED_ALLOW_IPS", "*")
    forwarded_allow_ips = os.environ["FORWARDED_ALLOW_IPS"] = private if given == "*" else given
# Whatever was accepted is answered before `graceful_timeout`.
os.environ.setdefault("ANTBEE_TIMEOUT", "22")

# Ours: gunicorn's own keeps idle and half-sent connections, and any number of them.
worker_class = "worker.Worker"
# Each is a file, of which a process may have 1024 unless somebody has allowed it more. Whoever asks
# again as soon as it is refused keeps its place, and beyond these even a probe finds none.
worker_connections = 896
bind = addresses(port)
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
worker_tmp_dir = memory_folder()
# The service writes a line a request itself, with the request's id.
accesslog = None
errorlog = "-"
# A socket that takes commands is of no use where nobody can log in.
control_socket_disable = True
