"""One step of training and one of validation, and the recipe they follow.

Knows a network, its optimizer and its schedule. Knows nothing of files or epochs.
"""

import math
from dataclasses import dataclass
from typing import Any, Final, TypedDict

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import SGD
from torch.optim.lr_scheduler import LambdaLR

from antbee.errors import CheckpointError, SettingsError
from antbee.training.batches import SIZE, Batch
from antbee.training.stages import fold, split
from antbee.training.team import ALONE, Team

MOMENTUM: Final = 0.9
WEIGHT_DECAY: Final = 1e-4
SMOOTHING: Final = 0.1
WARM_UP: Final = 0.1
_PRECISIONS: Final = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Recipe:
    """What the training of a network depends on.

    Attributes:
        learning_rate: the highest.
        steps: batches in the whole run.
        precision: of the multiplications in training, `float32` or `bfloat16`.
        freeze: the last stage that is frozen: see `antbee.training.stages`.
    """

    learning_rate: float
    steps: int
    precision: str = "float32"
    freeze: str = "none"


class LearnerState(TypedDict):
    """State dicts of all that changes while a `Learner` trains."""

    model: dict[str, Tensor]
    optimizer: dict[str, Any]
    scheduler: dict[str, Any]


class Learner:
    """A network and what trains it, on one device, in channels-last memory.

    A part of the network may be frozen: it has no gradient, no optimizer state, and batch norms
    that keep the statistics they came with. What it makes of a picture never changes, so that is
    asked for apart, by `features`, and can be kept; `train` and `validate` take it from there.

    Stochastic gradient descent with Nesterov's momentum 0.9 and weight decay 1e-4, a learning
    rate that warms up linearly over the first tenth of the steps (Goyal et al. 2017,
    arXiv:1706.02677) and falls along half a cosine to nothing (Loshchilov and Hutter 2016,
    arXiv:1608.03983), and cross-entropy with labels smoothed by 0.1 (Szegedy et al. 2015,
    arXiv:1512.00567). In bfloat16, weights and sums stay float32 and validation is all float32
    (Kalamkar et al. 2019, arXiv:1905.12322): what is validated is what is served.

    Args:
        model: is moved to the device.
        device: where to train.
        recipe: how.
        team: with whom. Every process takes its part of each batch; gradients, and the statistics
            of batch norms, are those of the whole batch.
    """

    def __init__(
        self, model: nn.Module, device: torch.device, recipe: Recipe, team: Team = ALONE
    ) -> None:
        self.device = device
        self.precision = _PRECISIONS[recipe.precision]
        self.model = model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._frozen, self._trained = split(self.model, recipe.freeze)
        self._frozen.requires_grad_(requires_grad=False).eval()
        self._folded: nn.Module | None = None
        self.team = team
        self._shared = team.join(self._trained, device)
        self.optimizer = SGD(
            self._trained.parameters(),
            lr=recipe.learning_rate,
            momentum=MOMENTUM,
            weight_decay=WEIGHT_DECAY,
            nesterov=True,
        )
        self.scheduler = LambdaLR(self.optimizer, lambda step: share_of_rate(step, recipe.steps))

    @torch.no_grad()
    def features(self, pictures: Tensor) -> Tensor:
        """What the frozen part makes of training pictures, in the precision of training."""
        if self._folded is None:
            self._folded = fold(self._frozen, self.precision)
        features: Tensor = self._folded(self._move(pictures).to(self.precision))
        return features

    @torch.no_grad()
    def exact_features(self, pictures: Tensor) -> Tensor:
        """What the frozen part makes of validation pictures: float32, as the server computes it."""
        features: Tensor = self._frozen(self._move(pictures))
        return features

    def feature_bytes(self) -> int:
        """How much memory `features` takes for one picture; 0 if nothing is frozen."""
        if isinstance(self._frozen, nn.Identity):
            return 0
        features = self.features(torch.zeros(1, 3, SIZE, SIZE))
        return features.numel() * features.element_size()

    def train(self, batch: Batch, whole: int | None = None) -> float:
        """Take one step; return the sum of the pictures' losses before it.

        Args:
            batch: what `features` gave for the pictures, and their labels.
            whole: how many pictures the batches of all processes have; None if this is the only
                one.

        Raises:
            SettingsError: the loss is no longer a number.
        """
        features, labels = map(self._move, batch)
        self._shared.train()
        with torch.autocast(
            self.device.type, self.precision, enabled=self.precision != torch.float32
        ):
            logits = self._shared(features).float()
        loss = functional.cross_entropy(logits, labels, reduction="sum", label_smoothing=SMOOTHING)
        self.optimizer.zero_grad()
        # Processes take the mean of their gradients, and the whole batch's mean is wanted.
        (loss * (self.team.size / (whole or len(labels)))).backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.scheduler.step()
        return _finite(loss.item())

    @torch.inference_mode()
    def validate(self, batch: Batch) -> tuple[float, int]:
        """Return the sum of the pictures' cross-entropies, and how many labels are right.

        Args:
            batch: what `exact_features` gave for the pictures, and their labels.
        """
        features, labels = map(self._move, batch)
        self._trained.eval()
        logits = self._trained(features)
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
            self._folded = None
        except (RuntimeError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"the checkpoint contradicts itself: {error}") from error

    def _move(self, tensor: Tensor) -> Tensor:
        if self.device.type != "cuda":
            return tensor.to(self.device)
        if tensor.device.type == "cpu":
            tensor = tensor.pin_memory()  # from other memory the copy would wait
        return tensor.to(self.device, non_blocking=True)


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
