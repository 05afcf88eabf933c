"""Pictures to batches: augmentation, order, and reading ahead.

The order of an epoch and the augmentation of a picture are functions of (seed, epoch, picture)
alone. No generator is carried from batch to batch, so training can stop after any batch and go on
in another process, with another number of threads, as if it had not.
"""

import itertools
import math
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import Executor
from pathlib import Path
from threading import Lock
from typing import Final, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from antbee.ahead import work_ahead
from antbee.errors import AntBeeError, DataError
from antbee.images import (
    REDUCING_GAP,
    Preprocessing,
    decode_image,
    normalize,
    read_array,
    read_picture,
)
from antbee.training.data import Picture

T = TypeVar("T")

SCALE: Final = (0.08, 1.0)
RATIO: Final = (3 / 4, 4 / 3)
MIRRORED: Final = 0.5
AHEAD: Final = 2
"""Batches that are read ahead."""

Batch = tuple[Tensor, Tensor]
"""Pictures, float32 [N, 3, S, S] in channels-last memory, or what a frozen part of the network made
of them, and labels, int64 [N]. S is what the network is served with."""


class Cache(Generic[T]):
    """Keeps what was made until it is full; what did not fit is made anew each time.

    Nothing is ever taken out: training asks for everything once an epoch, and whatever makes room
    would be asked for before what took its place.

    Args:
        room: in bytes.
    """

    def __init__(self, room: int) -> None:
        self._room = room
        self._kept: dict[Hashable, T] = {}
        self._lock = Lock()

    def __contains__(self, key: Hashable) -> bool:
        return key in self._kept

    def get(self, key: Hashable, make: Callable[[], T], size: Callable[[T], int]) -> T:
        """Return what is kept under the key, or make it; `size` tells how many bytes it takes."""
        if key in self._kept:
            return self._kept[key]
        made = make()
        with self._lock:
            if key not in self._kept and size(made) <= self._room:
                self._room -= size(made)
                self._kept[key] = made
        return made


def count_batches(pictures: int, size: int) -> int:
    """Batches in an epoch, of `size` pictures at most."""
    return math.ceil(pictures / size)


def shuffle(pictures: int, size: int, key: tuple[int, int]) -> list[list[int]]:
    """Order an epoch's pictures, by index, in batches of `size` at most.

    `key` is the run's seed and the epoch. Batches differ in size by one at most: a remainder of one
    or two pictures would be a poor sample for batch normalisation.
    """
    order = np.random.default_rng(key).permutation(pictures)
    return [batch.tolist() for batch in np.array_split(order, count_batches(pictures, size))]


def in_order(pictures: int, size: int) -> list[list[int]]:
    """Batches of the pictures as they come, by index."""
    indices = range(pictures)
    return [list(indices[start : start + size]) for start in indices[::size]]


def train_batches(
    pool: Executor,
    pictures: list[Picture],
    batches: Sequence[Sequence[int]],
    key: tuple[int, int],
    cache: Cache[Image.Image],
    preprocessing: Preprocessing,
) -> Iterator[Batch]:
    """Yield batches, given as indices, of augmented training pictures, which the pool reads ahead.

    `key` is the run's seed and the epoch; the cache keeps decoded pictures by index. Pictures are
    as large as the server's: with smaller ones, as Touvron et al. (2019, arXiv:1906.06423) advise,
    training was a quarter faster and, in cross-validation, a point less accurate.

    Raises:
        DataError: a picture can no longer be read.
    """

    def read(index: int) -> NDArray[np.float32]:
        image = cache.get(
            index,
            lambda: _decode(pictures[index].path, preprocessing.crop),
            lambda image: image.width * image.height * len(image.mode),
        )
        part = augment(image, np.random.default_rng((*key, index)), preprocessing.crop)
        return normalize(part, preprocessing)

    return _stack(pool, read, pictures, batches)


def val_batches(
    pool: Executor,
    pictures: list[Picture],
    batches: Sequence[Sequence[int]],
    preprocessing: Preprocessing,
) -> Iterator[Batch]:
    """Yield batches of pictures exactly as the server will see them.

    Raises:
        DataError: a picture can no longer be read.
    """
    return _stack(
        pool,
        lambda index: read_array(read_picture(pictures[index].path), preprocessing),
        pictures,
        batches,
    )


def _decode(path: Path, size: int) -> Image.Image:
    """Decode a picture, reduced as far as no square that `augment` cuts out has to be enlarged.

    A JPEG of more than `antbee.images.HUGE` pixels may come at half of that.
    """
    largest = math.ceil(size / math.sqrt(SCALE[0]))
    image = decode_image(read_picture(path), shorter_side=largest // REDUCING_GAP)
    factor = min(image.size) // largest
    return image.reduce(factor) if factor > 1 else image


def augment(image: Image.Image, generator: np.random.Generator, size: int) -> Image.Image:
    """Cut out a random part and mirror it half of the time.

    The part has 8 to 100 % of the picture's area and 3:4 to 4:3 of its proportions (Szegedy et
    al. 2014, arXiv:1409.4842, section 6), as far as the picture allows, and is resized to `size`
    by `size` pixels.
    """
    area = image.width * image.height * generator.uniform(*SCALE)
    ratio = math.exp(generator.uniform(math.log(RATIO[0]), math.log(RATIO[1])))
    width = min(math.sqrt(area * ratio), image.width)
    height = min(math.sqrt(area / ratio), image.height)
    left = generator.uniform(0, image.width - width)
    top = generator.uniform(0, image.height - height)
    part = image.resize(
        (size, size),
        Image.Resampling.BILINEAR,
        box=(left, top, left + width, top + height),
    )
    return ImageOps.mirror(part) if generator.random() < MIRRORED else part


def _stack(
    pool: Executor,
    read: Callable[[int], NDArray[np.float32]],
    pictures: list[Picture],
    batches: Sequence[Sequence[int]],
) -> Iterator[Batch]:
    def load(index: int) -> NDArray[np.float32]:
        try:
            return read(index)
        except (OSError, AntBeeError) as error:
            path = pictures[index].path
            raise DataError(f"{path} can no longer be read: {error}") from error

    ahead = AHEAD * max(map(len, batches), default=0)
    arrays = work_ahead(pool, load, itertools.chain.from_iterable(batches), ahead)
    for batch in batches:
        pixels = torch.from_numpy(np.stack([next(arrays) for _ in batch]))
        labels = torch.tensor([pictures[index].label for index in batch])
        yield pixels.contiguous(memory_format=torch.channels_last), labels
