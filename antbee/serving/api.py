"""A request that brings pictures, from body to answer, within the limits of the settings.

What cannot be answered is raised, and `antbee.serving.app` answers it.
"""

import asyncio
import io
import json
import math
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final, NotRequired, TypeVar, cast
from urllib.parse import quote

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse as StarletteJSONResponse
from starlette.responses import Response
from typing_extensions import TypedDict

from antbee.artifact import PackedModel
from antbee.errors import RequestError
from antbee.predictor import Prediction, Predictor
from antbee.results import CsvTable
from antbee.serving.body import (
    Base64Picture,
    Fetch,
    LinkedPicture,
    Sent,
    Source,
    read_picture,
    read_pictures,
)
from antbee.serving.classifier import Classifier
from antbee.serving.feedback import Feedback
from antbee.serving.observe import Metrics
from antbee.serving.pool import Abandoned, Check, Pool, Ticket, Uploads
from antbee.serving.settings import Settings

Result = TypeVar("Result")

_HEADERS: Final = {
    "overloaded": {"Retry-After": "1"},
    "unauthorized": {"WWW-Authenticate": "Bearer"},
}
TIME_LEFT: Final = "antbee.time_left"
"""Where a request's scope has the seconds that it may take, where the server knows of fewer."""
UNWATCHED: Final = 0.1
"""Seconds until somebody looks whether the client is still there, which costs more than a request
that is answered by then could spare."""
_WEIGHT: Final = re.compile(r"(?:0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)")
"""How much a client wants a media type that it accepts (RFC 9110, section 12.4.2)."""


_encode: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
"""As Starlette writes JSON; it makes an encoder for each answer."""


class JSONResponse(StarletteJSONResponse):
    """An answer in JSON."""

    def render(self, content: Any) -> bytes:  # noqa: ANN401 - whatever JSON holds
        """Write it."""
        return _encode(content).encode()


class Answer(TypedDict):
    """A prediction, as clients read it; `model` (`name:version`) made it.

    `known` and `typicality` are absent where the model cannot tell.
    """

    label: str
    probability: float
    probabilities: dict[str, float]
    known: NotRequired[bool]
    typicality: NotRequired[float]
    model: str


class Error(TypedDict):
    """Why there is no prediction: a code for programs, a message for people."""

    code: str
    message: str


class Refusal(TypedDict):
    """What stands in the place of a prediction."""

    error: Error


class Api:
    """Answers requests that bring pictures.

    Without `fetch`, which downloads a picture, addresses are refused. For `load`, see `Classifier`.

    Attributes:
        classifier: what the threads run.
        feedback: takes what people say of answers, where the settings have it.
    """

    def __init__(
        self,
        model: PackedModel,
        tag: str,
        settings: Settings,
        metrics: Metrics,
        fetch: Fetch | None = None,
        load: Callable[[], Predictor] | None = None,
    ) -> None:
        self.classifier = Classifier(model, tag, settings, metrics, load)
        self.feedback = Feedback(model.labels, tag, metrics) if settings.feedback else None
        self._settings = settings
        self._metrics = metrics
        self._fetch = fetch
        self._uploads = Uploads(max(int(settings.uploads_mb * 1_000_000), settings.max_body))
        self._pool = Pool(settings.threads, settings.queue, metrics.waited)

    async def predict(self, request: Request) -> Response:
        """Classify the one picture of a request."""
        prediction = await self._run_one(request, self.classifier.predict)
        if self.feedback is not None:
            self.feedback.remember(request, prediction)
        return JSONResponse(self.answer(prediction))

    async def correct(self, request: Request) -> Response:
        """Take what somebody says of an earlier answer."""
        if self.feedback is None:
            raise RequestError("not_found", "this server takes no feedback")
        async with self._in_time(self._deadline(request)):
            return await self.feedback.take(request)

    async def explain(self, request: Request) -> Response:
        """Show why the one picture of a request gets a label: a PNG."""
        label = request.query_params.get("label")
        self.classifier.check_explainable(label)
        found = await self._run_one(
            request, lambda data, check: self.classifier.explain(data, label, check)
        )
        # A header holds ASCII, and a label anything.
        headers = {"X-Label": quote(found.label), "X-Probability": repr(found.probability)}
        if found.prediction.typicality is not None:
            headers["X-Known"] = "true" if found.prediction.known else "false"
            headers["X-Typicality"] = repr(found.prediction.typicality)
        return Response(found.png, headers=headers, media_type="image/png")

    async def predict_many(self, request: Request) -> Response:
        """Classify all pictures of a request; one that cannot be answered fails alone."""
        settings, deadline = self._settings, self._deadline(request)
        with self._uploads.upload() as reserve, self._metrics.in_flight():
            async with self._in_time(deadline):
                limits = settings.max_body, settings.max_images
                sent = await read_pictures(request, *limits, reserve)
            with (
                self._metrics.in_flight(len(sent) - 1),  # the request itself counts as one
                self._pool.tickets(len(sent)) as tickets,
            ):
                work = asyncio.create_task(self._run_many(sent, tickets, deadline))
                found = await _unless_disconnected(request, work, work.cancel)
        if prefers_csv(",".join(request.headers.getlist("accept"))):
            text = csv_content(self.classifier.model, sent, found)
            return Response(text, media_type="text/csv", headers={"Vary": "Accept"})
        answers = [
            error_content(one)
            if isinstance(one, RequestError)
            else prediction_content(one, self.classifier.tag)
            for one in found
        ]
        return JSONResponse({"images": answers}, headers={"Vary": "Accept"})

    def classify(self, data: bytes) -> Answer:
        """Classify a picture's bytes here and now, on the thread that asks.

        Raises:
            ImageError: the bytes are not a picture that can be read.
        """
        return self.answer(self.classifier.predict(data))

    def classify_alone(self, data: bytes) -> Answer | Refusal:
        """Classify the bytes of one of many pictures, likewise, or say why not."""
        try:
            return self.classify(data)
        except RequestError as error:
            self._metrics.rejected(error.code)
            return error_content(error)

    def answer(self, prediction: Prediction) -> Answer:
        """Count a prediction and shape it."""
        self._metrics.predicted(prediction)
        return prediction_content(prediction, self.classifier.tag)

    def close(self) -> None:
        """Stop the threads."""
        self._pool.close()

    async def _run_one(self, request: Request, work: Callable[[bytes, Check], Result]) -> Result:
        """Run `work` on a thread with the bytes of the request's picture."""
        deadline = self._deadline(request)
        with self._uploads.upload() as reserve, self._metrics.in_flight():
            async with self._in_time(deadline):
                data = await read_picture(request, self._settings.max_body, reserve, self._fetch)
                with self._pool.ticket() as ticket:
                    running = ticket.run(lambda check: work(data, check))
                    return await _unless_disconnected(request, running, ticket.give_up)

    async def _run_many(
        self, sent: Sequence[Sent], tickets: Sequence[Ticket], deadline: float
    ) -> list[Prediction | RequestError]:
        """Classify pictures with the tickets that there are, and as many downloads as may be."""
        free: asyncio.Queue[Ticket] = asyncio.Queue()
        for ticket in tickets:
            free.put_nowait(ticket)
        downloads = asyncio.Semaphore(self._settings.download_threads)
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._run_in_turn(one.source, free, downloads, deadline))
                for one in sent
            ]
        return [task.result() for task in tasks]

    async def _run_in_turn(
        self,
        source: Source,
        free: asyncio.Queue[Ticket],
        downloads: asyncio.Semaphore,
        deadline: float,
    ) -> Prediction | RequestError:
        """Classify one of many pictures, or say why not."""
        try:
            async with self._in_time(deadline), AsyncExitStack() as until_classified:
                if isinstance(source, RequestError):
                    raise source
                if isinstance(source, LinkedPicture):
                    # So many downloaded files are in memory, and no more.
                    await until_classified.enter_async_context(downloads)
                    reserve = until_classified.enter_context(self._uploads.upload())
                    source = await source.download(self._fetch, reserve)
                ticket = await free.get()
                try:
                    prediction = await ticket.run(
                        lambda check: self.classifier.predict(_decoded(source), check)
                    )
                finally:
                    if not ticket.given_up:  # the others are late, too, if not to the millisecond
                        free.put_nowait(ticket)
        except RequestError as error:
            self._metrics.rejected(error.code)
            return error
        self._metrics.predicted(prediction)
        return prediction

    def _deadline(self, request: Request) -> float:
        """When a request that begins now must be answered, in the event loop's time."""
        seconds: float = min(self._settings.timeout, request.scope.get(TIME_LEFT, math.inf))
        return asyncio.get_running_loop().time() + seconds

    @asynccontextmanager
    async def _in_time(self, deadline: float) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout_at(deadline):
                yield
        except TimeoutError as error:
            raise RequestError("timeout", "not answered in time: try smaller pictures") from error


def prediction_content(prediction: Prediction, model: str) -> Answer:
    """Shape a prediction as clients read it, saying which model made it (`name:version`)."""
    return cast("Answer", prediction.describe(model))


def csv_content(
    model: PackedModel, sent: Sequence[Sent], found: Sequence[Prediction | RequestError]
) -> str:
    """Write a table of many pictures: each one's name or number, and its prediction or code."""
    text = io.StringIO(newline="")
    table = CsvTable(text, "name", model)
    for number, (one, answer) in enumerate(zip(sent, found, strict=True), 1):
        name = one.name or str(number)
        if isinstance(answer, RequestError):
            table.write(name, None, answer.code)
        else:
            table.write(name, answer)
    return text.getvalue()


def prefers_csv(accept: str) -> bool:
    """Tell from an Accept header whether a client would rather have CSV than JSON.

    Of several ranges that fit, the most exact one counts. Where both types weigh the same, it is
    the one that is named more exactly, or JSON. What has a weight that is none is passed over.
    """
    weights: dict[str, float] = {}
    for media, *parameters in (one.split(";") for one in accept.lower().split(",")):
        given = dict(one.replace(" ", "").partition("=")[::2] for one in parameters)
        if _WEIGHT.fullmatch(weight := given.get("q", "1")):
            weights[media.strip()] = float(weight)
    csv = _weight(weights, "text/csv", "text/*", "*/*")
    return csv > _weight(weights, "application/json", "application/*", "*/*")


def _weight(weights: Mapping[str, float], *ranges: str) -> tuple[float, int]:
    """Find the weight of the first of some ranges that is given, and how exact that one is."""
    for wildcards, one in enumerate(ranges):
        if one in weights:
            return weights[one], -wildcards
    return 0.0, 0


def error_content(error: RequestError) -> Refusal:
    """Shape an error as clients read it."""
    return {"error": {"code": error.code, "message": str(error)}}


def error_answer(error: RequestError) -> JSONResponse:
    """Answer with an error's status, code and message."""
    return JSONResponse(error_content(error), error.status, _HEADERS.get(error.code))


def _decoded(source: bytes | Base64Picture) -> bytes:
    return source.decode() if isinstance(source, Base64Picture) else source


async def _unless_disconnected(
    request: Request, work: Awaitable[Result], give_up: Callable[[], object]
) -> Result:
    """Wait for `work`, and give it up when the client leaves; the body has been read to the end.

    Raises:
        ClientDisconnect: it has left.
    """
    leaving: asyncio.Task[None] | None = None

    def watch() -> None:
        nonlocal leaving
        leaving = asyncio.create_task(_disconnect(request))
        leaving.add_done_callback(lambda _: give_up())

    beginning = asyncio.get_running_loop().call_later(UNWATCHED, watch)
    try:
        return await work
    except (asyncio.CancelledError, Abandoned):
        if leaving is not None and leaving.done():
            raise ClientDisconnect from None
        raise
    finally:
        beginning.cancel()
        if leaving is not None:
            leaving.cancel()


async def _disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
