"""A checkpoint to a packed model in a folder: export, gate, `model.json`."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from antbee.artifact import ONNX, WEIGHTS, PackedModel, read_model, write_model
from antbee.command import say
from antbee.errors import CheckpointError, DataError, ImageError
from antbee.files import sha256_of
from antbee.images import Preprocessing, decode_image, to_array
from antbee.packing import gate
from antbee.packing.export import export_onnx, export_weights
from antbee.predictor import Floats, load_predictor
from antbee.training.checkpoint import Checkpoint, load_checkpoint
from antbee.training.data import Picture, find_pictures
from antbee.training.model import build_model
from antbee.training.progress import Bar

NOISE_ARRAYS: Final = 8


def pack(path: Path, data: Path, runtime: str, folder: Path) -> PackedModel:
    """Write a packed model into `folder`.

    Args:
        path: the checkpoint.
        data: the pictures' folder; its `val` is what the gate runs on.
        runtime: one of `antbee.predictor.RUNTIMES`, or `auto`: ONNX Runtime, which serves without
            torch.
        folder: exists, and is empty.

    Raises:
        CheckpointError: the checkpoint is missing, damaged or not ours.
        DataError: the validation pictures have other labels.
        ModelError: the export failed or does not agree with PyTorch.
    """
    checkpoint = load_checkpoint(path)
    model = PackedModel(
        arch=checkpoint.arch,
        labels=tuple(checkpoint.labels),
        runtime="onnx" if runtime == "auto" else runtime,
        metrics=_metrics(checkpoint),
        provenance=_provenance(path, checkpoint),
        folder=folder,
    )
    _export(checkpoint, model)
    write_model(model)
    write_model(replace(model, gate=_pass_gate(read_model(folder), data)))
    return read_model(folder)


def _export(checkpoint: Checkpoint, model: PackedModel) -> None:
    network = build_model(checkpoint.arch, len(checkpoint.labels))
    try:
        network.load_state_dict(checkpoint.model)
    except RuntimeError as error:
        raise CheckpointError(
            f"the checkpoint's weights are not those of a {checkpoint.arch} "
            f"with {len(checkpoint.labels)} labels"
        ) from error
    export_weights(network, model.folder / WEIGHTS)
    export_onnx(network, model.folder / ONNX, model.preprocessing.crop)


def _pass_gate(model: PackedModel, data: Path) -> dict[str, Any]:
    predictors = {runtime: load_predictor(model, runtime) for runtime in ("torch", "onnx")}
    pictures = _validation_pictures(model, data)
    if pictures:
        inputs = f"validation pictures of {data.resolve().name}"
        samples = _decoded(pictures, model.preprocessing)
    else:
        say(f"no validation pictures in {data}: the export is checked on random noise instead")
        inputs, samples = "random noise", _noise(model.preprocessing)
    rows = gate.compare(predictors, samples)
    if not rows:
        raise DataError(f"no picture in {data / 'val'} can be read: nothing was packed")
    say(gate.table(rows))
    for row in rows:
        gate.check_export(row)
    return gate.as_json(rows, inputs)


def _validation_pictures(model: PackedModel, data: Path) -> list[Picture]:
    if not (data / "val").is_dir():
        return []
    found = find_pictures(data / "val")
    if found.labels != list(model.labels):
        raise DataError(
            f"{data / 'val'} has the labels {', '.join(found.labels)}, and the checkpoint "
            f"{', '.join(model.labels)}: name the folder that it was trained on with --data"
        )
    return found.pictures


def _decoded(pictures: list[Picture], preprocessing: Preprocessing) -> Iterator[tuple[Floats, int]]:
    for picture in Bar("comparing", len(pictures), pictures):
        try:
            image = decode_image(picture.path.read_bytes())
        except (ImageError, OSError) as error:
            say(f"left out {picture.path}: {error}")
        else:
            yield to_array(image, preprocessing), picture.label


def _noise(preprocessing: Preprocessing) -> Iterator[tuple[Floats, int]]:
    generator = np.random.default_rng(0)
    for _ in range(NOISE_ARRAYS):
        shape = (3, preprocessing.crop, preprocessing.crop)
        yield generator.standard_normal(shape, np.float32), gate.NO_LABEL


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
