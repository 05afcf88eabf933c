"""The curves of a run for TensorBoard, which somebody may be watching."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from antbee.errors import SettingsError
from antbee.training.checkpoint import Metrics

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

FOLDER: Final = "tensorboard"
_NAMES: Final = {
    "train_loss": "loss/train",
    "val_loss": "loss/val",
    "val_top1": "top-1/val",
    "pictures_per_second": "speed/pictures per second",
}


def load_writer() -> "type[SummaryWriter]":
    """Load TensorBoard, which few ask for.

    Raises:
        SettingsError: it is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415
    except ImportError as error:
        raise SettingsError(
            "--tensorboard needs TensorBoard: pip install tensorboard, or leave it out"
        ) from error
    return SummaryWriter


def open_curves(folder: Path, history: Sequence[Metrics]) -> "SummaryWriter":
    """Write the epochs so far anew, so that none is there twice; `add_epoch` writes the others."""
    shutil.rmtree(folder / FOLDER, ignore_errors=True)
    writer = load_writer()(str(folder / FOLDER))
    for metrics in history:
        add_epoch(writer, metrics)
    return writer


def add_epoch(writer: "SummaryWriter", metrics: Metrics) -> None:
    """Write an epoch, for whoever is watching."""
    for name, title in _NAMES.items():
        writer.add_scalar(title, getattr(metrics, name), metrics.epoch)
    writer.flush()
