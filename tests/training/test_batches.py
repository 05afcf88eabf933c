"""Augmentation, order, and reading ahead."""

import itertools
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from antbee.errors import DataError
from antbee.images import IMAGENET, Preprocessing, decode_image, normalize, to_array
from antbee.training.batches import (
    SCALE,
    Batch,
    Cache,
    augment,
    in_order,
    shuffle,
    train_batches,
    val_batches,
)
from antbee.training.data import Picture, find_pictures
from tests.conftest import encode, noise

KEY = (0, 3)


@pytest.fixture
def pictures(data: Path) -> list[Picture]:
    """Return the training pictures."""
    return find_pictures(data / "train").pictures


@pytest.mark.parametrize(("count", "size"), [(245, 16), (12, 4), (7, 3), (3, 16)])
def test_an_epoch_has_every_picture_once(count: int, size: int) -> None:
    """Batches hold each picture once, never more than `size`, and differ in size by one at most."""
    batches = shuffle(count, size, KEY)

    sizes = [len(batch) for batch in batches]
    assert sorted(itertools.chain.from_iterable(batches)) == list(range(count))
    assert max(sizes) <= size
    assert max(sizes) - min(sizes) <= 1


def test_every_epoch_and_seed_has_its_own_order() -> None:
    """The order depends on seed and epoch, and on nothing else."""
    orders = [shuffle(100, 10, key) for key in ((0, 0), (0, 1), (1, 0), (0, 0))]

    assert orders[0] == orders[3]
    assert orders[0] != orders[1]
    assert orders[0] != orders[2]


@pytest.mark.parametrize("size", [(500, 375), (90, 300), (30, 20), (1, 40)])
def test_an_augmented_picture_is_scaled_as_the_server_s_are(size: tuple[int, int]) -> None:
    """Whatever the picture, its part has one size, and nothing of it is resampled again."""
    image = augment(noise(*size), np.random.default_rng(5), IMAGENET.crop)

    array = normalize(image)

    expected = (np.asarray(image, np.float32) / 255 - IMAGENET.mean) / np.array(IMAGENET.std)
    assert image.size == (IMAGENET.crop, IMAGENET.crop)
    assert np.allclose(array, expected.transpose(2, 0, 1), atol=1e-5)


def test_augmentation_cuts_and_mirrors() -> None:
    """Of a picture that grows brighter to the right, parts of all sizes appear, both ways round."""
    ramp = Image.linear_gradient("L").rotate(90).convert("RGB")
    parts = [
        np.asarray(augment(ramp, np.random.default_rng(seed), IMAGENET.crop)) for seed in range(200)
    ]
    rises = np.array([int(part[80, -1, 0]) - int(part[80, 0, 0]) for part in parts])

    assert 70 < (rises > 0).sum() < 130
    assert np.abs(rises).min() < 100
    assert np.abs(rises).max() > 200


def test_a_batch_is_the_same_however_it_is_read(pictures: list[Picture]) -> None:
    """Order and augmentation do not depend on who reads the pictures, nor on what is kept."""
    order = shuffle(len(pictures), 5, KEY)
    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(4) as four:
        expected = list(train_batches(one, pictures, order, KEY, Cache(0), IMAGENET))
        actual = list(train_batches(four, pictures, order, KEY, Cache(2**30), IMAGENET))

    assert_same(expected, actual)


def test_an_epoch_can_begin_in_its_middle(pictures: list[Picture]) -> None:
    """The batches that are left are those that would have come."""
    order = shuffle(len(pictures), 4, KEY)
    with ThreadPoolExecutor(2) as pool:
        whole = list(train_batches(pool, pictures, order, KEY, Cache(0), IMAGENET))
        rest = list(train_batches(pool, pictures, order[2:], KEY, Cache(0), IMAGENET))

    assert_same(whole[2:], rest)


def test_every_epoch_augments_in_its_own_way(pictures: list[Picture]) -> None:
    """The same picture looks another way in another epoch."""
    with ThreadPoolExecutor(2) as pool:
        first, second = (
            next(train_batches(pool, pictures, [[0]], (0, e), Cache(0), IMAGENET)) for e in (0, 1)
        )

    assert not torch.equal(first[0], second[0])


@pytest.mark.parametrize("size", [96, 224])
def test_what_is_kept_of_a_large_picture_is_large_enough(tmp_path: Path, size: int) -> None:
    """Of a picture of 12 megapixels the smallest part that is cut out is not enlarged."""
    path = tmp_path / "large.png"
    path.write_bytes(encode(Image.linear_gradient("L").resize((4000, 3000)), "PNG"))
    cache: Cache[Image.Image] = Cache(2**30)
    with ThreadPoolExecutor(1) as pool:
        arguments = (pool, [Picture(path, 0)], [[0]])
        preprocessing = Preprocessing.of_size(size)
        ((training, _),) = train_batches(*arguments, KEY, cache, preprocessing)
        ((validation, _),) = val_batches(*arguments, preprocessing)

    kept = cache.get(0, lambda: pytest.fail("nothing was kept"), lambda _: 0)
    assert training.shape == validation.shape == (1, 3, size, size)
    assert 1 <= min(kept.size) * SCALE[0] ** 0.5 / size < 2


def test_validation_sees_what_the_server_sees(pictures: list[Picture]) -> None:
    """A validation picture is decoded and turned into an array by the server's functions alone."""
    with ThreadPoolExecutor(2) as pool:
        batches = list(val_batches(pool, pictures, in_order(12, 5), IMAGENET))

    expected = np.stack([to_array(decode_image(one.path.read_bytes())) for one in pictures])
    assert np.array_equal(expected, torch.cat([batch[0] for batch in batches]).numpy())
    assert torch.cat([batch[1] for batch in batches]).tolist() == [0] * 6 + [1] * 6


def test_a_picture_that_vanishes_is_named(tmp_path: Path) -> None:
    """A file that was there at the check and is gone in training is an error that names it."""
    gone = [Picture(tmp_path / "gone.jpg", 0)]

    with ThreadPoolExecutor(1) as pool, pytest.raises(DataError, match=r"gone\.jpg can no longer"):
        list(val_batches(pool, gone, [[0]], IMAGENET))


def test_what_fits_is_made_once() -> None:
    """What was made once comes back as the same thing."""
    cache: Cache[bytes] = Cache(10)
    first = cache.get("a", lambda: bytes(6), len)

    again = cache.get("a", lambda: pytest.fail("made twice"), len)

    assert again is first
    assert "a" in cache


def test_what_does_not_fit_is_not_kept() -> None:
    """A full cache keeps what it has, hands on what is too large, and takes what still fits."""
    cache: Cache[bytes] = Cache(10)

    for key, size in (("a", 6), ("b", 5), ("c", 4), ("d", 1)):
        assert len(cache.get(key, partial(bytes, size), len)) == size

    assert [key in cache for key in "abcd"] == [True, False, True, False]


def test_threads_do_not_fill_a_cache_twice() -> None:
    """The same thing made by several threads at once takes its room once."""
    cache: Cache[bytes] = Cache(10)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: cache.get("a", lambda: bytes(5), len), range(100)))

    cache.get("b", lambda: bytes(5), len)

    assert "b" in cache


def assert_same(expected: list[Batch], actual: list[Batch]) -> None:
    """Compare batches bit for bit."""
    for one, other in zip(expected, actual, strict=True):
        assert torch.equal(one[0], other[0])
        assert torch.equal(one[1], other[1])
