"""One request, from body to answer: read, decode, infer, within the limits of the settings."""

import asyncio
from functools import partial

import numpy as np
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from antbee.artifact import PackedModel
from antbee.errors import RequestError
from antbee.images import decode_image, to_array
from antbee.predictor import Prediction, load_predictor, probabilities, to_prediction
from antbee.serving.answers import error_answer, prediction_answer
from antbee.serving.handler import picture_bytes
from antbee.serving.pool import Pool
from antbee.serving.settings import Settings


class Classifier:
    """A packed model that answers requests.

    Args:
        model: the packed model.
        tag: its name and version, for the answers.
        settings: limits, threads and runtime.
    """

    def __init__(self, model: PackedModel, tag: str, settings: Settings) -> None:
        self.model = model
        self.tag = tag
        self.ready = False
        self._settings = settings
        self._predictor = load_predictor(model, settings.runtime)
        self._pool = Pool(settings.threads, settings.queue)

    def warm_up(self) -> None:
        """Let the network answer once, so that the first client does not wait for its buffers."""
        side = self.model.preprocessing.crop
        self._predictor.logits(np.zeros((1, 3, side, side), np.float32))
        self.ready = True

    async def answer(self, request: Request) -> Response:
        """Answer a request that holds one picture; a client's mistake gets its own status."""
        try:
            with self._pool.place():
                async with asyncio.timeout(self._settings.timeout):
                    data = await picture_bytes(request, max_body=self._settings.max_body)
                    prediction = await self._pool.run(partial(self.predict, data))
            return prediction_answer(prediction, self.tag)
        except RequestError as error:
            return error_answer(error)
        except TimeoutError:
            seconds = f"{self._settings.timeout:g} seconds"
            return error_answer(
                RequestError("timeout", f"not answered within {seconds}: try a smaller picture")
            )
        except ClientDisconnect:
            return Response(status_code=499)

    def predict(self, data: bytes) -> Prediction:
        """Decode a picture's bytes and classify them.

        Raises:
            ImageError: the bytes are not a picture that can be read.
        """
        image = decode_image(data, max_pixels=self._settings.max_pixels)
        batch = to_array(image, self.model.preprocessing)[np.newaxis]
        row = probabilities(self._predictor.logits(batch))[0]
        return to_prediction(self.model.labels, row)

    def close(self) -> None:
        """Stop the threads."""
        self._pool.close()
