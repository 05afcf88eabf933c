"""A request that brings pictures, from body to answer, within the limits of the settings."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import quote

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from antbee.artifact import PackedModel
from antbee.errors import RequestError
from antbee.predictor import Prediction
from antbee.serving.answers import error_answer, error_body, prediction_answer, prediction_body
from antbee.serving.classifier import Check, Classifier
from antbee.serving.handler import Coded, Fetch, Hold, Link, Sent, gone, picture_bytes, pictures
from antbee.serving.metrics import Metrics
from antbee.serving.pool import Abandoned, Place, Pool
from antbee.serving.settings import Settings
from antbee.serving.uploads import Uploads

Result = TypeVar("Result")


class Api:
    """Answers requests that bring pictures.

    Args:
        model: the packed model.
        tag: its name and version, for the answers.
        settings: limits, threads and runtime.
        metrics: count what is answered and refused.
        fetch: downloads a picture from an address; None to refuse addresses.

    Attributes:
        classifier: what the threads run.
    """

    def __init__(
        self,
        model: PackedModel,
        tag: str,
        settings: Settings,
        metrics: Metrics,
        fetch: Fetch | None = None,
    ) -> None:
        self.classifier = Classifier(model, tag, settings, metrics)
        self._settings = settings
        self._metrics = metrics
        self._fetch = fetch
        self._uploads = Uploads(max(settings.uploads, settings.max_body))
        self._pool = Pool(settings.threads, settings.queue)

    async def predict(self, request: Request) -> Response:
        """Classify the one picture of a request."""

        async def answer(hold: Hold) -> Response:
            prediction = await self._one(request, hold, self.classifier.predict)
            self._metrics.predicted(prediction.label, prediction.probability)
            return prediction_answer(prediction, self.classifier.tag)

        return await self._answer(answer)

    async def explain(self, request: Request) -> Response:
        """Show why the one picture of a request gets a label: a PNG, or an error."""
        label = request.query_params.get("label")

        async def answer(hold: Hold) -> Response:
            self.classifier.check_explainable(label)
            found = await self._one(
                request, hold, lambda data, check: self.classifier.explain(data, label, check)
            )
            # A header holds ASCII, and a label anything.
            headers = {"X-Label": quote(found.label), "X-Probability": repr(found.probability)}
            return Response(found.png, headers=headers, media_type="image/png")

        return await self._answer(answer)

    async def predict_many(self, request: Request) -> Response:
        """Classify all pictures of a request; one that cannot be answered fails alone."""

        async def answer(hold: Hold) -> Response:
            deadline = asyncio.get_running_loop().time() + self._settings.timeout
            async with asyncio.timeout_at(deadline):
                limits = (self._settings.max_body, self._settings.max_images)
                sent = await pictures(request, *limits, hold)
            with (
                self._metrics.in_flight(len(sent) - 1),  # the request itself counts as one
                self._pool.places(len(sent)) as places,
            ):
                turns = _Turns.of(places, self._settings.download_threads, deadline)
                work = asyncio.create_task(self._many(sent, turns))
                return JSONResponse({"images": await _until_gone(request, work, work.cancel)})

        return await self._answer(answer)

    def close(self) -> None:
        """Stop the threads."""
        self._pool.close()

    async def _answer(self, work: Callable[[Hold], Awaitable[Response]]) -> Response:
        """Let `work` answer; a client's mistake gets its own status."""
        try:
            with self._uploads.upload() as hold, self._metrics.in_flight():
                return await work(hold)
        except RequestError as error:
            return error_answer(self._counted(error))
        except TimeoutError:
            return error_answer(self._counted(self._late()))
        except ClientDisconnect:
            return Response(status_code=499)

    async def _one(
        self, request: Request, hold: Hold, job: Callable[[bytes, Check], Result]
    ) -> Result:
        async with asyncio.timeout(self._settings.timeout):
            data = await picture_bytes(request, self._settings.max_body, hold, self._fetch)
            with self._pool.place() as place:
                work = self._run(place, lambda check: job(data, check))
                return await _until_gone(request, work, place.give_up)

    async def _many(self, sent: Sequence[Sent], turns: "_Turns") -> list[dict[str, Any]]:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._entry(one, turns)) for one in sent]
        return [task.result() for task in tasks]

    async def _entry(self, sent: Sent, turns: "_Turns") -> dict[str, Any]:
        try:
            async with asyncio.timeout_at(turns.deadline):
                prediction = await self._predict_in_turn(sent, turns)
        except RequestError as error:
            return error_body(self._counted(error))
        except TimeoutError:
            return error_body(self._counted(self._late()))
        self._metrics.predicted(prediction.label, prediction.probability)
        return prediction_body(prediction, self.classifier.tag)

    async def _predict_in_turn(self, sent: Sent, turns: "_Turns") -> Prediction:
        if isinstance(sent, RequestError):
            raise sent
        if not isinstance(sent, Link):
            return await self._predict_sent(sent, turns)
        # Until it is classified: so many downloaded files are held, and no more.
        async with turns.downloads:
            with self._uploads.upload() as hold:
                return await self._predict_sent(await sent.data(self._fetch, hold), turns)

    async def _predict_sent(self, sent: bytes | Coded, turns: "_Turns") -> Prediction:
        def job(check: Check) -> Prediction:
            data = sent.data() if isinstance(sent, Coded) else sent
            return self.classifier.predict(data, check)

        place = await turns.free.get()
        try:
            return await self._run(place, job)
        finally:
            turns.free.put_nowait(place)

    async def _run(self, place: Place, job: Callable[[Check], Result]) -> Result:
        submitted = time.perf_counter()

        def work() -> Result:
            self._metrics.waited(time.perf_counter() - submitted)
            return job(place.check)

        return await place.run(work)

    def _late(self) -> RequestError:
        seconds = f"{self._settings.timeout:g} seconds"
        return RequestError("timeout", f"not answered within {seconds}: try smaller pictures")

    def _counted(self, error: RequestError) -> RequestError:
        self._metrics.rejected(error.code)
        return error


@dataclass(frozen=True)
class _Turns:
    """What the pictures of one request take turns at.

    Attributes:
        free: the request's places that no picture is in at the moment.
        downloads: how many pictures may be downloaded or hold what was.
        deadline: when a picture that is not classified has failed, by the event loop's clock.
    """

    free: asyncio.Queue[Place]
    downloads: asyncio.Semaphore
    deadline: float

    @classmethod
    def of(cls, places: Sequence[Place], downloads: int, deadline: float) -> "_Turns":
        free: asyncio.Queue[Place] = asyncio.Queue()
        for place in places:
            free.put_nowait(place)
        return cls(free, asyncio.Semaphore(downloads), deadline)


async def _until_gone(
    request: Request, work: Awaitable[Result], give_up: Callable[[], object]
) -> Result:
    """Wait for `work`, and give it up when the client leaves.

    Raises:
        ClientDisconnect: it has left.
    """
    leaving = asyncio.create_task(gone(request))
    leaving.add_done_callback(lambda _: give_up())
    try:
        return await work
    except (asyncio.CancelledError, Abandoned):
        if leaving.done():
            raise ClientDisconnect from None
        raise
    finally:
        leaving.cancel()
