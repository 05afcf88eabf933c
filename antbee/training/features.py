"""What the frozen part of the network makes of the pictures, in batches for the learner.

The frozen part never changes, so nothing that went through it need go through it twice. Validation
pictures are always the same; training pictures are, if the augmentation has a number of views of
each and no more, which the epochs take in turn.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from operator import attrgetter
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor

from antbee.command import progress_bar
from antbee.images import Preprocessing
from antbee.machine import free_memory
from antbee.training.batches import Batch, Cache, in_order, shuffle, train_batches, val_batches
from antbee.training.data import Pictures
from antbee.training.learner import Learner

if TYPE_CHECKING:
    from PIL import Image

VIEWS: Final = 3
"""Of a training picture, where they are kept: more gained nothing when that was compared by
cross-validation on the training pictures. If fewer fit, every epoch has its own."""
SHARE: Final = 0.25
"""Of the free memory, that all processes of a machine may keep things of one kind in."""
GROUP: Final = 16
"""Pictures that go through the frozen part together. Fixed, because sums in floating point may
depend on it, and a run that goes on must compute what it would have computed."""
_nbytes: Final = attrgetter("nbytes")


def count_views(feature_bytes: int, pictures: int, epochs: int, processes: int = 1) -> int:
    """How many views of each training picture to keep; 0 if every epoch is to have its own.

    `feature_bytes` is what the frozen part makes of one picture, 0 if nothing is frozen; each of
    the machine's processes keeps all views.
    """
    if not feature_bytes:
        return 0
    fit = _room(processes) // (feature_bytes * pictures)
    return VIEWS if min(fit, epochs) >= VIEWS else 0


class Features:
    """Batches for a learner, the same for the same seed and epoch; of each, its process's part.

    Args:
        learner: whose frozen part is asked.
        pictures: to train and to validate on.
        pool: reads ahead.
        check: called while pictures go through the frozen part; may raise.
        seed: of the run; with the epoch, it decides order and augmentation.
        size: of a training batch, at most.
        views: of each training picture; 0 if every epoch has its own.
    """

    def __init__(
        self,
        learner: Learner,
        pictures: Pictures,
        pool: Executor,
        check: Callable[[], None],
        *,
        seed: int,
        size: int,
        views: int,
    ) -> None:
        self._learner = learner
        self._group = learner.group
        self._pictures = pictures
        self._seed, self._size, self._views = seed, size, views
        self._preprocessing = Preprocessing.of_size(learner.size)
        self._pool = pool
        self._check = check
        room = _room(self._group.local_size)
        self._decoded: Cache[Image.Image] = Cache(room)
        self._val: Cache[Tensor] = Cache(room)
        # All processes keep the same views, because they make one together. And slightly more room
        # than was reckoned with when the views were counted.
        self._train: Cache[Tensor] = Cache(int(self._group.min(room)) * 5 // 4)

    def train(self, epoch: int, done: int) -> Iterator[Batch]:
        """Yield an epoch's batches, but for the first `done`; epochs are counted from 0.

        Raises:
            DataError: a picture can no longer be read.
        """
        pictures = self._pictures.train
        key = (self._seed, epoch)
        whole = shuffle(len(pictures), self._size, key)[done:]
        batches = [self._group.shard(batch) for batch in whole]
        if not self._views:
            for inputs, labels in self._augmented(batches, key):
                yield self._learner.features(inputs), labels
            return
        view = epoch % self._views
        features = self._train.get(view, lambda: self._make_view(view), _nbytes)
        labels = torch.tensor([picture.label for picture in pictures])
        for batch in batches:
            # The channels are last in memory, where the learner wants them.
            yield features[batch].permute(0, 3, 1, 2), labels[batch]

    def val(self) -> Iterator[Batch]:
        """Yield the validation pictures.

        Raises:
            DataError: a picture can no longer be read.
        """
        pictures = self._pictures.val
        batches = self._group.shard(in_order(len(pictures), GROUP))
        missing = [batch for number, batch in enumerate(batches) if number not in self._val]
        fresh = val_batches(self._pool, pictures, missing, self._preprocessing)
        for number, batch in enumerate(batches):
            features = self._val.get(
                number, lambda: self._learner.exact_features(next(fresh)[0]).cpu(), _nbytes
            )
            yield features, torch.tensor([pictures[index].label for index in batch])

    def _augmented(self, batches: Sequence[Sequence[int]], key: tuple[int, int]) -> Iterator[Batch]:
        return train_batches(
            self._pool, self._pictures.train, batches, key, self._decoded, self._preprocessing
        )

    @property
    def has_all_views(self) -> bool:
        """Whether views are kept, and each has been made."""
        return self._views > 0 and all(view in self._train for view in range(self._views))

    def pooled(self) -> Tensor:
        """Standard deviation and mean of each channel, of every training picture.

        Those of its views, averaged, where views are kept; otherwise of the picture as the server
        sees it. Each process computes what it has not kept.

        Returns:
            float32 [N, 2 C].

        Raises:
            DataError: a picture can no longer be read.
        """
        count, pooled = len(self._pictures.train), []
        batches = in_order(count, GROUP)
        views = range(self._views) if self._views else (None,)
        with progress_bar("pooling", count * len(views)) as bar:
            for view in views:
                rows = []
                for maps in self._maps(view, batches):
                    rows.append(torch.cat(torch.std_mean(maps.float(), (1, 2), correction=0), 1))
                    bar.update(len(maps))
                pooled.append(torch.cat(rows))
        return torch.stack(pooled).mean(0)

    def _make_view(self, view: int) -> Tensor:
        """One view of every training picture, [N, H, W, C]; each process computes a part of it."""
        count, learner = len(self._pictures.train), self._learner
        batches = self._group.shard(in_order(count, GROUP))
        _, *shape = learner.sample_features().permute(0, 2, 3, 1).shape
        features = torch.zeros(count, *shape, dtype=learner.precision)
        with progress_bar(f"view {view + 1}/{self._views}", count) as bar:
            for batch, maps in zip(batches, self._maps(view, batches), strict=True):
                features[batch] = maps
                bar.update(len(batch) * self._group.size)
        # Where one process has numbers all others have zeros, so the sum of their bytes is exact.
        self._group.all_reduce(features.view(torch.uint8))
        return features

    def _maps(self, view: int | None, batches: Sequence[Sequence[int]]) -> Iterator[Tensor]:
        """A view of training pictures, [B, H, W, C] a batch; None: as the server sees them."""
        pictures, learner = self._pictures.train, self._learner
        if view is not None and view in self._train:
            kept = self._train.get(view, lambda: self._make_view(view), _nbytes)
            yield from (kept[batch] for batch in batches)
            return
        key = (self._seed, view or 0)
        fresh = (
            val_batches(self._pool, pictures, batches, self._preprocessing)
            if view is None
            else self._augmented(batches, key)
        )
        compute = learner.exact_features if view is None else learner.features
        for inputs, _ in fresh:
            self._check()
            yield compute(inputs).permute(0, 2, 3, 1).cpu()


def _room(processes: int) -> int:
    return int(SHARE * free_memory() / processes)
