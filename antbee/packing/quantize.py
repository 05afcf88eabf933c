"""A float32 ONNX network to an int8 one, calibrated on pictures.

Knows recipes, and not how good their result is: that is the gate's business.
"""

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np
import onnx
from onnxruntime.quantization import (
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quant_pre_process,
    quantize_static,
)

from antbee.artifact import INPUT
from antbee.command import Bar
from antbee.packing.stem import rewrite_stem
from antbee.predictor import Floats


@dataclass(frozen=True)
class Recipe:
    """One way to quantize.

    Attributes:
        pictures: how many training pictures the activations are observed on, at most.
        percentile: how many of a hundred activations the 8 bits span; the rest is clipped. All of
            them if None.
        float_stem: leave the first convolution in float32; it sees the raw pixels, and its errors
            pass through every layer.
    """

    pictures: int
    percentile: float | None = None
    float_stem: bool = False

    def __str__(self) -> str:
        """Say it in a line."""
        span = "the whole range" if self.percentile is None else f"{self.percentile:g} %"
        stem = ", first convolution in float32" if self.float_stem else ""
        return f"{span} of the activations on {self.pictures} pictures{stem}"


# From the quickest to the most careful. ONNX Runtime's entropy method is not among them: it has as
# many bins as steps (128), so it clips nothing and gives what the whole range gives.
RECIPES: Final = (
    Recipe(64),
    Recipe(128, percentile=99.999),
    Recipe(64, float_stem=True),
    Recipe(128, percentile=99.999, float_stem=True),
)
MOST_PICTURES: Final = max(recipe.pictures for recipe in RECIPES)


def quantize(source: Path, target: Path, arrays: Sequence[Floats], recipe: Recipe) -> None:
    """Write an int8 network: static quantization, its inputs and outputs still float32.

    Convolutions and additions become int8; the mean over the map and the last layer, which cost
    next to nothing, stay in float32, so that the logits are not rounded to 256 steps.

    Args:
        source: the float32 network.
        target: the file to write; nothing else is left beside it.
        arrays: float32 [3, H, W] each, one or more; the first `recipe.pictures` are used.
        recipe: how.
    """
    arrays = arrays[: recipe.pictures]
    # ONNX Runtime reports on stdout, which belongs to the command's own data.
    with TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        prepared = Path(folder) / "prepared.onnx"
        # Symbolic shapes would need sympy, and a ResNet's are known without.
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
        network = rewrite_stem(onnx.load(prepared))
        onnx.save(network, prepared)
        with Bar("calibrating", len(arrays)) as bar:
            quantize_static(
                prepared,
                target,
                _Reader(arrays, bar),
                quant_format=QuantFormat.QDQ,
                # Unsigned activations with signed weights are what x86 multiplies fastest.
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                per_channel=True,
                # Weights of 7 bits: x86 processors without VNNI add pairs of products in 16 bits,
                # where 8 would overflow. So every processor gives the answers that were measured.
                reduce_range=True,
                nodes_to_exclude=_in_float32(network, recipe),
                **_method(recipe),
            )


def _in_float32(network: onnx.ModelProto, recipe: Recipe) -> list[str]:
    head = [node.name for node in network.graph.node if node.op_type in ("ReduceMean", "Gemm")]
    stem = next(node.name for node in network.graph.node if node.op_type == "Conv")
    return [*head, stem] if recipe.float_stem else head


def _method(recipe: Recipe) -> dict[str, object]:
    # By default every activation on every picture is held in memory at once: gigabytes. In strides
    # of one picture, one picture's are.
    options: dict[str, object] = {"CalibStridedMinMax": 1}
    if recipe.percentile is None:
        return {"calibrate_method": CalibrationMethod.MinMax, "extra_options": options}
    options["CalibPercentile"] = recipe.percentile
    return {"calibrate_method": CalibrationMethod.Percentile, "extra_options": options}


class _Reader:
    """What ONNX Runtime calls a `CalibrationDataReader`: hands over stretches of the pictures."""

    def __init__(self, arrays: Sequence[Floats], bar: Bar) -> None:
        self._arrays = arrays
        self._bar = bar
        self._rest = iter(arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def set_range(self, start_index: int, end_index: int) -> None:
        self._rest = iter(self._arrays[start_index:end_index])

    def get_next(self) -> dict[str, Floats] | None:
        array = next(self._rest, None)
        if array is None:
            return None
        self._bar.update()
        return {INPUT: array[np.newaxis]}
