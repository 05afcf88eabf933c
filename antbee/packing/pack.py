"""A checkpoint to a packed model in a folder, and to the bento that serves it."""

import contextlib
import importlib.metadata
import io
import logging
import os
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import bentoml
import numpy as np
import torch
import yaml
from bentoml.exceptions import BentoMLException
from torch import Tensor, nn
from torchvision.models.feature_extraction import create_feature_extractor

from antbee import artifact
from antbee.artifact import FEATURES, INPUT, LOGITS, POOLED, PackedModel, read_model, write_model
from antbee.command import printable, say
from antbee.errors import ModelError
from antbee.files import sha256_of
from antbee.images import Preprocessing
from antbee.packing.bank import pooled_stage
from antbee.packing.card import write_card
from antbee.packing.choose import choose
from antbee.packing.held_out import measure_test
from antbee.predictor import output_nodes
from antbee.training.checkpoint import load_checkpoint
from antbee.training.network import HEAD, restore_model

BENTOFILE: Final = "bentofile.yaml"
OPSET: Final = 20
_PRIVATE: Final = ("left_out", "unreadable")


def save_bento(checkpoint: Path, data: Path | None, runtime: str, name: str, source: Path) -> str:
    """Pack a checkpoint and build the bento that serves it; on any failure neither is left.

    Args:
        checkpoint: the checkpoint's file.
        data: the pictures' folder; None for the run's own.
        runtime: see `pack`.
        name: of the model and of the bento, in BentoML's two stores.
        source: the folder that holds `bentofile.yaml` and what it includes.

    Returns:
        The bento's tag, `name:version`.

    Raises:
        AntBeeError: see `pack`.
        ModelError: BentoML refused the name or could not build the bento.
    """
    try:
        bentoml.Tag(name, None)
    except ValueError as error:
        raise ModelError(f"--name {name!r} cannot be stored: {error}") from error
    # BentoML and its exporters report on stdout, which belongs to the tag.
    with contextlib.redirect_stdout(sys.stderr):
        try:
            with bentoml.models.create(name) as model:
                packed = pack(checkpoint, data, runtime, Path(model.path))
                card = write_card(packed, str(model.tag))
                (packed.folder / artifact.CARD).write_text(card, encoding="utf-8")
                # BentoML writes them down when the model is complete.
                model.info.labels.update(arch=packed.arch, runtime=packed.runtime)
                model.info.metadata.update(store_metadata(packed))
            say(f"packed model {model.tag}")
            try:
                bento = bentoml.build(
                    **build_options(source / BENTOFILE, packed.runtime),
                    name=name,
                    args={"model": str(model.tag)},
                    build_ctx=str(source),
                )
            except BaseException:
                bentoml.models.delete(model.tag)
                raise
        except BentoMLException as error:
            raise ModelError(f"BentoML: {error}") from error
        except OSError as error:
            where, reason = error.filename, error.strerror or error
            if isinstance(error, shutil.Error) and isinstance(error.args[0], list):
                _, where, reason = error.args[0][0]  # the first of those that could not be copied
            home = os.environ.get("BENTOML_HOME", Path.home() / "bentoml")
            where = where or (
                f"BENTOML_HOME ({home}) or the folder of temporary files ({tempfile.gettempdir()})"
            )
            raise ModelError(f"{where} cannot be read or written: {reason}") from error
    return str(bento.tag)


def store_metadata(model: PackedModel) -> dict[str, Any]:
    """What BentoML's store shows of a packed model: plain values, none of them None."""
    metrics = {name: value for name, value in model.metrics.items() if value is not None}
    if test := metrics.pop("test", None):
        metrics |= {"test_top1": test["accuracy"], "test_pictures": test["pictures"]}
    return {
        "labels": list(model.labels),
        "metrics": metrics,
        "temperature": model.calibration.temperature,
        "checkpoint_sha256": model.provenance["checkpoint"]["sha256"],
    }


def build_options(bentofile: Path, runtime: str) -> dict[str, Any]:
    """Read what `bentoml.build` takes; for the torch runtime with the torch that is installed."""
    options: dict[str, Any] = yaml.safe_load(bentofile.read_text(encoding="utf-8"))
    if runtime == "torch":
        # BentoML takes either a file of requirements or a list.
        requirements = bentofile.with_name(options["python"].pop("requirements_txt"))
        lines = requirements.read_text(encoding="utf-8").splitlines()
        packages = [line for line in lines if not line.startswith("#")]
        for library in ("torch", "torchvision"):
            # A CPU build calls itself 2.9.0+cpu, which no package index but PyTorch's has.
            version, _, _ = importlib.metadata.version(library).partition("+")
            packages.append(f"{library}=={version}")
        options["python"]["packages"] = packages
    return options


def pack(path: Path, data: Path | None, runtime: str, folder: Path) -> PackedModel:
    """Write the packed model of the checkpoint `path` into `folder`, which exists and is empty.

    See `antbee.packing.choose.choose` for `data`, the run's own by default, and `runtime`.

    Raises:
        CheckpointError: the checkpoint is missing, damaged or not ours.
        DataError: the validation pictures have other labels, or none can be read.
        ModelError: the export failed or does not agree with PyTorch, or the runtime asked for by
            name is not good enough.
    """
    checkpoint = load_checkpoint(path)
    metrics: dict[str, Any] = {}
    # Weights saved in the middle of an epoch have been measured by nobody.
    if checkpoint.history and not checkpoint.position.step:
        last = checkpoint.history[-1]
        metrics = {"epoch": last.epoch, "val_top1": last.val_top1, "val_loss": last.val_loss}
        if last.val_balanced is not None:  # the mean of the labels' recalls
            metrics["val_balanced"] = last.val_balanced
        metrics["val_chose_the_epoch"] = True  # which makes it optimistic
    # The server shows these to anybody, whom the folders of this machine do not concern.
    arguments = checkpoint.arguments
    names = {name: printable(Path(str(arguments.get(name))).name) for name in ("data", "weights")}
    model = PackedModel(
        arch=checkpoint.arch,
        labels=tuple(checkpoint.labels),
        runtime="onnx",
        preprocessing=Preprocessing.of_size(arguments["size"]),
        metrics=metrics,
        provenance={
            "checkpoint": {"file": printable("/".join(path.parts[-2:])), "sha256": sha256_of(path)},
            "data": checkpoint.data,
            "weights": checkpoint.weights,
            "arguments": arguments | names,
            "versions": checkpoint.versions,
        },
        pooled=pooled_stage(arguments.get("freeze", "none")),
        folder=folder,
    )
    network = restore_model(checkpoint)
    export_weights(network, folder / artifact.WEIGHTS)
    export_head(network, folder / artifact.HEAD)
    export_onnx(network, folder / artifact.ONNX, model.preprocessing.crop, model.pooled)
    write_model(model)
    data = data or Path(arguments["data"])
    chosen = choose(read_model(folder), data, runtime)
    # What was left out is its owner's business.
    public = {key: value for key, value in checkpoint.data.items() if key not in _PRIVATE}
    write_model(replace(chosen, provenance={**chosen.provenance, "data": public}))
    packed = read_model(folder)
    if test := measure_test(packed, data, path):
        write_model(replace(packed, metrics={**packed.metrics, "test": test}))
    return read_model(folder)


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


class _InOrder(nn.Module):
    """Gives the outputs as a tuple: the exporter may put a dictionary's in an order of its own."""

    def __init__(self, network: nn.Module, pooled: str | None) -> None:
        super().__init__()
        self.network = create_feature_extractor(network, output_nodes(pooled))

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        outputs = self.network(image)
        found = outputs[LOGITS], outputs[FEATURES]
        return (*found, outputs[POOLED].mean((2, 3))) if POOLED in outputs else found


def export_onnx(network: nn.Module, path: Path, side: int, pooled: str | None = None) -> None:
    """Write a torchvision ResNet as ONNX: `image` [N, 3, side, side] to `logits` and `features`.

    With a stage `pooled`, there is an output of that name, too: the stage's channel means. All of
    them are float32; `side` is in pixels.

    Raises:
        ModelError: torch's exporter failed.
    """
    # The exporter reports its progress at this level; a failure is raised.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        torch.onnx.export(
            _InOrder(network, pooled).eval(),
            (torch.zeros(2, 3, side, side),),
            path,
            input_names=[INPUT],
            output_names=[LOGITS, FEATURES, *([POOLED] if pooled else [])],
            dynamic_shapes=({0: torch.export.Dim("N")},),
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    except torch.onnx.errors.OnnxExporterError as error:
        raise ModelError(f"torch could not export this network to ONNX: {error}") from error
