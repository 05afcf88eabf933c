"""The weights that training starts from: torchvision's for ImageNet, a file's, or none."""

import http.client
import re
import socket
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import torch.hub
from torch import Tensor, nn
from torchvision.models import get_model_weights

from antbee.command import say
from antbee.errors import CheckpointError
from antbee.files import sha256_of
from antbee.training.checkpoint import is_checkpoint, load_tensors
from antbee.training.model import HEAD

PATIENCE: Final = 15.0
"""Seconds without an answer after which the download is given up."""
_COUNTER: Final = "num_batches_tracked"
"""Old files lack it, and nothing here uses it."""
_NAMED: Final = 12


def load_weights(model: nn.Module, arch: str, source: str) -> dict[str, Any]:
    """Load `imagenet`, `none` or a file into the model, and tell what was and was not loaded.

    A file may hold part of a state dict, or be a checkpoint of ours. What it lacks stays as it
    is in the model. A head of another size is left out.

    Returns:
        Where the weights came from: `what`, and for a file `file` (its name), `sha256`, and the
        names of tensors that are `missing` in it, `unexpected` in it, and `dropped`.

    Raises:
        CheckpointError: the file cannot be had, or does not fit the network.
    """
    if source == "none":
        return {"what": "none"}
    path = _imagenet_file(arch) if source == "imagenet" else Path(source)
    tensors = _read_state_dict(path)
    dropped = _drop_other_head(model, tensors, always=source == "imagenet")
    _check_fit(path, arch, model, tensors)
    missing, unexpected = model.load_state_dict(tensors, strict=False)
    provenance = {
        "what": "imagenet" if source == "imagenet" else "file",
        "file": path.name,
        "sha256": sha256_of(path),
        "missing": [name for name in missing if not name.endswith(_COUNTER)],
        "unexpected": sorted(unexpected),
        "dropped": dropped,
    }
    _tell(provenance)
    return provenance


def _read_state_dict(path: Path) -> dict[str, Tensor]:
    state = load_tensors(path)
    tensors = state["model"] if is_checkpoint(state) else state
    if not isinstance(tensors, dict) or not all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in tensors.items()
    ):
        raise CheckpointError(f"{path} holds no state dict: tensors by name")
    return dict(tensors)


def _drop_other_head(model: nn.Module, tensors: dict[str, Tensor], *, always: bool) -> list[str]:
    own = model.state_dict()
    head = [name for name in tensors if name.startswith(f"{HEAD}.")]
    # A thousand labels of one's own are not ImageNet's.
    if not always and all(name in own and tensors[name].shape == own[name].shape for name in head):
        return []
    for name in head:
        del tensors[name]
    return head


def _check_fit(path: Path, arch: str, model: nn.Module, tensors: dict[str, Tensor]) -> None:
    own = model.state_dict()
    common = own.keys() & tensors.keys()
    if not common:
        raise CheckpointError(f"{path} has no tensor that {arch} has: is it another network's?")
    for name in own:
        if name in common and own[name].shape != tensors[name].shape:
            raise CheckpointError(
                f"{path} does not fit {arch}: {name} is {list(tensors[name].shape)} in the file "
                f"and {list(own[name].shape)} in the network"
            )


def _tell(provenance: dict[str, Any]) -> None:
    say(f"weights: {provenance['file']}")
    for key, meaning in (
        ("dropped", "left out, being for other labels"),
        ("missing", "missing in the file, so they start at random"),
        ("unexpected", "unexpected in the file, so not used"),
    ):
        if provenance[key]:
            say(f"  {meaning}: {_by_layer(provenance[key])}")


def _by_layer(names: Iterable[str]) -> str:
    counts = Counter(_layer(name) for name in names)
    listed = [f"{layer} ({count})" for layer, count in counts.items()]
    more = [f"and {len(listed) - _NAMED} more"] if len(listed) > _NAMED else []
    return ", ".join(listed[:_NAMED] + more)


def _layer(name: str) -> str:
    found = re.match(r"layer\d+\.\d+", name)
    return found.group() if found else name.partition(".")[0]


def _imagenet_file(arch: str) -> Path:
    """Torchvision's file, from torch's cache or the network.

    Its name ends in the first digits of its SHA-256, so that a damaged one in the cache is
    noticed and fetched again.
    """
    url: str = get_model_weights(arch).DEFAULT.url
    path = Path(torch.hub.get_dir(), "checkpoints", url.rpartition("/")[2])
    digest = path.stem.rpartition("-")[2]
    if not (path.is_file() and sha256_of(path).startswith(digest)):
        _download(url, path, digest)
    return path


def _download(url: str, path: Path, digest: str) -> None:
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
