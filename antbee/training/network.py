"""The network: torchvision's ResNet, which part of it is frozen, and the weights it starts from.

Knows how a ResNet is put together. Knows nothing of pictures or optimizers.
"""

import copy
import http.client
import itertools
import re
import socket
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
import torchvision.models as zoo
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torchvision.models import get_model_weights

from antbee.command import printable, say
from antbee.errors import CheckpointError, SettingsError
from antbee.files import sha256_of
from antbee.training.arguments import ARCHITECTURES, STAGES
from antbee.training.checkpoint import Checkpoint, load_tensors

HEAD: Final = "fc"
"""The last layer, the only one whose size depends on the labels."""
PATIENCE: Final = 15.0
"""Seconds without an answer after which the download is given up."""
_STEM: Final = ("conv1", "bn1", "relu", "maxpool")
_AUTO: Final = "layer3"
"""The last stage that is frozen unless somebody says otherwise. What comes before it finds edges,
textures and parts, which pictures of all kinds share (Yosinski et al. 2014, arXiv:1411.1792)."""
_COUNTER: Final = "num_batches_tracked"
"""Old files lack it, and nothing here uses it."""
_NAMED: Final = 12
"""Layers that are named before they are only counted."""


def build_model(arch: str, classes: int) -> nn.Module:
    """Build one of `ARCHITECTURES` (He et al. 2015, arXiv:1512.03385) with random weights.

    It maps float32 [N, 3, side, side] to logits [N, classes]. The weights are drawn from torch's
    global generator.
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


def choose_stage(freeze: str, missing: list[str] | None) -> str:
    """Settle `auto`: what was trained before is frozen as far as layer3, what was not is trained.

    `missing` names the tensors that start at random; it is None if all do.

    Raises:
        SettingsError: a stage that starts at random was to be frozen.
    """
    at_random = None if missing is None else {name.partition(".")[0] for name in missing}
    known = ["none"]  # and every stage before the first that starts at random, even in part
    for stage in STAGES[1:]:
        if at_random is None or at_random.intersection(_STEM if stage == "stem" else (stage,)):
            break
        known.append(stage)
    if freeze == "auto":
        return _AUTO if _AUTO in known else known[-1]
    if freeze not in known:
        raise SettingsError(
            f"--freeze {freeze} would keep random weights, for the starting weights have none for "
            f"that part: freeze {known[-1]}, or leave --freeze out"
        )
    return freeze


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


def fold(part: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Copy a frozen part to compute faster: batch norms in the convolutions before them.

    In evaluation mode a batch norm is a factor and a summand for each channel, which the
    convolution's own weights can hold (Jacob et al. 2017, arXiv:1712.05877, section 3.2).
    """
    copied = copy.deepcopy(part).eval()
    for module in list(copied.modules()):
        children = list(module.named_children())
        for (conv_name, conv), (norm_name, norm) in itertools.pairwise(children):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(module, conv_name, fuse_conv_bn_eval(conv, norm))
                setattr(module, norm_name, nn.Identity())
    return copied.to(dtype=dtype, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def load_weights(model: nn.Module, arch: str, source: str) -> dict[str, Any]:
    """Load `imagenet`, `none` or a file into the model, and tell what was and was not loaded.

    A file may hold a whole or partial state dict, or hide it where `find_state_dict` looks. What it
    lacks stays as it is in the model. A head of another size is left out.

    Returns:
        Where the weights came from: `what`, and for a file `file` (its name), `sha256`, and the
        names of tensors that are `missing` in it, `unexpected` in it, and `dropped`.

    Raises:
        CheckpointError: the file cannot be had, or does not fit the network.
    """
    if source == "none":
        return {"what": "none"}
    path = _imagenet_file(arch) if source == "imagenet" else Path(source)
    own = model.state_dict()
    where, prefix, found = find_state_dict(load_tensors(path), own)
    if not found:
        raise CheckpointError(f"{path} holds no state dict: tensors by name")
    head = [name for name in found if name.startswith(f"{HEAD}.")]
    fits = all(name in own and found[name].shape == own[name].shape for name in head)
    # A thousand labels of one's own are not ImageNet's.
    dropped = head if source == "imagenet" or not fits else []
    tensors = {name: tensor for name, tensor in found.items() if name not in dropped}
    if not own.keys() & tensors.keys():
        names = ", ".join(sorted(found)[:3])
        raise CheckpointError(
            f"{path} has no tensor that {arch} has: it is of another network, with {names}, ..."
        )
    for name, tensor in own.items():
        if name in tensors and tensors[name].shape != tensor.shape:
            raise CheckpointError(
                f"{path} does not fit {arch}: {name} is {list(tensors[name].shape)} in the file "
                f"and {list(tensor.shape)} in the network"
            )
        if name in tensors and not tensors[name].isfinite().all():
            raise CheckpointError(
                f"{path} has numbers in {name} that are none (NaN or infinite), so that what saved "
                "it went wrong: give earlier weights"
            )
    missing, unexpected = model.load_state_dict(tensors, strict=False)
    provenance = {
        "what": "imagenet" if source == "imagenet" else "file",
        "file": printable(path.name),
        "sha256": sha256_of(path),
        "missing": [name for name in missing if not name.endswith(_COUNTER)],
        "unexpected": sorted(unexpected),
        "dropped": dropped,
    }
    taken = [f"of {where}"] if where else []
    taken += [f"without {prefix} in front of their names"] if prefix else []
    say(f"weights: {path.name}" + (f", {', '.join(taken)}" if taken else ""))
    for key, meaning in (
        ("dropped", "left out, being for other labels"),
        ("missing", "missing in the file, so they start at random"),
        ("unexpected", "unexpected in the file, so not used"),
    ):
        layers = Counter(
            block[0] if (block := re.match(r"layer\d+\.\d+", name)) else name.partition(".")[0]
            for name in provenance[key]
        )
        listed = [f"{layer} ({count})" for layer, count in layers.items()]
        if len(listed) > _NAMED:
            listed[_NAMED:] = [f"and {len(listed) - _NAMED} more"]
        if listed:
            say(f"  {meaning}: {', '.join(listed)}")
    return provenance


def find_state_dict(
    content: object, own: Mapping[str, Tensor]
) -> tuple[str, str, dict[str, Tensor]]:
    """Find what fits a network best: tensors by name, or such a dictionary in a dictionary.

    Programs wrap a state dict in another, beside the optimizer's, and wrap the network in another,
    so that its name comes before each tensor's.

    Args:
        content: of a file.
        own: the network's state dict.

    Returns:
        The key it was found under, empty at the top; the prefix that was taken off its names; and
        the tensors, with the names that are left. None if there is no tensor by name.
    """
    best: tuple[str, str, dict[str, Tensor]] = ("", "", {})
    most = -1
    inner = content.items() if isinstance(content, dict) else ()
    for key, value in [("", content), *inner]:
        if not isinstance(key, str) or not isinstance(value, dict):
            continue
        tensors = {
            name: tensor
            for name, tensor in value.items()
            if isinstance(name, str) and isinstance(tensor, Tensor) and is_plain(tensor)
        }
        # The parts that a name may have in front of it, as module. or module.backbone.
        # Of those that fit as well the first in the file is taken, whenever it is read.
        prefixes = dict.fromkeys(
            "".join(f"{part}." for part in name.split(".")[:depth])
            for name in tensors
            for depth in range(name.count(".") + 1)
        )
        for prefix in sorted(prefixes, key=len):
            fitting = sum(prefix + name in tensors for name in own)
            if fitting > most:
                cut = {
                    name.removeprefix(prefix): tensor
                    for name, tensor in tensors.items()
                    if name.startswith(prefix)
                }
                most, best = fitting, (key, prefix, cut)
    return best


def is_plain(tensor: Tensor) -> bool:
    """Tell whether a tensor is numbers side by side: not quantized, sparse, or without any."""
    return tensor.layout is torch.strided and not (tensor.is_quantized or tensor.is_meta)


def _imagenet_file(arch: str) -> Path:
    """Torchvision's file, from torch's cache or the network.

    Its name ends in the first digits of its SHA-256, so that a damaged one in the cache is
    noticed and fetched again.
    """
    url: str = get_model_weights(arch).DEFAULT.url
    path = Path(torch.hub.get_dir(), "checkpoints", url.rpartition("/")[2])
    digest = path.stem.rpartition("-")[2]
    if path.is_file() and sha256_of(path).startswith(digest):
        return path
    say(f"downloading {url}")
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(PATIENCE)  # torch's download sets none of its own
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Writes to another name, checks the sum, and renames.
        torch.hub.download_url_to_file(url, str(path), digest, progress=sys.stderr.isatty())
    except (OSError, http.client.HTTPException, RuntimeError) as error:
        raise CheckpointError(
            f"the ImageNet weights could not be downloaded ({error}): give a file of weights with "
            "--weights FILE, or start from random ones with --weights none"
        ) from error
    finally:
        socket.setdefaulttimeout(before)
    return path
