"""The packed model's folder: `model.json` and the files it vouches for.

Written and read here alone. What the files mean is the business of
`antbee.predictor`; how they are made, that of `antbee.packing`.
"""

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from antbee.calibration import Calibration
from antbee.errors import ModelError
from antbee.files import sha256_of
from antbee.images import Preprocessing

FORMAT: Final = 1
INDEX: Final = "model.json"
WEIGHTS: Final = "weights.pt"
ONNX: Final = "model.onnx"
INT8: Final = "model.int8.onnx"
CARD: Final = "README.md"
"""The model card: what `model.json` says, for people."""
HEAD: Final = "head.npy"
"""The last layer's weights, float32 [classes, channels]; older packages lack it."""
TYPICALITY: Final = "typicality.npz"
"""What tells strangers, where the model can; written and read by `antbee.typicality`."""
INPUT: Final = "image"
LOGITS: Final = "logits"
FEATURES: Final = "features"
POOLED: Final = "pooled"


@dataclass(frozen=True)
class PackedModel:
    """What `model.json` says of a packed model.

    Attributes:
        arch: torchvision's name of the architecture, such as `resnet18`.
        labels: in the order of the logits.
        runtime: what packing chose: the one asked for by name, or the fastest on its machine.
        candidates: the runtimes among which `auto` takes the fastest on the machine that serves;
            none if packing was asked for `runtime` by name.
        preprocessing: how a picture becomes the network's input.
        metrics: of the checkpoint's epoch: `epoch`, `val_top1` (0 to 1), `val_loss`, and
            `val_chose_the_epoch`, so that it is optimistic; and of the pictures by which nothing
            was chosen, where there are any, `test`: see `antbee.packing.held_out`.
        calibration: what the logits of every runtime are divided by before the softmax; older
            packages have temperature 1.
        gate: one row a runtime: how it differs from PyTorch, and its speed; how int8 was made, or
            why it was not; and where the pictures were not the run's, if they were not.
        provenance: data set, starting weights, training arguments, library versions.
        pooled: the frozen stage whose channel means, float32 [N, channels], the networks give as a
            third output; None where no stage was frozen, and in older packages.
        typicality: how well the model tells pictures of none of its labels, or the `reason` why it
            cannot; empty in older packages.
        folder: where the files lie; not part of `model.json`.
        files: SHA-256 of each file, by name; filled in when the model is written.
    """

    arch: str
    labels: Sequence[str]
    runtime: str
    candidates: Sequence[str] = ()
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    calibration: Calibration = field(default_factory=Calibration)
    gate: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    pooled: str | None = None
    typicality: Mapping[str, Any] = field(default_factory=dict)
    folder: Path = Path()
    files: Mapping[str, str] = field(default_factory=dict)

    def path(self, name: str) -> Path:
        """Where the file `name` lies, once its content has been checked.

        Raises:
            ModelError: the file is missing or damaged, or cannot be read.
        """
        path = self.folder / name
        try:
            if name not in self.files or not path.is_file():
                raise ModelError(f"{path} is missing: pack the model again")
            stat = path.stat()
            if _sha256_of(path, stat.st_mtime_ns, stat.st_size) != self.files[name]:
                raise ModelError(f"{path} is damaged (its checksum differs): pack the model again")
        except OSError as error:
            raise ModelError(f"{path} cannot be read: {error.strerror}") from error
        return path

    @property
    def tells_unknown(self) -> bool:
        """Whether its answers say if a picture shows any of the labels."""
        return self.pooled is not None and TYPICALITY in self.files

    def describe(self) -> dict[str, Any]:
        """What `model.json` says of the model itself; JSON can hold it."""
        content = asdict(self)
        del content["folder"], content["files"]
        return content


@functools.cache
def _sha256_of(path: Path, _modified: int, _size: int) -> str:
    """Read a file that has not changed once: a server asks for it before it loads it, too."""
    return sha256_of(path)


def write_model(model: PackedModel) -> None:
    """Write `model.json` into `model.folder`, vouching for the files that lie there already."""
    paths = [model.folder / name for name in (WEIGHTS, ONNX, INT8, HEAD, TYPICALITY)]
    content = {
        "format": FORMAT,
        **model.describe(),
        "input": INPUT,
        "outputs": [LOGITS, FEATURES, *([POOLED] if model.pooled else [])],
        "files": {path.name: sha256_of(path) for path in paths if path.is_file()},
    }
    text = json.dumps(content, indent=2) + "\n"
    (model.folder / INDEX).write_text(text, encoding="utf-8")


def read_model(folder: Path) -> PackedModel:
    """Read a packed model; its files are checked when they are asked for.

    Raises:
        ModelError: not a packed model, or of another format, or it cannot be read.
    """
    index = folder / INDEX
    try:
        content = json.loads(index.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelError(f"{folder} holds no packed model: run save_to_bento.py") from error
    except OSError as error:
        raise ModelError(f"{index} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ModelError(f"{index} is damaged: pack it again") from error
    found = content.get("format") if isinstance(content, dict) else None
    if found != FORMAT:
        raise ModelError(
            f"{index} has format {found!r} and this antbee reads {FORMAT}: pack it again"
        )
    known = {one.name for one in fields(Calibration)}
    try:
        inputs, calibration = content["preprocessing"], content.get("calibration", {})
        (red, green, blue), (red_std, green_std, blue_std) = inputs["mean"], inputs["std"]
        return PackedModel(
            arch=content["arch"],
            labels=tuple(content["labels"]),
            runtime=content["runtime"],
            candidates=tuple(content.get("candidates", ())),
            preprocessing=Preprocessing(
                resize=inputs["resize"],
                crop=inputs["crop"],
                mean=(red, green, blue),
                std=(red_std, green_std, blue_std),
            ),
            metrics=content["metrics"],
            calibration=Calibration(
                **{name: value for name, value in calibration.items() if name in known}
            ),
            gate=content["gate"],
            provenance=content["provenance"],
            pooled=content.get("pooled"),
            typicality=content.get("typicality", {}),
            folder=folder,
            files=dict(content["files"]),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{index} is incomplete ({error!r}): pack it again") from error
