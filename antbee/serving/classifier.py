"""A packed model's steps from a picture's bytes to an answer; they run on the pool's threads.

Knows pictures and networks; knows nothing of HTTP.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import numpy as np

from antbee import explain
from antbee.artifact import FEATURES, LOGITS, POOLED, PackedModel
from antbee.errors import RequestError
from antbee.images import decode_image, read_array, to_array
from antbee.machine import LARGE_BUFFER, settle_memory, trim_memory
from antbee.predictor import Floats, Prediction, Predictor, load_predictor, to_prediction
from antbee.serving.observe import Metrics
from antbee.serving.pool import Check
from antbee.serving.settings import Settings
from antbee.typicality import load_judge


@dataclass(frozen=True)
class Explanation:
    """Why a picture gets a label.

    Attributes:
        png: the picture with the label's class activation map over it.
        label: the label.
        probability: its probability, 0 to 1.
        prediction: what the picture is classified as, whatever label was asked about.
    """

    png: bytes
    label: str
    probability: float
    prediction: Prediction


class Classifier:
    """A packed model in memory; may be asked from several threads at once.

    Args:
        model: the packed model.
        tag: see below.
        settings: runtime and limits.
        metrics: count what each step takes.
        load: gives the model's predictor, where its loading has begun before.

    Attributes:
        tag: the model's name and version, for the answers.
        runtime: what runs the network; `auto` has been decided.
        ready: whether the network has answered once.
    """

    def __init__(
        self,
        model: PackedModel,
        tag: str,
        settings: Settings,
        metrics: Metrics,
        load: Callable[[], Predictor] | None = None,
    ) -> None:
        self.model = model
        self.tag = tag
        self.ready = False
        self._max_pixels = settings.max_pixels
        self._metrics = metrics
        self._predictor = load() if load else load_predictor(model, settings.runtime)
        self._head = explain.load_head(model)
        self.runtime = self._predictor.runtime
        self._judge = load_judge(model, self.runtime)
        self._unknown_below = settings.unknown_below
        self._one_large = threading.Lock()

    def warm_up(self) -> None:
        """Let the network answer once, so that the first client does not wait for its buffers."""
        side = self.model.preprocessing.crop
        self._predictor.logits(np.zeros((1, 3, side, side), np.float32))
        settle_memory()
        self.ready = True

    def predict(self, data: bytes, check: Check = lambda: None) -> Prediction:
        """Decode a picture's bytes and classify them.

        Raises:
            ImageError: the bytes are not a picture that can be read.
        """
        check()
        with self._decoding(data) as before_large:
            array = read_array(
                data,
                self.model.preprocessing,
                max_pixels=self._max_pixels,
                before_large=before_large,
            )
        check()
        return self._run(array)[0]

    def _run(self, array: Floats, *more: str) -> tuple[Prediction, list[Floats]]:
        """Run the network on a picture; give, beside the answer, the outputs `more` of it."""
        judged = () if self._judge is None else (POOLED,)
        with self._metrics.stage("network"):
            names = (LOGITS, *more, *judged)
            logits, *rest = (one[0] for one in self._predictor.outputs(array[np.newaxis], names))
        typicality = None if self._judge is None else self._judge.typicality(rest.pop())
        return to_prediction(self.model, logits, typicality, self._unknown_below), rest

    @contextmanager
    def _decoding(self, data: bytes) -> Iterator[Callable[[], object]]:
        """Time it, and give large memory back; yields what to call before a large picture."""
        with self._metrics.stage("decode"), ExitStack() as decoded:
            if len(data) > LARGE_BUFFER:
                decoded.callback(trim_memory)  # the pieces that it came in
            yield lambda: decoded.enter_context(self._large_picture())

    @contextmanager
    def _large_picture(self) -> Iterator[None]:
        """Decode one at a time, which takes more memory than all the rest of the server."""
        with self._one_large:
            try:
                yield
            finally:
                trim_memory()

    def check_explainable(self, label: str | None) -> Floats:
        """Refuse a question that no picture can answer; else return the head's weights.

        Raises:
            RequestError: `not_explainable` or `unknown_label`.
        """
        if self._head is None:
            message = "the model was packed without its head's weights: run save_to_bento.py again"
            raise RequestError("not_explainable", message)
        if label is not None and label not in self.model.labels:
            labels = ", ".join(self.model.labels)
            raise RequestError("unknown_label", f"there is no label {label!r}: ask for {labels}")
        return self._head

    def explain(
        self, data: bytes, label: str | None = None, check: Check = lambda: None
    ) -> Explanation:
        """Decode a picture's bytes, classify them, and draw what speaks for a label.

        That is the most probable one if `label` is None.

        Raises:
            ImageError: the bytes are not a picture that can be read.
            RequestError: `not_explainable` or `unknown_label`.
        """
        head = self.check_explainable(label)
        check()
        preprocessing = self.model.preprocessing
        with self._decoding(data) as before_large:
            # As `read_array` reads it, so that the answer is the same.
            picture = decode_image(
                data,
                max_pixels=self._max_pixels,
                shorter_side=preprocessing.resize,
                before_large=before_large,
            )
            array = to_array(picture, preprocessing)
            picture, square = explain.displayed(picture, preprocessing)
        check()
        prediction, (features,) = self._run(array, FEATURES)
        label = prediction.label if label is None else label
        check()
        with self._metrics.stage("draw"):
            maps = explain.activation_maps(features, head)
            strengths = explain.strength(maps, self.model.labels.index(label))
            png = explain.to_png(explain.overlay(picture, strengths, square))
        return Explanation(png, label, prediction.probabilities[label], prediction)
