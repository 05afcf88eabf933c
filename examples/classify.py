"""Classify pictures in one request: `python classify.py http://127.0.0.1:3000 PICTURE...`.

Needs httpx. For a server that asks for a key, put it in ANTBEE_API_KEY.
"""

import os
import sys
from pathlib import Path

import httpx


def classify(url: str, paths: list[Path], key: str | None = None) -> list[dict[str, object]]:
    """Return an answer for each picture, in order: a prediction, or `{"error": …}`."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    files = [("image", (path.name, path.read_bytes())) for path in paths]
    response = httpx.post(f"{url}/v1/predict", files=files, headers=headers, timeout=30)
    content = response.json()
    if response.is_error:  # of the request as a whole
        sys.exit(f"{content['error']['code']}: {content['error']['message']}")
    answers: list[dict[str, object]] = content["images"]
    return answers


url, *names = sys.argv[1:]
paths = [Path(name) for name in names]
for path, answer in zip(paths, classify(url, paths, os.environ.get("ANTBEE_API_KEY")), strict=True):
    print(path.name, answer.get("label", "-"), answer.get("probability", answer.get("error")))
