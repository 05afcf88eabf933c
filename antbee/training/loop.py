"""One step of training and one of validation, and the recipe they follow.

Knows a network, its optimizer and its schedule. Knows nothing of files or epochs.
"""

import math
from typing import Any, Final, TypedDict

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import SGD
from torch.optim.lr_scheduler import LambdaLR

from antbee.errors import CheckpointError, SettingsError
from antbee.training.batches import Batch

MOMENTUM: Final = 0.9
WEIGHT_DECAY: Final = 1e-4
SMOOTHING: Final = 0.1
WARM_UP: Final = 0.1


class LearnerState(TypedDict):
    """State dicts of all that changes while a `Learner` trains."""

    model: dict[str, Tensor]
    optimizer: dict[str, Any]
    scheduler: dict[str, Any]


class Learner:
    """A network and what trains it, on one device, in channels-last memory.

    Stochastic gradient descent with Nesterov's momentum 0.9 and weight decay 1e-4, a learning
    rate that warms up linearly over the first tenth of the steps (Goyal et al. 2017,
    arXiv:1706.02677) and falls along half a cosine to nothing (Loshchilov and Hutter 2016,
    arXiv:1608.03983), and cross-entropy with labels smoothed by 0.1 (Szegedy et al. 2015,
    arXiv:1512.00567). In bfloat16, weights and sums stay float32 and validation is all float32
    (Kalamkar et al. 2019, arXiv:1905.12322): what is validated is what is served.

    Args:
        model: is moved to the device.
        device: where to train.
        precision: of the multiplications in training, `float32` or `bfloat16`.
        learning_rate: the highest.
        steps: batches in the whole run.
    """

    def __init__(
        self,
        model: nn.Module,
        device: torch.device,
        *,
        precision: str,
        learning_rate: float,
        steps: int,
    ) -> None:
        self.device = device
        self._bfloat16 = precision == "bfloat16"
        self.model = model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = SGD(
            self.model.parameters(),
            lr=learning_rate,
            momentum=MOMENTUM,
            weight_decay=WEIGHT_DECAY,
            nesterov=True,
        )
        self.scheduler = LambdaLR(self.optimizer, lambda step: share_of_rate(step, steps))

    def train(self, batch: Batch) -> float:
        """Take one step; return the batch's mean loss before it.

        Raises:
            SettingsError: the loss is no longer a number.
        """
        pictures, labels = self._move(batch)
        self.model.train()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._bfloat16):
            logits = self.model(pictures).float()
        loss = functional.cross_entropy(logits, labels, label_smoothing=SMOOTHING)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.scheduler.step()
        return _finite(loss.item())

    @torch.inference_mode()
    def validate(self, batch: Batch) -> tuple[float, int]:
        """Return the sum of the pictures' cross-entropies, and how many labels are right."""
        pictures, labels = self._move(batch)
        self.model.eval()
        logits = self.model(pictures)
        loss = functional.cross_entropy(logits, labels, reduction="sum")
        return _finite(loss.item()), int((logits.argmax(1) == labels).sum())

    def state(self) -> LearnerState:
        """Return what `restore` needs to go on from here."""
        return LearnerState(
            model=self.model.state_dict(),
            optimizer=self.optimizer.state_dict(),
            scheduler=self.scheduler.state_dict(),
        )

    def restore(self, state: LearnerState) -> None:
        """Go on from what `state` returned, on any device.

        Raises:
            CheckpointError: it is another network's.
        """
        try:
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.scheduler.load_state_dict(state["scheduler"])
        except (RuntimeError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"the checkpoint contradicts itself: {error}") from error

    def _move(self, batch: Batch) -> tuple[Tensor, Tensor]:
        pictures, labels = batch
        return pictures.to(self.device, non_blocking=True), labels.to(self.device)


def share_of_rate(step: int, steps: int) -> float:
    """Share of the highest learning rate at a step, 0 to 1.

    Args:
        step: counted from 0.
        steps: in the whole run.
    """
    warm_up = math.ceil(WARM_UP * steps)
    if step < warm_up:
        return (step + 1) / (warm_up + 1)
    return (1 + math.cos(math.pi * (step - warm_up) / max(steps - warm_up, 1))) / 2


def _finite(loss: float) -> float:
    if not math.isfinite(loss):
        raise SettingsError("the loss is no longer a number: train again with a smaller --lr")
    return loss
