"""Asks Lambda's emulator for a prediction, as a function URL does for a client: `invoke.py URL`.

The picture comes in an event of payload format 2.0; the answer is printed as one line of JSON.
Needs no package.
"""

import base64
import json
import sys
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parents[1] / "heroku"))

from smoke import PICTURE

STARTS_WITHIN: Final = 20.0
"""Seconds from a container's start to its emulator's."""
INVOCATIONS: Final = "/2015-03-31/functions/function/invocations"
EVENT: Final = {
    "version": "2.0",
    "routeKey": "$default",
    "rawPath": "/predict",
    "rawQueryString": "",
    "headers": {"content-type": "image/*", "host": "localhost"},
    "requestContext": {
        "domainName": "localhost",
        "http": {
            "method": "POST",
            "path": "/predict",
            "protocol": "HTTP/1.1",
            "sourceIp": "127.0.0.1",
            "userAgent": "invoke.py",
        },
        "requestId": "invoke.py",
        "stage": "$default",
    },
    "body": base64.b64encode(PICTURE).decode(),
    "isBase64Encoded": True,
}


def invoke(url: str) -> Any:  # noqa: ANN401 - whatever JSON holds
    """Send the event, and return the JSON of the answer's body.

    Raises:
        OSError: nothing answers there.
        ValueError: the function failed, or answered with an error.
    """
    request = urllib.request.Request(url + INVOCATIONS, json.dumps(EVENT).encode())  # noqa: S310 - ours
    deadline = time.monotonic() + STARTS_WITHIN
    while True:
        try:
            with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310 - likewise
                answer = json.load(response)
            break
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
    if answer.get("statusCode") != 200:  # noqa: PLR2004 - OK
        raise ValueError(f"the function answers {answer}")
    return json.loads(answer["body"])


def main(argv: Sequence[str]) -> int:
    """Run the command and return its exit code."""
    if len(argv) != 1:
        print("usage: invoke.py URL", file=sys.stderr)
        return 2
    try:
        answer = invoke(argv[0].rstrip("/"))
    except (OSError, ValueError, KeyError) as error:
        print(f"error: {argv[0]}: {error}", file=sys.stderr)
        return 1
    print(json.dumps(answer))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
