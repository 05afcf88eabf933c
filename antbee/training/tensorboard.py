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


class Curves:
    """Writes every epoch as it ends, and those before anew, so that no epoch is there twice.

    Args:
        folder: of the run.
        history: the epochs so far.

    Raises:
        SettingsError: TensorBoard is not installed.
    """

    def __init__(self, folder: Path, history: Sequence[Metrics]) -> None:
        writer = load_writer()
        shutil.rmtree(folder / FOLDER, ignore_errors=True)
        self._writer = writer(str(folder / FOLDER))
        for metrics in history:
            self.add(metrics)

    def add(self, metrics: Metrics) -> None:
        """Write an epoch."""
        for name, title in _NAMES.items():
            self._writer.add_scalar(title, getattr(metrics, name), metrics.epoch)
        self._writer.flush()

    def close(self) -> None:
        """Let go of the file."""
        self._writer.close()


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
