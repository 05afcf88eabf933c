"""What a server answers to those who wish it ill: broken pictures, bombs, broken requests.

    python benchmarks/hostile.py ant_bee_classifier:latest --data data
    python benchmarks/hostile.py --url http://127.0.0.1:3000 --pid PID

Sends 10,000 mutated files, 50 files cut at every percent, and everything in `hostile_files` and
`hostile_requests`: the same for the same pictures and seed. The server is started for it, or runs
already; then only with `--pid` can its processes be looked at.

Prints how it answered, with the memory of all its processes, then one JSON line. The exit code is
1 if anything was answered 5xx or not as documented, or not at all, and if any of the server's
processes ended or got a child.
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx

from antbee.command import say
from hostile_answers import OffShape, outcome
from hostile_pictures import find_pictures, originals
from hostile_requests import LONGEST, MEGABYTE, PARTS, Request, all_requests
from report import table
from servers import OURS, running
from watch import Watch

PATIENCE: Final = 120
"""Seconds for an answer: longer than the server's own limit, which is an answer."""
OVERLOADED: Final = 429
SERVER_ERROR: Final = 500
SHOWN: Final = ("200", "400", "413", "415", "422")
"""Statuses with a column of their own."""
SETTLED: Final = 3.0
"""Seconds after which the memory at the end is looked at."""
MOST_FAULTS: Final = 50
"""How many wrong answers are printed."""


@dataclass
class Tally:
    """What came of all requests.

    Attributes:
        outcomes: answers by kind of request, status and code.
        faults: what was wrong, one line each.
        retried: how often a request was told to come back later.
        memory: the most in megabytes while each kind ran, and at its end.
        slowest: the longest answer to each kind, in seconds, and what was asked.
    """

    outcomes: dict[str, Counter[tuple[str, str]]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    retried: int = 0
    memory: dict[str, tuple[float, float]] = field(default_factory=dict)
    slowest: dict[str, tuple[float, str]] = field(default_factory=dict)


class Client:
    """Sends requests and counts the answers.

    Args:
        http: with the server's address.
        labels: of the model that answers.
        tally: where the answers are counted.
    """

    def __init__(self, http: httpx.AsyncClient, labels: Sequence[str], tally: Tally) -> None:
        self._http = http
        self._labels = labels
        self._tally = tally
        self._making = asyncio.Lock()

    async def send_all(self, requests: Iterator[Request]) -> None:
        """Send one after the other."""
        while (request := await self._next(requests)) is not None:
            began = time.perf_counter()
            status, code = await self._send(request)
            self._tally.outcomes.setdefault(request.kind, Counter())[status, code] += 1
            taken = (time.perf_counter() - began, f"{request.what} to {request.path[:20]}")
            self._tally.slowest[request.kind] = max(
                taken, self._tally.slowest.get(request.kind, taken)
            )

    async def _next(self, requests: Iterator[Request]) -> Request | None:
        # Some take seconds to make, in which the answers to others must be read.
        async with self._making:
            return await asyncio.to_thread(next, requests, None)

    async def _send(self, request: Request) -> tuple[str, str]:
        try:
            answer = await self._answer(request)
        except httpx.TransportError as error:
            if request.repeat * len(request.body) >= 2 * LONGEST * MEGABYTE:
                return "cut off", "cut off"  # nobody reads such a body to its end
            self._fault(request, f"no answer: {error!r}")
            return "none", "no answer"
        try:
            code = outcome(answer, request.path, self._labels)
        except OffShape as error:
            self._fault(request, f"{answer.status_code}, {error}")
            return str(answer.status_code), "off shape"
        if answer.status_code >= SERVER_ERROR:
            self._fault(request, f"{answer.status_code} {code}")
        return str(answer.status_code), code

    async def _answer(self, request: Request) -> httpx.Response:
        while True:
            answer = await self._http.post(
                request.path, content=_content(request), headers=_headers(request)
            )
            if answer.status_code != OVERLOADED:
                return answer
            self._tally.retried += 1
            await asyncio.sleep(float(answer.headers["retry-after"]))

    def _fault(self, request: Request, what: str) -> None:
        self._tally.faults.append(
            f"{request.path[:40]}, {request.kind} {request.what} as {request.content_type}: {what}"
        )


def _headers(request: Request) -> list[tuple[bytes, bytes]]:
    headers = []
    if request.content_type is not None:
        headers.append((b"content-type", request.content_type.encode("latin-1")))
    if request.repeat > 1 and not request.chunked:
        headers.append((b"content-length", b"%d" % (request.repeat * len(request.body))))
    return headers


def _content(request: Request) -> bytes | AsyncIterator[bytes]:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(request.repeat):
            yield request.body

    return pieces() if request.chunked or request.repeat > 1 else request.body


def main(argv: Sequence[str] | None = None) -> int:
    """Send everything, print, and return the exit code."""
    options = parse(argv)
    pictures = find_pictures(options.data)
    parts = all_requests(originals(pictures), options.count, options.seed)
    requests = itertools.chain.from_iterable(parts[name] for name in options.only)
    with serving(options) as (url, watch, log):
        result = asyncio.run(attack(url, watch, requests, options.connections))
        result["tracebacks"] = None if log is None else log.read_text("utf-8").count("Traceback")
    print_tables(result)
    print("\n" + json.dumps(result))
    return int(failed(result))


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="A server, and those who wish it ill.")
    add = parser.add_argument
    add("bento", nargs="?", help="a tag, or . for the working folder")
    add("--url", help="ask this running server instead of starting one")
    add("--pid", type=int, help="with --url: the first of its processes")
    add("--server", choices=[one.key for one in OURS], default=OURS[0].key)
    add("--data", type=Path, help="take the pictures of its val, instead of drawing some")
    add("--count", type=int, default=10_000, help="mutated files; the rest goes with it")
    add("--connections", type=int, default=8)
    add("--seed", type=int, default=0)
    add("--only", nargs="+", choices=PARTS, default=PARTS)
    options = parser.parse_args(argv)
    if (options.bento is None) == (options.url is None):
        parser.error("give a bento or --url, and not both")
    return options


@contextlib.contextmanager
def serving(options: argparse.Namespace) -> Iterator[tuple[str, Watch | None, Path | None]]:
    """Start a server, or take the one that runs; give its address, its processes and its log."""
    with contextlib.ExitStack() as stack:
        url, pid, log = options.url, options.pid, None
        if url is None:
            server = next(one for one in OURS if one.key == options.server)
            up = stack.enter_context(running(server, options.bento, Path()))
            url, pid, log = up.url.removesuffix("/predict"), up.process.pid, up.log
        yield url, None if pid is None else stack.enter_context(Watch(pid)), log


async def attack(
    url: str, watch: Watch | None, requests: Iterator[Request], connections: int
) -> dict[str, Any]:
    """Send all requests, kind by kind, and sum up."""
    tally, began = Tally(), time.perf_counter()
    async with httpx.AsyncClient(base_url=url, timeout=PATIENCE) as http:
        labels = (await http.get("/model")).raise_for_status().json()["labels"]
        client = Client(http, labels, tally)
        start = watch.lap() if watch else None
        for kind, some in itertools.groupby(requests, lambda one: one.kind):
            say(f"{kind}, {time.perf_counter() - began:.0f} s")
            await asyncio.gather(*(client.send_all(some) for _ in range(connections)))
            if watch:
                lap = watch.lap()
                tally.memory[kind] = (lap.peak, lap.end)
        seconds = time.perf_counter() - began
        (await http.get("/readyz")).raise_for_status()
    await asyncio.sleep(SETTLED)
    result = {"requests": sum(map(Counter.total, tally.outcomes.values())), "seconds": seconds}
    return result | summary(tally) | (processes(watch, start.end) if watch and start else {})


def summary(tally: Tally) -> dict[str, Any]:
    """Sum up the answers."""
    total = sum(tally.outcomes.values(), Counter[tuple[str, str]]())
    return {
        "answers": {f"{status} {code}": count for (status, code), count in sorted(total.items())},
        "retried": tally.retried,
        "faults": tally.faults,
        "kinds": {
            kind: {
                "answers": {f"{status} {code}": n for (status, code), n in sorted(found.items())},
                "memory_mb": tally.memory.get(kind),
                "slowest": tally.slowest[kind],
            }
            for kind, found in tally.outcomes.items()
        },
    }


def processes(watch: Watch, before: float) -> dict[str, Any]:
    """Sum up what became of the server's processes."""
    return {
        "memory_mb": {"before": before, "after": watch.lap().end},
        "children": watch.came(),
        "ended": watch.went(),
    }


def failed(result: dict[str, Any]) -> bool:
    """Tell whether anything happened that must not."""
    return any(result.get(name) for name in ("faults", "children", "ended", "tracebacks"))


def print_tables(result: dict[str, Any]) -> None:
    """Print the answers by kind and by code, and what was wrong."""
    rows = [["kind", "requests", *SHOWN, "other", "slowest s", "peak MB", "end MB"]]
    for kind, found in result["kinds"].items():
        by_status = Counter[str]()
        for name, count in found["answers"].items():
            status = name[:3]
            by_status[status if status in SHOWN else "other"] += count
        counts = [str(by_status[status] or "") for status in (*SHOWN, "other")]
        memory = [f"{value:.0f}" for value in found["memory_mb"] or ()] or ["", ""]
        slowest = f"{found['slowest'][0]:.1f}"
        rows.append([kind, str(by_status.total()), *counts, slowest, *memory])
    print(table(rows))
    print("\n" + table([["answer", "requests"], *map(_words, result["answers"].items())]))
    for fault in result["faults"][:MOST_FAULTS]:
        print(f"wrong: {fault}")


def _words(item: tuple[str, int]) -> list[str]:
    return [item[0], str(item[1])]


if __name__ == "__main__":
    raise SystemExit(main())
