"""Ask a server about pictures over a number of connections, each asking again once it is answered.

    python benchmarks/load.py http://127.0.0.1:3000/predict --connections 8 --seconds 5 *.jpg

It shares the cores with the server that it measures, so it does as little as it can: every
request's bytes are made beforehand, and answers are read by a parser in C. Prints one JSON line:
answers by status, requests that were lost, pictures a second, percentiles of the latency by
status, its own processor time for an answer and with `--pid PID` the server's, and with
`--watch PID` what the server holds, every minute.
"""

import argparse
import asyncio
import base64
import contextlib
import functools
import importlib
import itertools
import json
import math
import time
import urllib.parse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

import httptools
import httpx

from antbee.command import say
from servers import family, memory, processor

PATIENCE: Final = 30.0  # seconds that answers may come after the last request, or they are lost
OK: Final = 200


@dataclass
class Load:
    """What the connections share: what they ask, until when, and what came of it."""

    requests: Iterator[bytes]  # whole HTTP requests, sent in turn
    stop: float  # when no request is sent any more, on the clock of `time.perf_counter`
    limit: float = math.inf  # how many requests are sent at most
    patient: bool = False  # whether a connection that is told to retry later does
    pause: float = 0  # seconds between an answer and the next request
    # Status, when it was asked and when answered, in seconds.
    answers: list[tuple[int, float, float]] = field(default_factory=list)
    lost: int = 0  # requests that were never answered


class Connection(asyncio.Protocol):
    """A keep-alive connection that takes part in a load.

    It began when its client wanted it, so that connecting counts as part of the first answer.
    """

    def __init__(self, load: Load, began: float) -> None:
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._load = load
        self._began = began
        self._asked = False
        self._wait = 0.0
        self._parser = httptools.HttpResponseParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first request."""
        # uvloop's is one without saying so.
        self._transport = cast("asyncio.Transport", transport)
        self._ask(self._began)

    def data_received(self, data: bytes) -> None:
        """Take an answer or a part of it; the parser calls the methods below."""
        self._parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Note how long an answer asks to wait."""
        if name.lower() == b"retry-after":
            self._wait = float(value)

    def on_message_complete(self) -> None:
        """Count an answer, and ask again."""
        now, wait, status = time.perf_counter(), self._wait, self._parser.get_status_code()
        self._load.answers.append((status, self._began, now))
        self._asked, self._wait = False, 0.0
        if not self._parser.should_keep_alive():
            self._transport.close()
        elif wait and self._load.patient:
            asyncio.get_running_loop().call_later(wait, self._ask)
        elif self._load.pause:
            asyncio.get_running_loop().call_later(self._load.pause, self._ask)
        else:
            self._ask(now)

    def connection_lost(self, _: Exception | None) -> None:
        """Count what will not be answered any more."""
        self._load.lost += self._asked
        self.closed.set_result(None)

    def _ask(self, now: float | None = None) -> None:
        """Send the next request, or close when enough were sent."""
        now = time.perf_counter() if now is None else now
        if now >= self._load.stop or self._load.limit <= 0 or self._transport.is_closing():
            self._transport.close()
            return
        self._load.limit -= 1
        self._began, self._asked = now, True
        self._transport.write(next(self._load.requests))


def main(argv: Sequence[str] | None = None) -> int:
    """Ask, print, and return the exit code."""
    parser = argparse.ArgumentParser(description="Load on a server, and how it answers.")
    add = parser.add_argument
    add("url")
    add("pictures", type=Path, nargs="+", help="JPEG files, sent in turn, again and again")
    add("--connections", type=int, default=8)
    add("--seconds", type=float, default=5.0)
    add("--requests", type=float, default=math.inf, help="end after so many")
    add("--field", help="send multipart forms with the picture in this field; else its raw bytes")
    add("--together", choices=("json", "form"), help="send all pictures in each request")
    add("--patient", action="store_true", help="heed Retry-After before asking again")
    add("--pause", type=float, default=0, help="seconds between an answer and the next request")
    add("--pid", type=int, help="the server's first process: its processor time is told, too")
    add("--watch", type=int, metavar="PID", help="the server's memory, files and threads a minute")
    options = parser.parse_args(argv)
    pictures = [path.read_bytes() for path in options.pictures]
    if options.together == "json":
        entries = [{"data": base64.b64encode(data).decode()} for data in pictures]
        requests = [make_request(options.url, json={"images": entries})]
    elif options.together == "form":
        requests = [make_form(options.url, pictures, "images")]
    elif options.field is not None:
        requests = [make_form(options.url, [data], options.field) for data in pictures]
    else:
        kind = {"Content-Type": "image/jpeg"}
        requests = [make_request(options.url, content=data, headers=kind) for data in pictures]
    run = asyncio.run
    with contextlib.suppress(ImportError):  # the faster loop, where there is one
        run = importlib.import_module("uvloop").run
    print(json.dumps(run(drive(options, requests))))
    return 0


def make_request(url: str, **content: Any) -> bytes:  # noqa: ANN401 - httpx knows what they are
    """Write a request as it goes over the wire, of what httpx makes one of."""
    request = httpx.Request("POST", url, **content)
    lines = [f"POST {request.url.raw_path.decode()} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in request.headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + request.read()


def make_form(url: str, pictures: Sequence[bytes], name: str) -> bytes:
    """Write a request with a form of pictures in fields of this name."""
    files = [(name, ("picture.jpg", data, "image/jpeg")) for data in pictures]
    return make_request(url, files=files)


async def drive(options: argparse.Namespace, requests: Sequence[bytes]) -> dict[str, Any]:
    """Open the connections, let them ask until the time is over, and sum up."""
    computed = processor(options.pid) if options.pid else 0.0
    own, start = time.process_time(), time.perf_counter()
    stop = start + options.seconds
    load = Load(itertools.cycle(requests), stop, options.requests, options.patient, options.pause)
    clients = [asyncio.create_task(ask(load, options.url)) for _ in range(options.connections)]
    held: list[tuple[float, int, int]] = []
    watching = asyncio.create_task(watch(options.watch, held)) if options.watch else None
    _, silent = await asyncio.wait(clients, timeout=options.seconds + PATIENCE)
    own = time.process_time() - own
    computed = processor(options.pid) - computed if options.pid else 0.0
    if watching is not None:
        watching.cancel()
    latencies: dict[int, list[float]] = {}
    for status, began, ended in sorted(load.answers):
        latencies.setdefault(status, []).append((ended - began) * 1e3)
    # The time ends with the last picture, for which the server had as much to do.
    last = max((ended for status, _, ended in load.answers if status == OK), default=stop)
    return {
        "pictures_per_second": len(latencies.get(OK, ())) / (last - start),
        "seconds": last - start,
        "counts": {str(status): len(several) for status, several in latencies.items()},
        "lost": load.lost + len(silent),
        # For each answer; Linux counts another process's time in hundredths of a second.
        "cpu_ms": {
            "load": own * 1e3 / max(len(load.answers), 1),
            **({"server": computed * 1e3 / max(len(load.answers), 1)} if options.pid else {}),
        },
        "latency_ms": {str(status): percentiles(several) for status, several in latencies.items()},
        "held": held,
    }


async def watch(pid: int, held: list[tuple[float, int, int]]) -> None:
    """Note a server's memory in MB, open files and threads every minute, and print them."""
    for minute in itertools.count():
        processes = family(pid)
        files = sum(one.num_fds() for one in processes)
        threads = sum(one.num_threads() for one in processes)
        held.append((memory(pid), files, threads))
        say(f"minute {minute}: {held[-1][0]:.1f} MB, {files} files, {threads} threads")
        await asyncio.sleep(60)


async def ask(load: Load, url: str) -> None:
    """Be one client: connect, and connect again whenever the server closes."""
    loop, address = asyncio.get_running_loop(), urllib.parse.urlsplit(url)
    where = (address.hostname or "", address.port or 80)
    while (began := time.perf_counter()) < load.stop and load.limit > 0:
        make = functools.partial(Connection, load, began)
        try:
            _, connection = await loop.create_connection(make, *where)
        except OSError:
            load.lost += 1
            await asyncio.sleep(0.01)
        else:
            await connection.closed


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """Take p50, p95, p99 and the largest, by the nearest rank: each is one of the values."""
    ordered = sorted(values)
    ranks = {f"p{share}": math.ceil(share / 100 * len(ordered)) - 1 for share in (50, 95, 99)}
    return {**{name: ordered[rank] for name, rank in ranks.items()}, "max": ordered[-1]}


if __name__ == "__main__":
    raise SystemExit(main())
