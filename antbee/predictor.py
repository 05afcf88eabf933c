"""Arrays to predictions, on ONNX Runtime or PyTorch.

Knows the packed model's files and nothing of pictures' bytes or HTTP. A runtime is a class with
`logits`; `load_predictor` picks one, by measuring where packing left the choice to the machine that
serves. torch is imported inside its own class and nowhere else.
"""

import importlib.util
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from antbee.artifact import FEATURES, INPUT, INT8, LOGITS, ONNX, POOLED, WEIGHTS, PackedModel
from antbee.calibration import softmax
from antbee.errors import ModelError
from antbee.machine import trim_memory
from antbee.typicality import UNKNOWN_BELOW

_NEEDS: Final = {
    "int8": (INT8, ("onnxruntime",)),
    "onnx": (ONNX, ("onnxruntime",)),
    "torch": (WEIGHTS, ("torch", "torchvision")),
}
RUNTIMES: Final = tuple(_NEEDS)
OUTPUT_NODES: Final = {"fc": LOGITS, "layer4": FEATURES}
"""Where a torchvision ResNet computes each output of the packed network; `POOLED`, where there is
one, is the channel means of what the model's `pooled` stage computes."""
ROUNDS: Final = 3
"""How often each runtime answers when the fastest is looked for; the first time warms it up."""
BUDGET: Final = 0.25
"""Seconds after which no further round is begun: a slow processor must not delay the start."""

Floats = NDArray[np.float32]


class Predictor(Protocol):
    """A network that can be asked from several threads at once.

    Attributes:
        runtime: the one of `RUNTIMES` that it is.
    """

    runtime: str

    def logits(self, batch: Floats) -> Floats:
        """Run the network: float32 [N, 3, H, W] to float32 [N, classes]."""

    def outputs(self, batch: Floats, names: Sequence[str]) -> list[Floats]:
        """Run the network and give the outputs `names`, each float32 [N, ...], in that order.

        They are `LOGITS`, `FEATURES`, [N, channels, h, w], and `POOLED`, [N, channels of the
        model's `pooled` stage], which only some models have.
        """


@dataclass(frozen=True)
class Prediction:
    """One picture's answer.

    Attributes:
        label: the most probable label.
        probability: its probability, 0 to 1.
        probabilities: of every label, in the model's order, calibrated; they sum to 1.
        known: whether it seems to show any of the labels at all; None where the model cannot tell.
        typicality: how usual it is among pictures of the labels, 0 to 1, see `antbee.typicality`;
            None likewise.
    """

    label: str
    probability: float
    probabilities: dict[str, float]
    known: bool | None = None
    typicality: float | None = None

    def describe(self, model: str) -> dict[str, Any]:
        """What JSON has of it, and which `model` gave it; what that cannot tell is absent."""
        told = {name: value for name, value in vars(self).items() if value is not None}
        return told | {"model": model}


def disable_telemetry() -> None:
    """Keep ONNX Runtime from reporting to its makers; it reads this when it is imported."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


class OnnxPredictor:
    """ONNX Runtime on the CPU.

    Args:
        model: the packed model, its files checked.
        runtime: which of its networks: `onnx`, in float32, or `int8`.
        threads: how many threads one call may use. A server gives each request one thread and
            answers several at once, which wastes less than splitting every layer.
    """

    def __init__(self, model: PackedModel, runtime: str, threads: int = 1) -> None:
        disable_telemetry()
        import onnxruntime  # noqa: PLC0415 - each runtime is imported only when it is chosen

        self.runtime = runtime
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session: Any = onnxruntime.InferenceSession(
            model.folder / _NEEDS[runtime][0], options, providers=["CPUExecutionProvider"]
        )

    def logits(self, batch: Floats) -> Floats:
        """See `Predictor.logits`."""
        return self.outputs(batch, (LOGITS,))[0]

    def outputs(self, batch: Floats, names: Sequence[str]) -> list[Floats]:
        """See `Predictor.outputs`."""
        outputs: list[Floats] = self._session.run(names, {INPUT: batch})
        return outputs


class TorchPredictor:
    """PyTorch on the CPU, from the packed state dict."""

    runtime = "torch"

    def __init__(self, model: PackedModel, threads: int = 1) -> None:
        import torch  # noqa: PLC0415 - serving has no torch unless this runtime is chosen
        import torchvision  # noqa: PLC0415 - likewise
        from torchvision.models.feature_extraction import (  # noqa: PLC0415 - likewise
            create_feature_extractor,
        )

        torch.set_num_threads(threads)
        self._torch = torch
        build = torchvision.models.get_model_builder(model.arch)
        network = build(num_classes=len(model.labels)).eval()
        weights = torch.load(model.folder / WEIGHTS, map_location="cpu", weights_only=True)
        network.load_state_dict(weights)
        self._network = create_feature_extractor(network, output_nodes(model.pooled))

    def logits(self, batch: Floats) -> Floats:
        """See `Predictor.logits`."""
        return self.outputs(batch, (LOGITS,))[0]

    def outputs(self, batch: Floats, names: Sequence[str]) -> list[Floats]:
        """See `Predictor.outputs`."""
        with self._torch.inference_mode():
            outputs = self._network(self._torch.from_numpy(batch))
            found = (
                outputs[name].mean((2, 3)) if name == POOLED else outputs[name] for name in names
            )
            return [one.numpy() for one in found]


def output_nodes(pooled: str | None) -> Mapping[str, str]:
    """Return `OUTPUT_NODES` with the stage whose channel means are an output, if there is one."""
    return OUTPUT_NODES | ({pooled: POOLED} if pooled else {})


def check_runtime(model: PackedModel, runtime: str = "auto") -> str:
    """Choose the runtime and check, without loading anything, that it can run the model here.

    Args:
        model: the packed model.
        runtime: one of `RUNTIMES`, or `auto`: the one that was chosen at packing, or, where that
            left several candidates, the fastest of them here, which only `load_predictor` knows.

    Raises:
        ModelError: the model's file is missing or damaged, or a library is not installed.
    """
    for candidate in _candidates(model, runtime):
        if candidate not in _NEEDS:
            known = ", ".join(RUNTIMES)
            raise ModelError(f"there is no runtime {candidate!r}: choose one of {known}")
        file, libraries = _NEEDS[candidate]
        if candidate == "int8" and file not in model.files:
            reason = model.gate.get("int8", {}).get("reason") or "the reason was not recorded"
            raise ModelError(
                f"this model was packed without int8 ({reason}): choose another runtime, "
                "or pack it again with training and validation pictures"
            )
        model.path(file)
        missing = [name for name in libraries if importlib.util.find_spec(name) is None]
        if missing:
            needed = " and ".join(missing)
            raise ModelError(
                f"the {candidate} runtime needs {needed}: install it, or choose another"
            )
    return model.runtime if runtime == "auto" else runtime


def load_predictor(model: PackedModel, runtime: str = "auto", threads: int = 1) -> Predictor:
    """Load the network on a runtime; see `check_runtime` for `auto`.

    Raises:
        ModelError: see `check_runtime`.
    """
    return _choose(model, _load_candidates(model, runtime, threads))


def load_ahead(model: PackedModel, runtime: str = "auto") -> Callable[[], Predictor]:
    """Begin to load the network on a thread of its own; call what comes back, once, to have it.

    Little of that is Python's work: a server that starts imports the rest of itself meanwhile. Only
    which candidate is the fastest is found out in the end, when nothing else is going on.

    Raises:
        ModelError: from what comes back, see `check_runtime`.
    """
    thread = ThreadPoolExecutor(1, thread_name_prefix="load")
    loading = thread.submit(_load_candidates, model, runtime, 1)
    thread.shutdown(wait=False)
    return lambda: _choose(model, loading.result())


def _load_candidates(model: PackedModel, runtime: str, threads: int) -> list[Predictor]:
    check_runtime(model, runtime)
    return [
        TorchPredictor(model, threads)
        if candidate == "torch"
        else OnnxPredictor(model, candidate, threads)
        for candidate in _candidates(model, runtime)
    ]


def _choose(model: PackedModel, predictors: list[Predictor]) -> Predictor:
    if len(predictors) == 1:
        return predictors[0]
    side = model.preprocessing.crop
    chosen = fastest(predictors, np.zeros((1, 3, side, side), np.float32))
    predictors.clear()
    trim_memory()  # that of the others
    return chosen


def _candidates(model: PackedModel, runtime: str) -> Sequence[str]:
    return (model.candidates or (model.runtime,)) if runtime == "auto" else (runtime,)


def fastest(
    predictors: Sequence[Predictor], batch: Floats, *, rounds: int = ROUNDS, budget: float = BUDGET
) -> Predictor:
    """Find out which predictor answers fastest: each one's best time of a few, taken in turn.

    Args:
        predictors: at least one; of equally fast ones the first is taken.
        batch: float32 [N, 3, H, W]; what it holds makes no difference.
        rounds: how often each answers, at most.
        budget: seconds after which no further round begins; the first is always run to its end.
    """
    best = [float("inf")] * len(predictors)
    start = time.perf_counter()
    for done in range(rounds):
        if done and time.perf_counter() - start > budget:
            break
        for index, predictor in enumerate(predictors):
            asked = time.perf_counter()
            predictor.logits(batch)
            best[index] = min(best[index], time.perf_counter() - asked)
    return predictors[best.index(min(best))]


def to_prediction(
    model: PackedModel,
    logits: Floats,
    typicality: float | None = None,
    unknown_below: float = UNKNOWN_BELOW,
) -> Prediction:
    """Turn the logits [classes] of one picture into the answer that is served: calibrated, named.

    This is the only place where logits become the probabilities that anybody gets. Whether the
    picture is `known` changes none of them; with `unknown_below` 0 every one is.
    """
    row = softmax(logits, model.calibration.temperature).tolist()
    named = dict(zip(model.labels, row, strict=True))
    # By the logits, as the gate compares labels: probabilities can round to a tie.
    label = model.labels[int(logits.argmax())]
    known = None if typicality is None else typicality > unknown_below
    return Prediction(label, named[label], named, known, typicality)
