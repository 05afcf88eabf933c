"""What the learner is fed: what the frozen part of the network makes of the pictures.

The frozen part never changes, so nothing that went through it need go through it twice. Validation
pictures are always the same; training pictures are, if the augmentation has a number of views of
each and no more, which the epochs take in turn.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor

from antbee.command import Bar
from antbee.machine import free_memory
from antbee.training.batches import Batch, in_order, shuffle, train_batches, val_batches
from antbee.training.data import Pictures
from antbee.training.loop import Learner
from antbee.training.shelf import Shelf

if TYPE_CHECKING:
    from PIL import Image

VIEWS: Final = 3
"""Of a training picture, where they are kept: more gained nothing in `benchmarks/recipe.py`. If
fewer fit, every epoch has its own."""
SHARE: Final = 0.25
"""Of the free memory, that all processes of a machine may keep things of one kind in."""
GROUP: Final = 16
"""Pictures that go through the frozen part together. Fixed, because sums in floating point may
depend on it, and a run that goes on must compute what it would have computed."""


def count_views(feature_bytes: int, pictures: int, epochs: int, processes: int = 1) -> int:
    """How many views of each training picture to keep; 0 if every epoch is to have its own.

    Args:
        feature_bytes: of what the frozen part makes of one picture; 0 if nothing is frozen.
        pictures: to train on.
        epochs: in the whole run.
        processes: of this machine, each of which keeps all views.
    """
    if not feature_bytes:
        return 0
    fit = _room(processes) // (feature_bytes * pictures)
    return VIEWS if min(fit, epochs) >= VIEWS else 0


@dataclass(frozen=True)
class Plan:
    """What the order and the augmentation of the training pictures depend on.

    Attributes:
        seed: of the run.
        size: of a batch, at most.
        views: of each training picture; 0 if every epoch has its own.
    """

    seed: int
    size: int
    views: int


class Feed:
    """Batches for a learner and its team, the same for the same plan and epoch.

    Args:
        learner: whose frozen part is asked.
        pictures: to train and to validate on.
        plan: how the training pictures come.
        pool: reads ahead.
        check: called while pictures go through the frozen part; may raise.
    """

    def __init__(
        self,
        learner: Learner,
        pictures: Pictures,
        plan: Plan,
        pool: Executor,
        check: Callable[[], None],
    ) -> None:
        self._learner = learner
        self._pictures = pictures
        self._plan = plan
        self._pool = pool
        self._check = check
        room = _room(learner.team.neighbours)
        self._decoded: Shelf[Image.Image] = Shelf(room)
        self._val: Shelf[Tensor] = Shelf(room)
        # All keep the same views, because they make one together. And slightly more room than was
        # reckoned with when the views were counted.
        self._train: Shelf[Tensor] = Shelf(int(learner.team.least(room)) * 5 // 4)

    def train(self, epoch: int, done: int) -> Iterator[tuple[Batch, int]]:
        """Yield this process's part of what is left of an epoch's batches, and their whole sizes.

        Args:
            epoch: counted from 0.
            done: how many batches have been taken.

        Raises:
            DataError: a picture can no longer be read.
        """
        pictures, key = self._pictures.train, (self._plan.seed, epoch)
        whole = shuffle(len(pictures), self._plan.size, key)[done:]
        batches = list(map(self._learner.team.share, whole))
        return zip(self._features(batches, epoch), map(len, whole), strict=True)

    def _features(self, batches: Sequence[Sequence[int]], epoch: int) -> Iterator[Batch]:
        if not self._plan.views:
            for inputs, labels in self._augmented(batches, epoch):
                yield self._learner.features(inputs), labels
            return
        view = epoch % self._plan.views
        features = self._train.get(view, lambda: self._view(view), _size)
        labels = torch.tensor([picture.label for picture in self._pictures.train])
        for batch in batches:
            # The channels are last in memory, where the learner wants them.
            yield features[batch].permute(0, 3, 1, 2), labels[batch]

    def val(self) -> Iterator[Batch]:
        """Yield this process's part of the validation pictures.

        Raises:
            DataError: a picture can no longer be read.
        """
        pictures = self._pictures.val
        groups = self._learner.team.share(in_order(len(pictures), GROUP))
        missing = [group for number, group in enumerate(groups) if number not in self._val]
        fresh = val_batches(self._pool, pictures, missing)
        for number, group in enumerate(groups):
            features = self._val.get(
                number, lambda: self._learner.exact_features(next(fresh)[0]).cpu(), _size
            )
            yield features, torch.tensor([pictures[index].label for index in group])

    def _augmented(self, batches: Sequence[Sequence[int]], number: int) -> Iterator[Batch]:
        key = (self._plan.seed, number)
        return train_batches(self._pool, self._pictures.train, batches, key, self._decoded)

    def _view(self, view: int) -> Tensor:
        """One view of every picture, in order: every process computes a part, and all get all."""
        groups = in_order(len(self._pictures.train), GROUP)
        fresh = self._augmented(self._learner.team.share(groups), view)
        parts: list[Tensor] = []
        with Bar(f"view {view + 1}/{self._plan.views}", len(self._pictures.train)) as bar:
            for inputs, labels in fresh:
                self._check()
                parts.append(self._learner.features(inputs).permute(0, 2, 3, 1).cpu().contiguous())
                bar.update(len(labels) * self._learner.team.size)
        return torch.cat(self._learner.team.collect(parts, len(groups), self._learner.precision))


def _room(processes: int) -> int:
    return int(SHARE * free_memory() / processes)


def _size(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
