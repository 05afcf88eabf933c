"""What a server answers to those who wish it ill: broken pictures, bombs, broken requests.

    python benchmarks/hostile ant_bee_classifier:latest
    python benchmarks/hostile --url http://127.0.0.1:3000 --pid PID

Sends 10,000 mutated files, 50 files cut at every percent, and every file and request of `files` and
`requests`: the same for the same seed. The server is started for it, or runs already; then only
with `--pid` can its processes be looked at.

Prints how it answered, with the memory of all its processes, then one JSON line. The exit code is
1 if anything was answered 5xx or not as documented, or not at all, and if any of the server's
processes ended or got a child.
"""

import argparse
import asyncio
import contextlib
import io
import itertools
import json
import math
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote

import httpx
from PIL import Image
from pydantic import BaseModel, Field, ValidationError

from antbee.command import say, table
from antbee.errors import STATUS
from hostile.files import originals
from hostile.requests import PARTS, Request, all_requests
from servers import Watch, add_target, target

PATIENCE: Final = 120
"""Seconds for an answer: longer than the server's own limit, which is an answer."""
CONNECTIONS: Final = 8
SHOWN: Final = ("200", "400", "413", "415", "422")  # statuses with a column of their own
LONGEST_SIDE: Final = 1024  # pixels of a heat map
SETTLED: Final = 3.0  # seconds after which the memory at the end is looked at
MOST_FAULTS: Final = 50  # how many wrong answers are printed


class OffShape(Exception):  # noqa: N818 - an answer's fault, not this program's
    """An answer that no client can be expected to understand."""


class Exact(BaseModel, extra="forbid", strict=True, allow_inf_nan=False):
    """An object with these fields and no others."""


class Prediction(Exact):
    """What a picture shows; the last two where the model can tell."""

    label: str
    probability: float
    probabilities: dict[str, float]
    model: str
    known: bool = True
    typicality: float = Field(default=1, gt=0, le=1)


class Reason(Exact):
    """Why there is no prediction."""

    code: str
    message: str = Field(min_length=1)


class Failure(Exact):
    """What comes instead of a prediction."""

    error: Reason


class Several(Exact):
    """What several pictures show."""

    images: list[Prediction | Failure] = Field(min_length=1)


def outcome(answer: httpx.Response, path: str, labels: Collection[str]) -> str:
    """Name the answer of a model with these labels to a POST to a path.

    Returns:
        `ok`, an error's code, `some failed`, or `some timed out`.

    Raises:
        OffShape: it is not what the documentation promises.
    """
    ok, content_type = answer.status_code == httpx.codes.OK, answer.headers.get("content-type")
    if ok and path.startswith("/explain"):
        label, probability = (answer.headers.get(f"x-{name}") for name in ("label", "probability"))
        try:
            with Image.open(io.BytesIO(answer.content), formats=("PNG",)) as image:
                image.load()
            good = unquote(label) in labels and 0 <= float(probability) <= 1
        except Exception as error:
            raise OffShape(f"a heat map that cannot be read: {error}") from error
        if not good or content_type != "image/png" or max(image.size) > LONGEST_SIDE:
            raise OffShape(f"{content_type} of {image.size}, {label} at {probability}")
        return "ok"
    if content_type != "application/json":
        raise OffShape(f"Content-Type {content_type}: {answer.content[:100]!r}")
    shape = Failure if not ok else Several if path == "/v1/predict" else Prediction
    try:
        content = shape.model_validate_json(answer.content)
    except ValidationError as error:
        raise OffShape(f"not a {shape.__name__}: {answer.content[:200]!r}") from error
    entries = content.images if isinstance(content, Several) else [content]
    codes = {entry.error.code for entry in entries if isinstance(entry, Failure)}
    statuses = {STATUS.get(code) for code in codes}
    if None in statuses or (not ok and statuses != {answer.status_code}):
        raise OffShape(f"{codes} with status {answer.status_code}")
    for one in (entry for entry in entries if isinstance(entry, Prediction)):
        shares = one.probabilities
        if set(shares) != set(labels) or not math.isclose(sum(shares.values()), 1, rel_tol=1e-3):
            raise OffShape(f"probabilities that are none: {shares}")
        if not one.probability == shares.get(one.label) == max(shares.values()):
            raise OffShape(f"a label that is not the most probable one: {str(one)[:200]}")
    if not ok:
        return codes.pop()
    return "some timed out" if "timeout" in codes else "some failed" if codes else "ok"


@dataclass
class Attack:
    """Sends requests and counts the answers."""

    http: httpx.AsyncClient  # with the server's address
    labels: Sequence[str]  # of the model that answers
    # By kind of request: how often each answer came, and the longest, in seconds, to what.
    answers: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    slowest: dict[str, tuple[float, str]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)  # what was wrong, one line each
    retried: int = 0  # how often a request was told to come back later
    making: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def send_all(self, requests: Iterator[Request]) -> None:
        """Send one after the other, each until it is answered."""
        while True:
            # Some take seconds to make, in which the answers to others must be read.
            async with self.making:
                request = await asyncio.to_thread(next, requests, None)
            if request is None:
                return
            began = time.perf_counter()
            found, fault = await self._send(request)
            taken = (time.perf_counter() - began, f"{request.what} to {request.path[:20]}")
            self.slowest[request.kind] = max(taken, self.slowest.get(request.kind, taken))
            self.answers[request.kind][found] += 1
            if fault:
                about = f"{request.kind} {request.what} as {request.content_type}"
                self.faults.append(f"{request.path[:40]}, {about}: {fault}")

    async def _send(self, request: Request) -> tuple[str, str]:
        """Send a request until it is answered; tell the status and what it says, and the fault."""
        length, streamed = request.repeat * len(request.body), request.chunked or request.repeat > 1
        headers = []
        if request.content_type is not None:
            headers.append((b"content-type", request.content_type.encode("latin-1")))
        if streamed and not request.chunked:
            headers.append((b"content-length", b"%d" % length))
        try:
            while True:
                body = _pieces(request) if streamed else request.body
                answer = await self.http.post(request.path, content=body, headers=headers)
                if answer.status_code != httpx.codes.TOO_MANY_REQUESTS:
                    break
                self.retried += 1
                await asyncio.sleep(float(answer.headers["retry-after"]))
            found = f"{answer.status_code} {outcome(answer, request.path, self.labels)}"
        except httpx.TransportError as error:
            return "no answer", f"no answer: {error!r}"
        except OffShape as error:
            return f"{answer.status_code} off shape", f"{answer.status_code}, {error}"
        return found, found if answer.is_server_error else ""


async def _pieces(request: Request) -> AsyncIterator[bytes]:
    for _ in range(request.repeat):
        yield request.body


def main(argv: Sequence[str] | None = None) -> int:
    """Send everything, print, and return the exit code."""
    parser = argparse.ArgumentParser(description="A server, and those who wish it ill.")
    add = parser.add_argument
    add_target(parser)
    add("--pid", type=int, help="with --url: the first of its processes")
    add("--count", type=int, default=10_000, help="mutated files; the rest goes with it")
    add("--every", type=int, default=1, help="send only each N-th request of all")
    add("--seed", type=int, default=0)
    add("--only", nargs="+", choices=PARTS, default=PARTS)
    options = parser.parse_args(argv)
    parts = all_requests(originals(), options.count, options.seed)
    everything = itertools.chain.from_iterable(parts[name] for name in options.only)
    requests = itertools.islice(everything, 0, None, options.every)
    with contextlib.ExitStack() as stack:
        url, pid, log = stack.enter_context(target(options))
        watch = None if pid is None else stack.enter_context(Watch(pid))
        result = asyncio.run(measure(url, watch, requests))
        result["tracebacks"] = None if log is None else log.read_text("utf-8").count("Traceback")
    print_tables(result)
    print("\n" + json.dumps(result))
    return int(any(result.get(name) for name in ("faults", "children", "ended", "tracebacks")))


async def measure(url: str, watch: Watch | None, requests: Iterator[Request]) -> dict[str, Any]:
    """Send all requests, kind by kind, and sum up."""
    began = time.perf_counter()
    kinds: dict[str, Any] = {}
    async with httpx.AsyncClient(base_url=url, timeout=PATIENCE) as http:
        labels = (await http.get("/model")).raise_for_status().json()["labels"]
        attack = Attack(http, labels)
        before = watch.lap()[1] if watch else None
        for kind, some in itertools.groupby(requests, lambda one: one.kind):
            say(f"{kind}, {time.perf_counter() - began:.0f} s")
            await asyncio.gather(*(attack.send_all(some) for _ in range(CONNECTIONS)))
            kinds[kind] = {"answers": dict(sorted(attack.answers[kind].items()))}
            kinds[kind]["memory_mb"] = watch.lap() if watch else None
            kinds[kind]["slowest"] = attack.slowest[kind]
        seconds = time.perf_counter() - began
        (await http.get("/readyz")).raise_for_status()
    await asyncio.sleep(SETTLED)
    total = sum(attack.answers.values(), Counter[str]())
    result = {"requests": total.total(), "seconds": seconds, "answers": dict(sorted(total.items()))}
    result |= {"retried": attack.retried, "faults": attack.faults, "kinds": kinds}
    if watch:
        result["memory_mb"] = {"before": before, "after": watch.lap()[1]}
        result |= {"children": watch.came(), "ended": watch.went()}
    return result


def print_tables(result: dict[str, Any]) -> None:
    """Print the answers by kind and by code, and what was wrong."""
    rows = []
    for kind, found in result["kinds"].items():
        by_status = Counter[str]()
        for name, count in found["answers"].items():
            by_status[name[:3] if name[:3] in SHOWN else "other"] += count
        counts = [by_status[status] or "" for status in (*SHOWN, "other")]
        memory = [f"{value:.0f}" for value in found["memory_mb"] or ()] or ["", ""]
        rows.append([kind, by_status.total(), *counts, f"{found['slowest'][0]:.1f}", *memory])
    head = ["kind", "requests", *SHOWN, "other", "slowest s", "peak MB", "end MB"]
    print(table(head, rows) + "\n")
    print(table(["answer", "requests"], result["answers"].items()))
    for fault in result["faults"][:MOST_FAULTS]:
        print(f"wrong: {fault}")
