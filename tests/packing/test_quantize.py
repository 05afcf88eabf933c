"""Float32 networks to int8 ones."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from antbee.artifact import INT8, ONNX, PackedModel
from antbee.packing.quantize import Recipe, quantize
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
    assert [output.name for output in eight.get_outputs()] == ["logits", "features"]
    assert {output.type for output in eight.get_outputs()} == {"tensor(float)"}


def test_answers_are_near(packed_int8: PackedModel) -> None:
    """Logits and features of the int8 network follow those of the float32 one closely."""
    batch = np.random.default_rng(2).standard_normal((4, 3, 224, 224), np.float32)
    ours, theirs = (load_predictor(packed_int8, name).outputs(batch) for name in ("int8", "onnx"))

    assert np.corrcoef(ours[1].ravel(), theirs[1].ravel())[0, 1] > 0.99
    assert np.abs(ours[0] - theirs[0]).max() < 0.1 * np.abs(theirs[0]).max()


def test_every_convolution_is_int8(packed_int8: PackedModel) -> None:
    """Every convolution reads 8-bit numbers; the last layer, which is cheap, reads float32."""
    found = operators(packed_int8.folder / INT8)

    assert set(found["Conv"]) == {"DequantizeLinear"}
    assert found["Gemm"] == ["Reshape"]


def test_weights_have_seven_bits(packed_int8: PackedModel) -> None:
    """No weight is beyond 7 bits, so that no processor's 16-bit sums overflow."""
    tensors = onnx.load(packed_int8.folder / INT8).graph.initializer
    weights = [onnx.numpy_helper.to_array(tensor) for tensor in tensors if len(tensor.dims) == 4]

    assert {array.dtype for array in weights} == {np.dtype(np.int8)}
    assert max(int(np.abs(array.astype(int)).max()) for array in weights) <= 64


def test_careful_recipe(
    packed: PackedModel,
    arrays: list[Floats],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Clipping and a float32 first convolution work; nothing is printed, nothing is left behind."""
    target = tmp_path / INT8
    quantize(packed.folder / ONNX, target, arrays, Recipe(2, percentile=99.9, float_stem=True))

    assert operators(target)["Conv"].count("SpaceToDepth") == 1
    assert list(tmp_path.iterdir()) == [target]
    assert capfd.readouterr().out == ""


def test_recipes_read_well() -> None:
    """A recipe is one line for a person."""
    assert str(Recipe(64)) == "the whole range of the activations on 64 pictures"
    assert str(Recipe(8, percentile=99.9, float_stem=True)) == (
        "99.9 % of the activations on 8 pictures, first convolution in float32"
    )
