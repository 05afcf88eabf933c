"""A checkpoint to a packed model in a folder, and to the bento that serves it."""

import contextlib
import importlib.metadata
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import bentoml
import yaml
from bentoml.exceptions import BentoMLException

from antbee import artifact
from antbee.artifact import PackedModel, read_model, write_model
from antbee.command import printable, say
from antbee.errors import ModelError
from antbee.files import identity, sha256_of
from antbee.images import Preprocessing
from antbee.packing.bank import pooled_stage
from antbee.packing.card import write_card
from antbee.packing.choose import choose
from antbee.packing.export import export_head, export_onnx, export_weights
from antbee.packing.held_out import measure_test
from antbee.training.checkpoint import load_checkpoint
from antbee.training.network import restore_model

BENTOFILE: Final = "bentofile.yaml"
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
        tag = bentoml.Tag(name, None).make_new_version()  # of the model and of the bento
    except ValueError as error:
        raise ModelError(f"--name {name!r} cannot be stored: {error}") from error
    # BentoML reports on stdout, which belongs to the tag.
    with contextlib.redirect_stdout(sys.stderr):
        try:
            with removed_on_failure(tag):
                with bentoml.models.create(tag) as model:
                    packed = pack(checkpoint, data, runtime, Path(model.path))
                    card = write_card(packed, str(tag))
                    (packed.folder / artifact.CARD).write_text(card, encoding="utf-8")
                    # BentoML writes them down when the model is complete.
                    model.info.labels.update(arch=packed.arch, runtime=packed.runtime)
                    model.info.metadata.update(store_metadata(packed))
                say(f"packed model {tag}")
                bentoml.build(
                    **build_options(source / BENTOFILE, packed.runtime),
                    name=tag.name,
                    version=tag.version,
                    args={"model": str(tag)},
                    build_ctx=str(source),
                )
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
    return str(tag)


@contextlib.contextmanager
def removed_on_failure(tag: bentoml.Tag) -> Iterator[None]:
    """Let neither a model nor a bento of this tag stay where what makes them fails.

    BentoML copies both into its stores file by file, and leaves what it has when it is interrupted.
    """
    try:
        yield
    except BaseException:
        for store in (bentoml, bentoml.models):
            with contextlib.suppress(BentoMLException, OSError):
                store.delete(tag)
        raise


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
        ModelError: the weights are no numbers, the export does not agree with PyTorch, or the
            runtime asked for by name is not good enough.
    """
    while True:
        file, checkpoint, sha256 = identity(path), load_checkpoint(path), sha256_of(path)
        if identity(path) == file:  # training has put no later one in its place meanwhile
            break
    if not all(tensor.isfinite().all() for tensor in checkpoint.model.values()):
        raise ModelError(
            f"{path} has weights that are no numbers (NaN or infinite): its training went wrong, "
            "train again with a smaller --lr"
        )
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
            "checkpoint": {"file": printable("/".join(path.parts[-2:])), "sha256": sha256},
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
