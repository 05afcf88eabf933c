"""The network: torchvision's ResNet with as many outputs as there are labels."""

from typing import Final

import torchvision.models as zoo
from torch import nn

from antbee.training.arguments import ARCHITECTURES

__all__ = ["ARCHITECTURES", "HEAD", "build_model"]

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
