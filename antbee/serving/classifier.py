"""One request, from body to answer: read, decode, infer, within the limits of the settings."""

import asyncio
import time
from collections.abc import Callable

import numpy as np
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from antbee.artifact import PackedModel
from antbee.errors import RequestError
from antbee.images import read_array
from antbee.machine import give_back_memory
from antbee.predictor import Prediction, load_predictor, probabilities, to_prediction
from antbee.serving.answers import error_answer, prediction_answer
from antbee.serving.handler import gone, picture_bytes
from antbee.serving.metrics import Metrics
from antbee.serving.pool import Place, Pool
from antbee.serving.settings import Settings


class Classifier:
    """A packed model that answers requests.

    Args:
        model: the packed model.
        tag: its name and version, for the answers.
        settings: limits, threads and runtime.
        metrics: count what is answered and refused.

    Attributes:
        runtime: what runs the network; `auto` has been decided.
        ready: whether the network has answered once.
    """

    def __init__(self, model: PackedModel, tag: str, settings: Settings, metrics: Metrics) -> None:
        self.model = model
        self.tag = tag
        self.ready = False
        self._settings = settings
        self._metrics = metrics
        self._predictor = load_predictor(model, settings.runtime)
        self.runtime = self._predictor.runtime
        self._pool = Pool(settings.threads, settings.queue)

    def warm_up(self) -> None:
        """Let the network answer once, so that the first client does not wait for its buffers."""
        side = self.model.preprocessing.crop
        self._predictor.logits(np.zeros((1, 3, side, side), np.float32))
        give_back_memory()  # what loading took
        self.ready = True

    async def answer(self, request: Request) -> Response:
        """Answer a request that holds one picture; a client's mistake gets its own status."""
        try:
            with self._pool.place() as place, self._metrics.in_flight():
                async with asyncio.timeout(self._settings.timeout):
                    data = await picture_bytes(request, max_body=self._settings.max_body)
                    prediction = await self._predict_for(request, place, data)
        except RequestError as error:
            return self._refuse(error)
        except TimeoutError:
            seconds = f"{self._settings.timeout:g} seconds"
            message = f"not answered within {seconds}: try a smaller picture"
            return self._refuse(RequestError("timeout", message))
        except ClientDisconnect:
            return Response(status_code=499)
        self._metrics.predicted(prediction.label, prediction.probability)
        return prediction_answer(prediction, self.tag)

    def predict(self, data: bytes, check: Callable[[], None] = lambda: None) -> Prediction:
        """Decode a picture's bytes and classify them.

        Args:
            data: a picture's file.
            check: called between the steps; what it raises ends the work.

        Raises:
            ImageError: the bytes are not a picture that can be read.
        """
        check()
        with self._metrics.stage("decode"):
            array = read_array(data, self.model.preprocessing, max_pixels=self._settings.max_pixels)
        check()
        with self._metrics.stage("network"):
            logits = self._predictor.logits(array[np.newaxis])
        return to_prediction(self.model.labels, probabilities(logits)[0])

    def close(self) -> None:
        """Stop the threads."""
        self._pool.close()

    async def _predict_for(self, request: Request, place: Place, data: bytes) -> Prediction:
        submitted = time.perf_counter()

        def work() -> Prediction:
            self._metrics.waited(time.perf_counter() - submitted)
            return self.predict(data, place.check)

        leaving = asyncio.create_task(gone(request))
        leaving.add_done_callback(lambda _: place.give_up())
        try:
            return await place.run(work)
        except asyncio.CancelledError:
            if leaving.done():
                raise ClientDisconnect from None
            raise
        finally:
            leaving.cancel()

    def _refuse(self, error: RequestError) -> Response:
        self._metrics.rejected(error.code)
        return error_answer(error)
