"""What people say of answers: that another label was right, or none of them.

Counted and logged, and kept nowhere. Knows ids and labels; has never seen a picture.
"""

import mmap
import os
import time
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from antbee.errors import RequestError
from antbee.predictor import Prediction
from antbee.serving.body import parse_json, read_body
from antbee.serving.observe import DIRECTORY, REQUEST_ID, SANE_ID, Metrics, log

MOST_BYTES: Final = 4096
"""Of a body."""
BURST: Final = 60
"""How many a process takes at once; after those, one a second."""
REMEMBERED: Final = 1 << 16
"""Places for answers, of eight bytes each. A later answer may take an earlier one's."""
FILE: Final = "feedback.answers"
_NUMBER: Final = 0xFFFF
"""The bits of a place that hold what was said; the others tell ids apart."""
_HOW: Final = 'send {"id": "<X-Request-ID of an answer>", "label": "<what is right>"}, or null'


class Feedback:
    """Takes feedback on the answers to single pictures.

    All processes of a server remember the answers of each: whichever is told, knows what was said.

    Args:
        labels: the model's.
        model: what answers, `name:version`; another one's answers are not remembered as its own.
        metrics: count it.
    """

    def __init__(self, labels: Sequence[str], model: str, metrics: Metrics) -> None:
        self._said: tuple[str | None, ...] = (None, *labels)
        self._key = blake2b(model.encode()).digest()
        self._metrics = metrics
        self._left, self._since = float(BURST), time.monotonic()
        self._places = memoryview(_map(8 * REMEMBERED)).cast("Q")

    def remember(self, request: Request, prediction: Prediction) -> None:
        """Remember for a while what is answered to a request, by its id."""
        place, mark = self._find(request.scope[REQUEST_ID])
        # One that is unknown is of no label, whichever is closest.
        said = None if prediction.known is False else prediction.label
        self._places[place] = mark | (self._said.index(said) + 1)

    async def take(self, request: Request) -> Response:
        """Count one request's feedback, and log it.

        Raises:
            RequestError: `overloaded`, `body_too_large`, `invalid_json`, `unknown_label` or
                `unknown_id`.
        """
        self._take_turn()
        content: Any = parse_json(await read_body(request, MOST_BYTES, lambda _: None), _HOW)
        if not (
            isinstance(content, dict)
            and set(content) == {"id", "label"}
            and isinstance(content["id"], str)
        ):
            raise RequestError("invalid_json", f"the JSON must have these two and no more: {_HOW}")
        given, meant = content["id"], content["label"]
        if meant not in self._said:
            labels = ", ".join(filter(None, self._said))
            message = f"the label must be one of the model's ({labels}), or null for none of them"
            raise RequestError("unknown_label", message)
        said = self._recall(given)
        self._metrics.corrected(said, meant)
        fields = {"id": given, "said": said, "meant": meant}
        log.info("feedback id=%(id)s said=%(said)r meant=%(meant)r", fields)
        return JSONResponse(fields)

    def _recall(self, given: str) -> str | None:
        """Return what was said under an id, and forget it."""
        request_id = given.encode("utf-8", "replace")
        place, mark = self._find(request_id)
        number = self._places[place] ^ mark
        if not (SANE_ID.fullmatch(request_id) and 0 < number <= len(self._said)):
            message = (
                "no answer to this X-Request-ID is remembered: only the latest ones of this server "
                "to POST /predict are, and each until feedback on it has come"
            )
            raise RequestError("unknown_id", message)
        self._places[place] = 0
        return self._said[number - 1]

    def _find(self, request_id: bytes) -> tuple[int, int]:
        """Return an id's place, and the mark by which it is known there."""
        found = int.from_bytes(blake2b(request_id, key=self._key, digest_size=8).digest())
        return found % REMEMBERED, found & ~_NUMBER

    def _take_turn(self) -> None:
        now = time.monotonic()
        self._left = min(self._left + now - self._since, BURST)
        self._since = now
        if self._left < 1:
            raise RequestError("overloaded", "there is more feedback than is read: wait a second")
        self._left -= 1


def _map(size: int) -> mmap.mmap:
    """Map memory that a server's processes share as they do their metrics, if there are several."""
    folder = os.environ.get(DIRECTORY)
    if not folder:
        return mmap.mmap(-1, size)
    with (Path(folder) / FILE).open("ab") as file:
        file.truncate(size)
    with (Path(folder) / FILE).open("r+b") as file:
        return mmap.mmap(file.fileno(), size)
