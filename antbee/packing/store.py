"""BentoML's two stores: the packed model goes into one, the bento into the other."""

import contextlib
import importlib.metadata
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import bentoml
import yaml
from bentoml.exceptions import BentoMLException

from antbee.command import say
from antbee.errors import ModelError
from antbee.packing.pack import pack

BENTOFILE: Final = "bentofile.yaml"


def save_bento(checkpoint: Path, data: Path, runtime: str, name: str, source: Path) -> str:
    """Pack a checkpoint and build the bento that serves it; on any failure neither is left.

    Args:
        checkpoint: the checkpoint's file.
        data: the pictures' folder.
        runtime: see `antbee.packing.pack.pack`.
        name: of the model and of the bento.
        source: the folder that holds `bentofile.yaml` and what it includes.

    Returns:
        The bento's tag, `name:version`.

    Raises:
        AntBeeError: see `antbee.packing.pack.pack`.
        ModelError: BentoML refused the name or could not build the bento.
    """
    _check_name(name)
    # BentoML and its exporters report on stdout, which belongs to the tag.
    with contextlib.redirect_stdout(sys.stderr), _as_model_error():
        with bentoml.models.create(name) as model:
            packed = pack(checkpoint, data, runtime, Path(model.path))
        say(f"packed model {model.tag}")
        try:
            bento = bentoml.build(
                **_options(source / BENTOFILE, packed.runtime),
                name=name,
                args={"model": str(model.tag)},
                build_ctx=str(source),
            )
        except BaseException:
            bentoml.models.delete(model.tag)
            raise
    return str(bento.tag)


def _check_name(name: str) -> None:
    try:
        bentoml.Tag(name, None)
    except ValueError as error:
        raise ModelError(f"--name {name!r} cannot be stored: {error}") from error


@contextlib.contextmanager
def _as_model_error() -> Iterator[None]:
    try:
        yield
    except BentoMLException as error:
        raise ModelError(f"BentoML: {error}") from error


def _options(bentofile: Path, runtime: str) -> dict[str, Any]:
    options: dict[str, Any] = yaml.safe_load(bentofile.read_text(encoding="utf-8"))
    if runtime == "torch":
        # BentoML takes either a file of requirements or a list.
        requirements = bentofile.with_name(options["python"].pop("requirements_txt"))
        lines = requirements.read_text(encoding="utf-8").splitlines()
        pinned = [line for line in lines if not line.startswith("#")]
        options["python"]["packages"] = [*pinned, *map(_pin, ("torch", "torchvision"))]
    return options


def _pin(library: str) -> str:
    # A CPU build calls itself 2.9.0+cpu, which no package index but PyTorch's has.
    return f"{library}=={importlib.metadata.version(library).partition('+')[0]}"
