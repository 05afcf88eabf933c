"""Asks a running server what a user would: `python smoke.py [--ready] URL`. Needs no package.

With `--ready` it only asks whether the server is ready; otherwise it posts a picture as well, and
prints the answer as one line of JSON. A key that the server wants is in `ANTBEE_API_KEY`.
"""

import json
import os
import sys
import urllib.request
from collections.abc import Sequence
from typing import Any, Final

SIDE: Final = 64
# A green square, as a bitmap.
PICTURE: Final = (
    b"BM"
    + (54 + 3 * SIDE * SIDE).to_bytes(4, "little")
    + bytes(4)
    + b"".join(value.to_bytes(4, "little") for value in (54, 40, SIDE, SIDE, 1 | 24 << 16))
    + bytes(24)
    + b" ~ " * SIDE * SIDE
)


def ask(url: str, body: bytes | None = None) -> Any:  # noqa: ANN401 - whatever JSON holds
    """Get `url`, or post a body to it, and return the JSON that it answers."""
    headers = {"Content-Type": "image/*"}
    if key := os.environ.get("ANTBEE_API_KEY"):  # of several, any
        headers["Authorization"] = f"Bearer {key.split(',')[0].strip()}"
    request = urllib.request.Request(url, body, headers)  # noqa: S310 - ours
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - likewise
        return json.load(answer)


def check(url: str, *, ready: bool) -> Any:  # noqa: ANN401 - whatever JSON holds
    """Ask what the options want.

    Raises:
        OSError: the server does not answer, or not with 200.
        ValueError: not what an answer should look like.
    """
    answer = ask(f"{url}/readyz")
    if not ready:
        answer = ask(f"{url}/predict", PICTURE)
        if answer["label"] not in answer["probabilities"]:
            raise ValueError(f"an odd answer: {answer}")
    return answer


def main(argv: Sequence[str]) -> int:
    """Run the command and return its exit code."""
    urls = [argument for argument in argv if argument != "--ready"]
    if len(urls) != 1:
        print("usage: smoke.py [--ready] URL", file=sys.stderr)
        return 2
    try:
        answer = check(urls[0].rstrip("/"), ready="--ready" in argv)
    except (OSError, ValueError, KeyError) as error:
        print(f"error: {urls[0]}: {error}", file=sys.stderr)
        return 1
    print(json.dumps(answer))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
