"""Whether an answer is what the documentation says: its type, its shape and its status."""

import io
import math
from collections.abc import Collection
from typing import Final
from urllib.parse import unquote

import httpx
from PIL import Image
from pydantic import BaseModel, Field, ValidationError

from antbee.errors import STATUS

LONGEST_SIDE: Final = 1024
"""Pixels of a heat map."""


class OffShape(Exception):  # noqa: N818 - an answer's fault, not this program's
    """An answer that no client can be expected to understand."""


class Exact(BaseModel, extra="forbid", strict=True, allow_inf_nan=False):
    """An object with these fields and no others."""


class Prediction(Exact):
    """What a picture shows."""

    label: str
    probability: float
    probabilities: dict[str, float]
    model: str


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
