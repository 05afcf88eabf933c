"""The first convolution, rewritten."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import ModelProto, TensorProto, helper, numpy_helper
from onnxruntime.quantization import quant_pre_process

from antbee.packing.export import export_onnx
from antbee.packing.stem import rewrite_stem
from antbee.predictor import Floats
from antbee.training.network import build_model


def answers(network: ModelProto, batch: Floats) -> list[Floats]:
    """Run a network."""
    session = onnxruntime.InferenceSession(network.SerializeToString())
    outputs: list[Floats] = session.run(None, {"image": batch})
    return outputs


def convolution(side: int, channels: int = 3, size: int = 7, stride: int = 2) -> ModelProto:
    """Make a network of one convolution."""
    kernel = np.ones((2, channels, size, size), np.float32)
    node = helper.make_node(
        "Conv",
        ["image", "kernel"],
        ["out"],
        kernel_shape=[size, size],
        strides=[stride, stride],
        pads=[size // 2] * 4,
        dilations=[1, 1],
        group=1,
    )
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", channels, side, side])
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, ["N", 2, None, None])
    weights = [numpy_helper.from_array(kernel, "kernel")]
    return helper.make_model(helper.make_graph([node], "one", [image], [out], weights))


def test_rewritten_network_is_equal(tmp_path: Path) -> None:
    """A ResNet answers the same after its first convolution was rewritten, rounding aside."""
    torch.manual_seed(0)
    export_onnx(build_model("resnet18", 3), tmp_path / "x.onnx", 64)
    quant_pre_process(tmp_path / "x.onnx", tmp_path / "x.onnx", skip_symbolic_shape=True)
    original = onnx.load(tmp_path / "x.onnx")
    rewritten = rewrite_stem(onnx.load(tmp_path / "x.onnx"))
    batch = np.random.default_rng(0).standard_normal((3, 3, 64, 64), np.float32)

    onnx.checker.check_model(rewritten, full_check=True)
    assert [node.op_type for node in rewritten.graph.node[:2]] == ["SpaceToDepth", "Conv"]
    for ours, theirs in zip(answers(rewritten, batch), answers(original, batch), strict=True):
        assert np.abs(ours - theirs).max() <= 1e-5 * np.abs(theirs).max()


@pytest.mark.parametrize(
    "network",
    [
        convolution(33),
        convolution(32, channels=4),
        convolution(32, size=5),
        convolution(32, stride=1),
    ],
    ids=["odd side", "four channels", "5 by 5", "stride 1"],
)
def test_other_beginnings_are_left_alone(network: ModelProto) -> None:
    """A network that begins in another way stays as it is."""
    before = network.SerializeToString()

    assert rewrite_stem(network).SerializeToString() == before
