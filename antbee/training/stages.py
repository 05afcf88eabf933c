"""A network in two parts: the stages that stay as they are, and the rest, which is trained.

Knows how torchvision's ResNet is put together. Knows nothing of pictures or optimizers.
"""

import copy
import itertools
from typing import Final

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from antbee.errors import SettingsError
from antbee.training.arguments import STAGES

_STEM: Final = ("conv1", "bn1", "relu", "maxpool")
_AUTO: Final = "layer3"
"""The last stage that is frozen unless somebody says otherwise. What comes before it finds edges,
textures and parts, which pictures of all kinds share (Yosinski et al. 2014, arXiv:1411.1792)."""


def split(model: nn.Module, freeze: str) -> tuple[nn.Module, nn.Module]:
    """Split a network after the stage `freeze`, one of `STAGES`; both parts are the model's own.

    The first part maps pictures to what the second maps to logits; with `none` it passes them on.
    """
    if freeze == "none":
        return nn.Identity(), model
    children = dict(model.named_children())
    frozen = [*_STEM, *STAGES[2 : STAGES.index(freeze) + 1]]
    rest = [module for name, module in children.items() if name not in frozen]
    first = [children[name] for name in frozen]
    return nn.Sequential(*first), nn.Sequential(*rest[:-1], nn.Flatten(), rest[-1])


def choose_stage(freeze: str, missing: list[str] | None) -> str:
    """Settle `auto`: what was trained before is frozen as far as layer3, what was not is trained.

    Args:
        freeze: `auto` or one of `STAGES`.
        missing: the tensors that start at random; None if all do.

    Raises:
        SettingsError: a stage that starts at random was to be frozen.
    """
    known = [stage for stage in STAGES if not _random(stage, missing)]
    if freeze == "auto":
        return known[-1] if _AUTO not in known else _AUTO
    if freeze not in known:
        raise SettingsError(
            f"--freeze {freeze} would keep random weights, for the starting weights have none for "
            f"that part: freeze {known[-1]}, or leave --freeze out"
        )
    return freeze


def _random(stage: str, missing: list[str] | None) -> bool:
    if missing is None:
        return stage != "none"
    parts = {"stem": _STEM}
    frozen = [
        part for one in STAGES[1 : STAGES.index(stage) + 1] for part in parts.get(one, (one,))
    ]
    return any(name.partition(".")[0] in frozen for name in missing)


def fold(part: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Copy a frozen part to compute faster: batch norms in the convolutions before them.

    In evaluation mode a batch norm is a factor and a summand for each channel, which the
    convolution's own weights can hold (Jacob et al. 2017, arXiv:1712.05877, section 3.2).
    """
    copied = copy.deepcopy(part).eval()
    for module in copied.modules():
        _fold_children(module)
    return copied.to(dtype=dtype, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def _fold_children(module: nn.Module) -> None:
    children = list(module.named_children())
    for (conv_name, conv), (norm_name, norm) in itertools.pairwise(children):
        if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            setattr(module, conv_name, fuse_conv_bn_eval(conv, norm))
            setattr(module, norm_name, nn.Identity())
