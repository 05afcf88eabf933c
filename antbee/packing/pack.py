"""A checkpoint to a packed model in a folder: export, choice of a runtime, `model.json`."""

from pathlib import Path
from typing import Any

from antbee.artifact import HEAD, ONNX, WEIGHTS, PackedModel, read_model, write_model
from antbee.files import sha256_of
from antbee.packing.choose import choose
from antbee.packing.export import export_head, export_onnx, export_weights
from antbee.training.checkpoint import Checkpoint, load_checkpoint
from antbee.training.network import restore_model


def pack(path: Path, data: Path, runtime: str, folder: Path) -> PackedModel:
    """Write a packed model into `folder`.

    Args:
        path: the checkpoint.
        data: the pictures' folder; int8 is calibrated on its `train`, and every runtime compared
            with PyTorch on its `val`.
        runtime: see `antbee.packing.choose.choose`.
        folder: exists, and is empty.

    Raises:
        CheckpointError: the checkpoint is missing, damaged or not ours.
        DataError: the validation pictures have other labels.
        ModelError: the export failed or does not agree with PyTorch, or the runtime asked for by
            name is not good enough.
    """
    checkpoint = load_checkpoint(path)
    model = PackedModel(
        arch=checkpoint.arch,
        labels=tuple(checkpoint.labels),
        runtime="onnx",
        metrics=_metrics(checkpoint),
        provenance=_provenance(path, checkpoint),
        folder=folder,
    )
    _export(checkpoint, model)
    write_model(model)
    write_model(choose(read_model(folder), data, runtime))
    return read_model(folder)


def _export(checkpoint: Checkpoint, model: PackedModel) -> None:
    network = restore_model(checkpoint)
    export_weights(network, model.folder / WEIGHTS)
    export_head(network, model.folder / HEAD)
    export_onnx(network, model.folder / ONNX, model.preprocessing.crop)


def _metrics(checkpoint: Checkpoint) -> dict[str, Any]:
    # Weights saved in the middle of an epoch have been measured by nobody.
    if checkpoint.position.step or not checkpoint.history:
        return {}
    last = checkpoint.history[-1]
    return {"epoch": last.epoch, "val_top1": last.val_top1, "val_loss": last.val_loss}


def _provenance(path: Path, checkpoint: Checkpoint) -> dict[str, Any]:
    return {
        "checkpoint": {"file": "/".join(path.parts[-2:]), "sha256": sha256_of(path)},
        "data": checkpoint.data,
        "weights": checkpoint.weights,
        # The server shows this to anybody, whom the folders of this machine do not concern.
        "arguments": checkpoint.arguments
        | {name: Path(str(checkpoint.arguments.get(name))).name for name in ("data", "weights")},
        "versions": checkpoint.versions,
    }
