"""A float32 ONNX network to an int8 one, calibrated on pictures.

Knows ways to quantize, and not how good their result is: that is the gate's business.
"""

import contextlib
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np
import onnx
from onnx import ModelProto, helper, numpy_helper
from onnxruntime.quantization import (
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quant_pre_process,
    quantize_static,
)

from antbee.artifact import INPUT
from antbee.command import progress_bar
from antbee.predictor import Floats

BLOCKS: Final = "image_blocks"
_STEM: Final = {"strides": [2, 2], "pads": [3, 3, 3, 3], "dilations": [1, 1], "group": 1}
_REWRITTEN: Final = {"kernel_shape": [4, 4], "pads": [2, 2, 1, 1]}
"""The rest is as ONNX has it by default: stride 1, no dilation, one group."""


@dataclass(frozen=True)
class Quantization:
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
QUANTIZATIONS: Final = (
    Quantization(64),
    Quantization(128, percentile=99.999),
    Quantization(64, float_stem=True),
    Quantization(128, percentile=99.999, float_stem=True),
)
MOST_PICTURES: Final = max(quantization.pictures for quantization in QUANTIZATIONS)


def quantize(
    source: Path, target: Path, arrays: Sequence[Floats], quantization: Quantization
) -> None:
    """Write an int8 network: static quantization, its inputs and outputs still float32.

    Convolutions and additions become int8; the mean over the map and the last layer, which cost
    next to nothing, stay in float32, so that the logits are not rounded to 256 steps. Nothing but
    `target` is written.

    `arrays` are one or more float32 [3, H, W]; the first `quantization.pictures` of them are used.
    """
    arrays = arrays[: quantization.pictures]
    method = CalibrationMethod.MinMax
    # By default every activation on every picture is in memory at once: gigabytes. In strides
    # of one picture, one picture's are.
    options: dict[str, object] = {"CalibStridedMinMax": 1}
    if quantization.percentile is not None:
        method = CalibrationMethod.Percentile
        options["CalibPercentile"] = quantization.percentile
    # ONNX Runtime reports on stdout, which belongs to the command's own data.
    with TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        prepared = Path(folder) / "prepared.onnx"
        # Symbolic shapes would need sympy, and a ResNet's are known without.
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
        network = rewrite_stem(onnx.load(prepared))
        onnx.save(network, prepared)
        nodes = network.graph.node
        in_float32 = [node.name for node in nodes if node.op_type in ("ReduceMean", "Gemm")]
        if quantization.float_stem:
            in_float32.append(next(node.name for node in nodes if node.op_type == "Conv"))
        with progress_bar("calibrating", len(arrays)) as bar:
            quantize_static(
                prepared,
                target,
                _Reader(arrays, bar.update),
                quant_format=QuantFormat.QDQ,
                # Unsigned activations with signed weights are what x86 multiplies fastest.
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                per_channel=True,
                # Weights of 7 bits: x86 processors without VNNI add pairs of products in 16 bits,
                # where 8 would overflow. So every processor gives the answers that were measured.
                reduce_range=True,
                nodes_to_exclude=in_float32,
                calibrate_method=method,
                extra_options=options,
            )


@dataclass
class _Reader:
    """What ONNX Runtime calls a `CalibrationDataReader`: hands over stretches of the pictures."""

    arrays: Sequence[Floats]
    advance: Callable[[int], object]
    rest: Iterator[Floats] = field(init=False)

    def __len__(self) -> int:
        return len(self.arrays)

    def set_range(self, start_index: int, end_index: int) -> None:
        self.rest = iter(self.arrays[start_index:end_index])
        self.advance(end_index - start_index)

    def get_next(self) -> dict[str, Floats] | None:
        array = next(self.rest, None)
        return None if array is None else {INPUT: array[np.newaxis]}


def rewrite_stem(model: ModelProto) -> ModelProto:
    """Replace a 7 by 7 convolution of stride 2 on three channels by one that reads 2 by 2 blocks.

    A convolution kernel fills its registers with channels, of which a picture has three. With every
    block of 2 by 2 pixels laid out as 12 channels, a 4 by 4 convolution of stride 1 computes the
    same sums: position 2i + k - 3 of the picture is, with k + 1 = 2a + b, row b of block i + a - 2.
    TensorFlow's compiler for TPUs does the same in its space-to-depth pass.

    Args:
        model: its batch normalisation folded; changed in place.

    Returns:
        The rewritten model with its shapes inferred anew; `model` itself where it starts otherwise
        or its pictures have an odd side.
    """
    graph = model.graph
    stem = next((node for node in graph.node if INPUT in node.input), None)
    if stem is None or stem.op_type != "Conv":
        return model
    image = next(value for value in graph.input if value.name == INPUT)
    sides = [axis.dim_value for axis in image.type.tensor_type.shape.dim[2:]]
    attributes = {one.name: helper.get_attribute_value(one) for one in stem.attribute}
    weights = next(tensor for tensor in graph.initializer if tensor.name == stem.input[1])
    kernel = numpy_helper.to_array(weights)
    if (
        not all(side and side % 2 == 0 for side in sides)
        or any(attributes.get(name) != value for name, value in _STEM.items())
        or kernel.shape[1:] != (3, 7, 7)
    ):
        return model

    # The kernel, [out, 3, 7, 7], to [out, 12, 4, 4] in the channel order of ONNX's SpaceToDepth.
    padded = np.pad(kernel, ((0, 0), (0, 0), (1, 0), (1, 0)))
    split = padded.reshape(-1, 3, 4, 2, 4, 2)  # out, channel, block row, row, block column, column
    blocked = np.ascontiguousarray(split.transpose(0, 3, 5, 1, 2, 4).reshape(-1, 12, 4, 4))
    weights.CopyFrom(numpy_helper.from_array(blocked, weights.name))
    stem.input[0] = BLOCKS
    del stem.attribute[:]
    stem.attribute.extend(helper.make_attribute(name, value) for name, value in _REWRITTEN.items())
    blocks = helper.make_node("SpaceToDepth", [INPUT], [BLOCKS], name=BLOCKS, blocksize=2)
    graph.node.insert(0, blocks)
    del graph.value_info[:]
    return onnx.shape_inference.infer_shapes(model)
