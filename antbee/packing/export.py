"""A network to the packed model's files: its weights, its last layer, and an ONNX graph.

The graph is written here, node by node: torch's exporter takes seconds to load, and to find out
what is known of a ResNet. Whether it answers as PyTorch does is the gate's business.
"""

import io
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper
from torch import nn

from antbee.artifact import FEATURES, INPUT, LOGITS, POOLED
from antbee.training.network import HEAD

OPSET: Final = 20
IR_VERSION: Final = 10
"""Of the file's format: the version that came with these operators, for older readers."""
STAGES: Final = ("layer1", "layer2", "layer3", "layer4")


def export_weights(network: nn.Module, path: Path) -> None:
    """Write the state dict: the PyTorch artifact, loadable with `weights_only=True`."""
    state = {
        name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()
    }
    buffer = io.BytesIO()  # torch's own writing turns a full disk into an error of its own
    torch.save(state, buffer)
    path.write_bytes(buffer.getbuffer())


def export_head(network: nn.Module, path: Path) -> None:
    """Write the last layer's weights, float32 [classes, channels], in NumPy's own format.

    With the network's features they say which part of a picture speaks for which label.
    """
    weights = network.get_parameter(f"{HEAD}.weight")
    np.save(path, weights.detach().cpu().numpy().astype(np.float32), allow_pickle=False)


def export_onnx(network: nn.Module, path: Path, side: int, pooled: str | None = None) -> None:
    """Write a torchvision ResNet as ONNX: `image` [N, 3, side, side] to `logits` and `features`.

    With a stage `pooled`, there is an output of that name, too: the stage's channel means. All of
    them are float32; `side` is in pixels. It computes what the network does in evaluation mode
    (He et al. 2015, arXiv:1512.03385; torchvision's strides).
    """
    graph = _Graph(network)
    value = graph.add("Relu", "relu", graph.convolve("conv1", "bn1", INPUT))
    pool: Any = network.get_submodule("maxpool")
    window = {"kernel_shape": [pool.kernel_size] * 2, "strides": [pool.stride] * 2}
    value = graph.add("MaxPool", "maxpool", value, **window, pads=[pool.padding] * 4)
    for stage in STAGES:
        *others, last = (name for name, _ in network.get_submodule(stage).named_children())
        for name in others:
            value = graph.add_block(f"{stage}.{name}", value, f"{stage}.{name}.relu")
        end = FEATURES if stage == STAGES[-1] else f"{stage}.{last}.relu"
        value = graph.add_block(f"{stage}.{last}", value, end)
        if stage == pooled:
            graph.add_mean(value, POOLED)
    weights = [graph.keep(f"{HEAD}.{name}") for name in ("weight", "bias")]
    graph.add("Gemm", LOGITS, graph.add_mean(value, "avgpool"), *weights, transB=1)

    image = helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["N", 3, side, side])
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
        for name in (LOGITS, FEATURES, *([POOLED] if pooled else []))
    ]
    model = helper.make_model(
        helper.make_graph(graph.nodes, "resnet", [image], outputs, graph.weights),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="antbee",
    )
    # The shapes of the outputs are inferred; those of all that lies between need no place.
    model = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    del model.graph.value_info[:]
    path.write_bytes(model.SerializeToString())


class _Graph:
    """The nodes and weights of a network's graph so far; a node is called after its output."""

    def __init__(self, network: nn.Module) -> None:
        self.nodes: list[NodeProto] = []
        self.weights: list[TensorProto] = []
        self._network = network
        self._tensors = network.state_dict()

    def add(self, kind: str, output: str, *inputs: str, **attributes: Any) -> str:  # noqa: ANN401 - ONNX's own variety
        """Add a node and return what its output is called."""
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def keep(self, name: str, array: NDArray[Any] | None = None) -> str:
        """Add a weight, by default the network's of this name, and return its name."""
        array = self._tensors[name].detach().cpu().numpy() if array is None else array
        self.weights.append(numpy_helper.from_array(array, name))
        return name

    def add_mean(self, value: str, output: str) -> str:
        """Add the mean over a map: [N, channels]."""
        axes = self.keep(f"{output}.axes", np.array([2, 3]))
        return self.add("ReduceMean", output, value, axes, keepdims=0)

    def add_block(self, name: str, value: str, output: str) -> str:
        """Add a residual block: two or three convolutions, and a shortcut round them."""
        shortcut, inner = value, value
        block = dict(self._network.get_submodule(name).named_children())
        if "downsample" in block:
            shortcut = self.convolve(f"{name}.downsample.0", f"{name}.downsample.1", value)
        depth = sum(isinstance(module, nn.Conv2d) for module in block.values())
        for number in range(1, depth + 1):
            inner = self.convolve(f"{name}.conv{number}", f"{name}.bn{number}", inner)
            if number < depth:
                inner = self.add("Relu", f"{name}.relu{number}", inner)
        return self.add("Relu", output, self.add("Add", f"{name}.add", inner, shortcut))

    def convolve(self, name: str, norm_name: str, value: str) -> str:
        """Add a convolution without a bias, the batch normalisation that follows folded into it."""
        convolution: Any = self._network.get_submodule(name)
        norm: Any = self._network.get_submodule(norm_name)
        kernel, gamma, beta, mean, variance = (
            tensor.detach().cpu().double().numpy()
            for tensor in (
                convolution.weight,
                norm.weight,
                norm.bias,
                norm.running_mean,
                norm.running_var,
            )
        )
        scale = gamma / np.sqrt(variance + norm.eps)
        weight = self.keep(f"{name}.weight", (kernel * scale[:, None, None, None]).astype("f4"))
        bias = self.keep(f"{name}.bias", (beta - mean * scale).astype("f4"))
        return self.add(
            "Conv",
            name,
            value,
            weight,
            bias,
            kernel_shape=list(convolution.kernel_size),
            strides=list(convolution.stride),
            pads=list(convolution.padding) * 2,
            dilations=list(convolution.dilation),
            group=convolution.groups,
        )
