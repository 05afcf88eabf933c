"""One request with 32 pictures beside 32 requests with one.

    python benchmarks/batch.py ant_bee_classifier:latest --data data

Each round sends the same pictures four ways, in turn: one by one on a connection, over 8
connections, as one request of JSON, and as one form. Prints the medians over the rounds, and how
they compare with one by one, then one JSON line.
"""

import argparse
import asyncio
import base64
import itertools
import json
import math
import statistics
import urllib.parse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from load import BOUNDARY, Load, ask, make_request
from pictures import find_mixed
from report import machine, table
from servers import OURS, running

PICTURES: Final = 32
"""As many as a request may bring, by default."""
CONNECTIONS: Final = 8
OK: Final = 200

Way = Callable[[], float]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit code."""
    options = parse(argv)
    pictures = [path.read_bytes() for path in find_mixed(options.data)[:PICTURES]]
    server = next(one for one in OURS if one.key == options.server)
    with running(server, options.bento, Path()) as up:
        ways = make_ways(up.url, pictures)
        for way in ways.values():
            way()  # the first time does not count
        rounds = [{name: way() for name, way in ways.items()} for _ in range(options.rounds)]
    result = summarise(rounds)
    print_table(result)
    print("\n" + json.dumps({"machine": machine(), "pictures": len(pictures), **result}))
    return 0


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Many pictures in one request, and in many.")
    add = parser.add_argument
    add("bento", help="a tag, or . for the working folder")
    add("--data", type=Path, default=Path("data"))
    add("--server", choices=[one.key for one in OURS], default=OURS[0].key)
    add("--rounds", type=int, default=15)
    return parser.parse_args(argv)


def make_ways(url: str, pictures: Sequence[bytes]) -> dict[str, Way]:
    """Make what sends the pictures, each way, and returns how many seconds it took."""
    single = [make_request(url, data) for data in pictures]
    entries = [{"data": base64.b64encode(data).decode()} for data in pictures]
    coded = json.dumps({"images": entries}).encode()
    many = url.removesuffix("/predict") + "/v1/predict"
    return {
        "one by one": lambda: seconds(url, single, 1),
        f"over {CONNECTIONS} connections": lambda: seconds(url, single, CONNECTIONS),
        "one request, JSON": lambda: seconds(url, [post(many, "application/json", coded)], 1),
        "one request, form": lambda: seconds(url, [post(many, *form(pictures))], 1),
    }


def form(pictures: Sequence[bytes]) -> tuple[str, bytes]:
    """Write a form with all pictures; return its type, too."""
    about = b'Content-Disposition: form-data; name="images"; filename="a.jpg"'
    line = b"--" + BOUNDARY
    parts = [line + b"\r\n" + about + b"\r\n\r\n" + data + b"\r\n" for data in pictures]
    body = b"".join([*parts, line, b"--\r\n"])
    return f"multipart/form-data; boundary={BOUNDARY.decode()}", body


def post(url: str, content_type: str, body: bytes) -> bytes:
    """Write a request as it goes over the wire."""
    address = urllib.parse.urlsplit(url)
    lines = [
        f"POST {address.path} HTTP/1.1",
        f"Host: {address.netloc}",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


def seconds(url: str, requests: Sequence[bytes], connections: int) -> float:
    """Send requests, and time them from the first one's begin to the last answer."""
    address = urllib.parse.urlsplit(url)
    load = Load(itertools.cycle(requests), stop=math.inf, limit=len(requests))

    async def send() -> None:
        where = (address.hostname or "", address.port or 80)
        await asyncio.gather(*(ask(load, *where) for _ in range(connections)))

    asyncio.run(send())
    if [status for status, _, _ in load.answers] != [OK] * len(requests):
        raise SystemExit(f"error: not every picture was classified: {load.answers}")
    return max(ended for *_, ended in load.answers) - min(began for _, began, _ in load.answers)


def summarise(rounds: Sequence[dict[str, float]]) -> dict[str, Any]:
    """Take the medians in milliseconds, and the ratios to the first way."""
    medians = {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}
    first = next(iter(medians.values()))
    return {
        "milliseconds": {name: 1e3 * taken for name, taken in medians.items()},
        "ratios": {name: taken / first for name, taken in medians.items()},
    }


def print_table(result: dict[str, Any]) -> None:
    """Print both for each way."""
    rows = [["", "ms", "of one by one"]]
    for name, taken in result["milliseconds"].items():
        rows.append([name, f"{taken:.1f}", f"{result['ratios'][name]:.2f}"])
    print(table(rows))


if __name__ == "__main__":
    raise SystemExit(main())
