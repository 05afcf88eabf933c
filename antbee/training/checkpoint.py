"""Checkpoints: the whole state of a training run in one file.

Owns the file's format and its checking. A file is read with `weights_only=True`, which builds
tensors, numbers, text, lists and dictionaries and runs nothing. Does not know how the state
comes about.
"""

import argparse
import dataclasses
import io
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor
from torch.serialization import safe_globals

from antbee.errors import CheckpointError
from antbee.files import recorded_sums, sha256_of, write_with_checksum
from antbee.training.provenance import group

FORMAT: Final = "antbee checkpoint"
VERSION: Final = 1

MAX_BYTES: Final = 4_000_000_000
"""No file is read that is larger; the largest ResNet's checkpoint has a twentieth of that."""
_SAFETENSORS: Final = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
"""The types that weights come in, by the names of the safetensors format."""
_LATER: Final[dict[str, Any]] = {"views": 0}
"""Fields that checkpoints of earlier releases lack, and what they would have had there."""
_LATER_ARGUMENTS: Final[dict[str, Any]] = {
    "freeze": "none",
    "patience": None,
    "val_fraction": None,
    "size": 224,
    "balance": False,
}
"""The same of the arguments."""
_KINDS: Final = {
    "arch": str,
    "labels": list,
    "threads": int,
    "views": int,
    **dict.fromkeys(("model", "optimizer", "scheduler", "generators"), dict),
    **dict.fromkeys(("arguments", "data", "weights", "versions"), dict),
}


@dataclass(frozen=True)
class Metrics:
    """What one epoch came to."""

    epoch: int  # counted from 1
    train_loss: float  # mean over the epoch's pictures, augmented and with smoothed labels
    val_loss: float  # mean cross-entropy over the validation pictures, in nats
    val_top1: float  # share of the validation pictures whose label is right, 0 to 1
    seconds: float  # of training and validation together
    pictures_per_second: float  # of training, validation's time left out
    val_balanced: float | None = None  # mean of the labels' recalls, 0 to 1; earlier runs lack it


@dataclass
class Position:
    """How far a run has come: epochs with their validation, and batches of the next one."""

    epoch: int = 0
    step: int = 0
    pictures: int = 0  # in those batches
    loss_sum: float = 0.0  # over those pictures
    seconds: float = 0.0  # spent on those batches


@dataclass(frozen=True)
class Checkpoint:
    """A run's whole state."""

    arch: str  # one of `antbee.training.arguments.ARCHITECTURES`
    labels: list[str]  # sorted; a label's index is the network's output
    model: dict[str, Tensor]  # state dicts, like the next two
    optimizer: dict[str, Any]
    scheduler: dict[str, Any]
    generators: dict[str, Tensor]  # states of the random generators, by library
    threads: int  # of torch on the CPU; sums come out the same only with as many
    precision: str  # of the multiplications in training, `float32` or `bfloat16`
    views: int  # of each training picture, where they are kept; 0 if every epoch has its own
    position: Position
    best: Metrics | None  # None before the first epoch has ended
    history: list[Metrics]  # every epoch so far
    arguments: dict[str, Any]  # of the command line, by name
    data: dict[str, Any]  # `antbee.training.data.Pictures.provenance`
    weights: dict[str, Any]  # what `antbee.training.network.load_weights` returned
    versions: dict[str, str]  # of Python and the libraries, by name


def save_checkpoint(checkpoint: Checkpoint, *paths: Path) -> None:
    """Write a checkpoint and its checksum; a kill at any instant leaves the old one or the new.

    Raises:
        CheckpointError: the disk is full or cannot be written to; the old one is still there.
    """
    write_checkpoint(serialize(checkpoint), *paths)


def serialize(checkpoint: Checkpoint) -> memoryview:
    """Return a checkpoint's file, which what happens to its tensors later does not change."""
    # By way of memory, because torch's own writing turns a full disk into an error of its own.
    buffer = io.BytesIO()
    torch.save(to_state(checkpoint), buffer)
    return buffer.getbuffer()


def write_checkpoint(contents: memoryview, *paths: Path) -> None:
    """Write what `serialize` returned, as `save_checkpoint` does, which says what this raises."""
    for path in paths:
        try:
            write_with_checksum(path, contents)
        except OSError as error:
            raise CheckpointError(
                f"{path} could not be written ({error.strerror}); "
                "any checkpoint saved before is intact"
            ) from error


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint that `save_checkpoint` wrote; tensors are on the CPU.

    Raises:
        CheckpointError: the file is missing, damaged, or not one of ours.
    """
    state = load_tensors(path)
    if not is_checkpoint(state):
        raise CheckpointError(f"{path} is not a checkpoint that train.py saved")
    if state["version"] != VERSION:
        raise CheckpointError(
            f"{path} has checkpoint format {state['version']}, and this program reads "
            f"{VERSION}: use the antbee that saved it"
        )
    try:
        return from_state(state)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} is not a whole checkpoint: {error}") from error


def to_state(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return what a checkpoint's file holds: tensors and plain values."""
    fields = {
        field.name: getattr(checkpoint, field.name) for field in dataclasses.fields(Checkpoint)
    }
    return {
        "format": FORMAT,
        "version": VERSION,
        **fields,
        "position": dataclasses.asdict(checkpoint.position),
        "best": dataclasses.asdict(checkpoint.best) if checkpoint.best else None,
        "history": [dataclasses.asdict(metrics) for metrics in checkpoint.history],
    }


def from_state(state: dict[str, Any]) -> Checkpoint:
    """Return the checkpoint that `to_state` was given.

    Raises:
        KeyError, TypeError, ValueError: it is not whole.
    """
    state = _LATER | state
    fields = {field.name: state[field.name] for field in dataclasses.fields(Checkpoint)}
    for name, kind in _KINDS.items():
        if not isinstance(fields[name], kind):
            raise TypeError(f"{name} is not a {kind.__name__}")
    fields["arguments"] = _LATER_ARGUMENTS | state["arguments"]
    if isinstance(left_out := state["data"].get("left_out"), dict):  # an earlier release's, by name
        fields["data"] = state["data"] | {"unreadable": list(left_out), "left_out": group(left_out)}
    fields["position"] = Position(**state["position"])
    fields["best"] = Metrics(**state["best"]) if state["best"] is not None else None
    fields["history"] = [Metrics(**metrics) for metrics in state["history"]]
    if not all(isinstance(label, str) for label in fields["labels"]):
        raise TypeError("a label is not text")
    if not all(isinstance(tensor, Tensor) for tensor in fields["model"].values()):
        raise TypeError("the model is not a state dict")
    return Checkpoint(**fields)


def is_checkpoint(state: object) -> bool:
    """Tell whether what `load_tensors` read is a run's state, not bare weights."""
    return isinstance(state, dict) and state.get("format") == FORMAT and "version" in state


def load_tensors(path: Path) -> Any:  # noqa: ANN401 - whatever the file holds; callers check it
    """Read a PyTorch or safetensors file, running nothing that is in it; tensors are on the CPU.

    Raises:
        CheckpointError: the file is missing or too large, is not the one its checksum was made of,
            or holds more than tensors, numbers, text, lists and dictionaries.
    """
    try:
        if not path.is_file():
            raise CheckpointError(f"there is no file {path}")
        if path.stat().st_size > MAX_BYTES:
            raise CheckpointError(f"{path} is larger than {MAX_BYTES / 1e9:g} GB: no ResNet is")
        sums, actual = recorded_sums(path), sha256_of(path)
        with path.open("rb") as file:
            is_safetensors = file.read(9)[8:] == b"{"
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error
    if sums and actual not in sums:
        raise CheckpointError(
            f"{path} is damaged: its SHA-256 is not the one in {path.name}.sha256"
        )
    try:
        if is_safetensors:
            return read_safetensors(path.read_bytes())
        # What argparse makes is in many a program's checkpoints, and only holds values.
        with safe_globals([argparse.Namespace]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:
        raise CheckpointError(
            f"{path} is not a PyTorch file of plain tensors, or is damaged; nothing in it was run. "
            "Of a network saved as a whole, save the state_dict() alone"
        ) from error


def read_safetensors(data: bytes) -> dict[str, Tensor]:
    """Read a file of the safetensors format: a length, a JSON header, and the tensors' bytes.

    The format's own library would do it, too; it is larger than this.

    Raises:
        KeyError, TypeError, ValueError: it is not whole.
    """
    start = 8 + int.from_bytes(data[:8], "little")
    if start > len(data):
        raise ValueError("the header is cut short")
    header = json.loads(data[8:start])
    header.pop("__metadata__", None)
    tensors, total = {}, 0
    for name, entry in header.items():
        shape, (begin, end) = entry["shape"], entry["data_offsets"]
        dtype = _SAFETENSORS[entry["dtype"]]
        if any(not isinstance(side, int) or side < 0 for side in (*shape, begin, end)):
            raise ValueError(f"{name} has no shape")
        count = math.prod(shape)
        if end - begin != count * dtype.itemsize or start + end > len(data):
            raise ValueError(f"{name} has not the bytes of its shape")
        total += end - begin
        if count == 0:
            tensors[name] = torch.empty(shape, dtype=dtype)
        else:
            part = bytearray(data[start + begin : start + end])
            tensors[name] = torch.frombuffer(part, dtype=dtype).reshape(shape)
    if total != len(data) - start:
        raise ValueError("tensors overlap, or bytes are nobody's")
    return tensors
