"""Float32 networks to int8 ones."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper
from onnxruntime.quantization import quant_pre_process

from antbee.artifact import FEATURES, INT8, LOGITS, ONNX, POOLED, PackedModel
from antbee.packing.quantize import Quantization, quantize, rewrite_stem
from antbee.predictor import Floats, load_predictor


@pytest.fixture(scope="module")
def arrays() -> list[Floats]:
    """Make three inputs to calibrate on."""
    generator = np.random.default_rng(1)
    return [generator.standard_normal((3, 224, 224), np.float32) for _ in range(3)]


def operators(path: Path) -> dict[str, list[str]]:
    """Return what each kind of node reads its first input from."""
    graph = onnx.load(path).graph
    made_by = {name: node.op_type for node in graph.node for name in node.output}
    found: dict[str, list[str]] = {}
    for node in graph.node:
        found.setdefault(node.op_type, []).append(made_by.get(node.input[0], "input"))
    return found


def test_contract_is_kept(packed_int8: PackedModel) -> None:
    """The int8 network takes and gives what the float32 one does, for any number of pictures."""
    eight, single = (
        onnxruntime.InferenceSession(packed_int8.folder / name) for name in (INT8, ONNX)
    )

    image, reference = eight.get_inputs()[0], single.get_inputs()[0]
    assert (image.name, image.type, image.shape) == ("image", reference.type, reference.shape)
    assert [output.name for output in eight.get_outputs()] == ["logits", "features", "pooled"]
    assert {output.type for output in eight.get_outputs()} == {"tensor(float)"}


def test_answers_are_near(packed_int8: PackedModel) -> None:
    """What the int8 network gives follows what the float32 one does closely."""
    batch = np.random.default_rng(2).standard_normal((4, 3, 224, 224), np.float32)
    names = (LOGITS, FEATURES, POOLED)
    ours, theirs = (
        load_predictor(packed_int8, runtime).outputs(batch, names) for runtime in ("int8", "onnx")
    )

    assert np.corrcoef(ours[1].ravel(), theirs[1].ravel())[0, 1] > 0.99
    assert np.corrcoef(ours[2].ravel(), theirs[2].ravel())[0, 1] > 0.999
    assert np.abs(ours[0] - theirs[0]).max() < 0.1 * np.abs(theirs[0]).max()


def test_every_convolution_is_int8(packed_int8: PackedModel) -> None:
    """Every convolution reads 8-bit numbers; the last layer, which is cheap, reads float32."""
    found = operators(packed_int8.folder / INT8)

    assert set(found["Conv"]) == {"DequantizeLinear"}
    assert found["Gemm"] == ["ReduceMean"]


def test_weights_have_seven_bits(packed_int8: PackedModel) -> None:
    """No weight is beyond 7 bits, so that no processor's 16-bit sums overflow."""
    tensors = onnx.load(packed_int8.folder / INT8).graph.initializer
    weights = [onnx.numpy_helper.to_array(tensor) for tensor in tensors if len(tensor.dims) == 4]

    assert {array.dtype for array in weights} == {np.dtype(np.int8)}
    assert max(int(np.abs(array.astype(int)).max()) for array in weights) <= 64


def test_careful_way(
    packed: PackedModel,
    arrays: list[Floats],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Clipping and a float32 first convolution work; nothing is printed, nothing is left behind."""
    target = tmp_path / INT8
    quantize(
        packed.folder / ONNX, target, arrays, Quantization(2, percentile=99.9, float_stem=True)
    )

    assert operators(target)["Conv"].count("SpaceToDepth") == 1
    assert list(tmp_path.iterdir()) == [target]
    assert capfd.readouterr().out == ""


def test_ways_read_well() -> None:
    """A way to quantize is one line for a person."""
    assert str(Quantization(64)) == "the whole range of the activations on 64 pictures"
    assert str(Quantization(8, percentile=99.9, float_stem=True)) == (
        "99.9 % of the activations on 8 pictures, first convolution in float32"
    )


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


def test_rewritten_network_is_equal(packed: PackedModel, tmp_path: Path) -> None:
    """A ResNet answers the same after its first convolution was rewritten, rounding aside."""
    quant_pre_process(packed.folder / ONNX, tmp_path / "x.onnx", skip_symbolic_shape=True)
    original = onnx.load(tmp_path / "x.onnx")
    rewritten = rewrite_stem(onnx.load(tmp_path / "x.onnx"))
    batch = np.random.default_rng(0).standard_normal((2, 3, 224, 224), np.float32)

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
