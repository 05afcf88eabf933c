"""Checkpoints to packed models: the files, and what `model.json` says of them."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from antbee.artifact import HEAD, ONNX, WEIGHTS, PackedModel, read_model, write_model
from antbee.packing.export import export_onnx, export_weights
from antbee.packing.gate import compare
from antbee.predictor import load_predictor
from antbee.training.network import build_model


def _shape(value: onnx.ValueInfoProto) -> list[int | str]:
    return [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]


def test_graph_keeps_the_contract(packed: PackedModel) -> None:
    """The graph has one input and three outputs, named and shaped as the packed model promises."""
    graph = onnx.load(packed.folder / ONNX).graph
    values = {value.name: _shape(value) for value in (*graph.input, *graph.output)}

    assert list(values) == ["image", "logits", "features", "pooled"]
    assert values["image"] == ["N", 3, 224, 224]
    assert values["logits"] == ["N", 3]
    assert values["features"][1:] == [512, 7, 7]
    assert values["pooled"][1:] == [256]


def test_graph_is_one_valid_file(packed: PackedModel) -> None:
    """The graph passes ONNX's own checker and has no weights elsewhere."""
    onnx.checker.check_model(str(packed.folder / ONNX), full_check=True)

    assert {path.name for path in packed.folder.iterdir()} == {"model.json", ONNX, WEIGHTS, HEAD}


def test_weights_are_plain_tensors(packed: PackedModel) -> None:
    """The state dict loads without unpickling anything but tensors."""
    state = torch.load(packed.folder / WEIGHTS, weights_only=True)

    assert set(state) == set(build_model("resnet18", 3).state_dict())


# ResNet-34 has the blocks of ResNet-18, which all the other tests pack.
@pytest.mark.slow
@pytest.mark.parametrize("arch", ["resnet34", "resnet50"])
def test_every_architecture_agrees_with_torch(arch: str, tmp_path: Path) -> None:
    """Larger ResNets export to graphs that agree with PyTorch, too."""
    torch.manual_seed(0)
    network = build_model(arch, 5)
    export_weights(network, tmp_path / WEIGHTS)
    export_onnx(network, tmp_path / ONNX, 224)
    write_model(PackedModel(arch, tuple("abcde"), "onnx", folder=tmp_path))
    predictors = {name: load_predictor(read_model(tmp_path), name) for name in ("torch", "onnx")}
    arrays = np.random.default_rng(0).standard_normal((2, 3, 224, 224), np.float32)

    assert compare(predictors, [(array, 0) for array in arrays])[0][1].exact
