"""Whether an answer is what the documentation says: its type, its shape and its status."""

import io
import json
import math
from collections.abc import Collection, Mapping
from typing import Any, Final
from urllib.parse import unquote

import httpx
from PIL import Image

from antbee.errors import STATUS

OK: Final = 200
LONGEST_SIDE: Final = 1024
"""Pixels of a heat map."""
SHAPE: Final = {"label": str, "probability": float, "probabilities": dict, "model": str}


class OffShape(Exception):  # noqa: N818 - an answer's fault, not this program's
    """An answer that no client can be expected to understand."""


def outcome(answer: httpx.Response, path: str, labels: Collection[str]) -> str:
    """Name an answer: `ok`, an error's code, `some failed`, or `some timed out`.

    Args:
        answer: to a POST.
        path: where it was sent.
        labels: those of the model.

    Raises:
        OffShape: it is not what the documentation promises.
    """
    if answer.status_code == OK and path.startswith("/explain"):
        _check_map(answer, labels)
        return "ok"
    content = _object(answer)
    if answer.status_code != OK:
        code = _code(content)
        if STATUS[code] != answer.status_code:
            raise OffShape(f"{code} with status {answer.status_code}")
        return code
    if path == "/v1/predict":
        return _many(content, labels)
    _check_prediction(content, labels)
    return "ok"


def _object(answer: httpx.Response) -> dict[str, Any]:
    content_type = answer.headers.get("content-type")
    if content_type != "application/json":
        raise OffShape(f"Content-Type {content_type}: {answer.content[:100]!r}")
    try:
        content = json.loads(answer.content, parse_constant=_no_number)
    except ValueError as error:
        raise OffShape(f"no JSON: {answer.content[:100]!r}") from error
    if not isinstance(content, dict):
        raise OffShape(f"no object: {answer.content[:100]!r}")
    return content


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _code(content: Mapping[str, Any]) -> str:
    error = content.get("error")
    if set(content) != {"error"} or not isinstance(error, dict):
        raise OffShape(f"no error: {content}")
    if set(error) != {"code", "message"} or error["code"] not in STATUS or not error["message"]:
        raise OffShape(f"an error of another shape: {content}")
    return str(error["code"])


def _many(content: Mapping[str, Any], labels: Collection[str]) -> str:
    entries = content.get("images")
    if set(content) != {"images"} or not isinstance(entries, list) or not entries:
        raise OffShape(f"no list of pictures: {str(content)[:200]}")
    codes = set()
    for entry in entries:
        if "error" in entry:
            codes.add(_code(entry))
        else:
            _check_prediction(entry, labels)
    if "timeout" in codes:
        return "some timed out"
    return "some failed" if codes else "ok"


def _check_prediction(content: Mapping[str, Any], labels: Collection[str]) -> None:
    if {name: type(value) for name, value in content.items()} != SHAPE:
        raise OffShape(f"no prediction: {str(content)[:200]}")
    shares = content["probabilities"]
    if set(shares) != set(labels) or not math.isclose(sum(shares.values()), 1, rel_tol=1e-3):
        raise OffShape(f"probabilities that are none: {shares}")
    if not content["probability"] == shares[content["label"]] == max(shares.values()):
        raise OffShape(f"a label that is not the most probable one: {str(content)[:200]}")


def _check_map(answer: httpx.Response, labels: Collection[str]) -> None:
    if answer.headers.get("content-type") != "image/png":
        raise OffShape(f"Content-Type {answer.headers.get('content-type')} of a heat map")
    if unquote(answer.headers.get("x-label", "")) not in labels:
        raise OffShape(f"X-Label {answer.headers.get('x-label')}")
    if not 0 <= float(answer.headers.get("x-probability", "nan")) <= 1:
        raise OffShape(f"X-Probability {answer.headers.get('x-probability')}")
    try:
        with Image.open(io.BytesIO(answer.content), formats=("PNG",)) as image:
            image.load()
            size = image.size
    except Exception as error:
        raise OffShape(f"a heat map that cannot be read: {error}") from error
    if max(size) > LONGEST_SIDE:
        raise OffShape(f"a heat map of {size} pixels")
