"""A trained ResNet to its files: a state dict, a float32 ONNX graph and the head's weights."""

import logging
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.models.feature_extraction import create_feature_extractor

from antbee.artifact import FEATURES, INPUT, LOGITS
from antbee.errors import ModelError
from antbee.predictor import OUTPUT_NODES
from antbee.training.network import HEAD

OPSET: Final = 20


class _InOrder(nn.Module):
    """Gives the outputs as a tuple: the exporter may put a dictionary's in an order of its own."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = create_feature_extractor(network, OUTPUT_NODES)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        outputs = self.network(image)
        return outputs[LOGITS], outputs[FEATURES]


def export_weights(network: nn.Module, path: Path) -> None:
    """Write the state dict: the PyTorch artifact, loadable with `weights_only=True`."""
    state = {
        name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()
    }
    torch.save(state, path)


def export_head(network: nn.Module, path: Path) -> None:
    """Write the last layer's weights, float32 [classes, channels], in NumPy's own format.

    With the network's features they say which part of a picture speaks for which label.
    """
    weights = network.get_parameter(f"{HEAD}.weight")
    np.save(path, weights.detach().cpu().numpy().astype(np.float32), allow_pickle=False)


def export_onnx(network: nn.Module, path: Path, side: int) -> None:
    """Write the network as float32 ONNX: `image` [N, 3, side, side] to `logits` and `features`.

    Args:
        network: a torchvision ResNet.
        path: the file to write.
        side: height and width of the input, in pixels.

    Raises:
        ModelError: torch's exporter failed.
    """
    example = torch.zeros(2, 3, side, side)
    # The exporter reports its progress at this level; a failure is raised.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        torch.onnx.export(
            _InOrder(network).eval(),
            (example,),
            path,
            input_names=[INPUT],
            output_names=[LOGITS, FEATURES],
            dynamic_shapes=({0: torch.export.Dim("N")},),
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    except torch.onnx.errors.OnnxExporterError as error:
        raise ModelError(f"torch could not export this network to ONNX: {error}") from error
