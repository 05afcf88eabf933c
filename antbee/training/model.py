"""The network: torchvision's ResNet with as many outputs as there are labels."""

from typing import Final

import torchvision.models as zoo
from torch import nn

from antbee.errors import CheckpointError
from antbee.training.arguments import ARCHITECTURES
from antbee.training.checkpoint import Checkpoint

__all__ = ["ARCHITECTURES", "HEAD", "build_model", "restore_model"]

HEAD: Final = "fc"
"""The last layer, the only one whose size depends on the labels."""


def build_model(arch: str, classes: int) -> nn.Module:
    """Build a network with random weights, drawn from torch's global generator.

    The network maps float32 [N, 3, 224, 224] to logits [N, classes].

    Args:
        arch: one of `ARCHITECTURES` (He et al. 2015, arXiv:1512.03385).
        classes: number of labels.
    """
    if arch not in ARCHITECTURES:
        raise ValueError(f"{arch!r} is not one of {', '.join(ARCHITECTURES)}")
    model: nn.Module = getattr(zoo, arch)(weights=None, num_classes=classes)
    return model


def restore_model(checkpoint: Checkpoint) -> nn.Module:
    """Build the network of a checkpoint, with its weights.

    Raises:
        CheckpointError: the weights are another network's.
    """
    network = build_model(checkpoint.arch, len(checkpoint.labels))
    try:
        network.load_state_dict(checkpoint.model)
    except RuntimeError as error:
        raise CheckpointError(
            f"the checkpoint's weights are not those of a {checkpoint.arch} "
            f"with {len(checkpoint.labels)} labels"
        ) from error
    return network
