"""What the frozen part makes of the pictures, and what is kept of it."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from antbee.training import features as module
from antbee.training.batches import Batch
from antbee.training.check import check_pictures
from antbee.training.data import Pictures
from antbee.training.features import VIEWS, Features, count_views
from antbee.training.learner import Hyperparameters, Learner
from antbee.training.network import build_model

SEED = 3
SIZE = 4


class Counting(Learner):
    """Counts the pictures that go through the frozen part."""

    count = 0

    def features(self, pictures: torch.Tensor) -> torch.Tensor:
        """Count them, and do as asked."""
        self.count += len(pictures)
        return super().features(pictures)

    def sample_features(self) -> torch.Tensor:
        """Do as asked; it is of no picture."""
        before = self.count
        sample = super().sample_features()
        self.count = before
        return sample

    def exact_features(self, pictures: torch.Tensor) -> torch.Tensor:
        """Count them, and do as asked."""
        self.count += len(pictures)
        return super().exact_features(pictures)


@pytest.fixture
def pictures(data: Path) -> Pictures:
    """Return six training and two validation pictures of each of two labels."""
    return check_pictures(data)


@pytest.fixture
def learner(tiny: None) -> Counting:  # noqa: ARG001 - in place before it is built
    """Return a learner whose first three stages are frozen."""
    torch.manual_seed(0)
    parameters = Hyperparameters(0.1, 10, freeze="layer3")
    return Counting(build_model("resnet18", 2), torch.device("cpu"), parameters)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    """Yield two threads."""
    with ThreadPoolExecutor(2) as threads:
        yield threads


def open_features(
    learner: Learner, pictures: Pictures, pool: ThreadPoolExecutor, views: int = 2
) -> Features:
    """Return features that nothing interrupts."""
    return Features(learner, pictures, pool, lambda: None, seed=SEED, size=SIZE, views=views)


def test_views_come_in_turn(
    learner: Counting, pictures: Pictures, pool: ThreadPoolExecutor
) -> None:
    """After as many epochs as there are views, no picture goes through the frozen part again."""
    features = open_features(learner, pictures, pool)
    epochs = [sorted_by_sum(train(features, epoch)) for epoch in range(4)]

    assert learner.count == 2 * 12
    assert torch.equal(epochs[0], epochs[2])
    assert torch.equal(epochs[1], epochs[3])
    assert not torch.equal(epochs[0], epochs[1])


def test_without_views_every_epoch_has_its_own(
    learner: Counting, pictures: Pictures, pool: ThreadPoolExecutor
) -> None:
    """Where views are not kept, every epoch augments anew."""
    features = open_features(learner, pictures, pool, views=0)
    epochs = [sorted_by_sum(train(features, epoch)) for epoch in range(3)]

    assert learner.count == 3 * 12
    assert not torch.equal(epochs[0], epochs[2])


@pytest.mark.parametrize("views", [0, 2])
def test_an_epoch_can_begin_in_its_middle(
    learner: Counting, pictures: Pictures, pool: ThreadPoolExecutor, views: int
) -> None:
    """What is left of an epoch is what would have come, bit for bit, in another process too."""
    whole = train(open_features(learner, pictures, pool, views), 3)

    rest = train(open_features(learner, pictures, pool, views), 3, done=1)

    assert_same(whole[1:], rest)


def test_what_does_not_fit_is_computed_again(
    learner: Counting,
    pictures: Pictures,
    pool: ThreadPoolExecutor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A run that goes on with less memory computes the same, more slowly."""
    expected = train(open_features(learner, pictures, pool), 2)
    monkeypatch.setattr(module, "free_memory", lambda: 0)
    learner.count = 0
    features = open_features(learner, pictures, pool)

    actual = [train(features, epoch) for epoch in (0, 2)][1]

    assert learner.count == 2 * 12
    assert_same(expected, actual)


def test_validation_pictures_go_through_once(
    learner: Counting, pictures: Pictures, pool: ThreadPoolExecutor
) -> None:
    """Every epoch validates on the same features, in order, computed once."""
    features = open_features(learner, pictures, pool)

    first, second = list(features.val()), list(features.val())

    assert learner.count == 4
    assert_same(first, second)
    assert torch.cat([labels for _, labels in first]).tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("feature_bytes", "pictures", "epochs", "views"),
    [
        (1000, 100, 25, VIEWS),
        (1000, 100, VIEWS, VIEWS),
        (1000, 100, VIEWS - 1, 0),
        (0, 100, 25, 0),
        (1000, 1000 * 1000, 25, 0),
        (1000, 80_000, 25, VIEWS),
        (1000, 90_000, 25, 0),
    ],
)
def test_as_many_views_as_fit(
    feature_bytes: int, pictures: int, epochs: int, views: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Views are kept in a quarter of the free memory, if they fit and epochs will use them."""
    monkeypatch.setattr(module, "free_memory", lambda: 10**9)

    assert count_views(feature_bytes, pictures, epochs) == views


def test_processes_of_a_machine_share_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Views that one process could keep are too many for two."""
    monkeypatch.setattr(module, "free_memory", lambda: 10**9)

    assert count_views(1000, 80_000, epochs=25, processes=1) == VIEWS
    assert count_views(1000, 80_000, epochs=25, processes=2) == 0
    assert count_views(1000, 40_000, epochs=25, processes=2) == VIEWS


@pytest.mark.parametrize("views", [0, 2])
def test_pooled_features_are_those_that_were_kept(
    learner: Counting, pictures: Pictures, pool: ThreadPoolExecutor, views: int
) -> None:
    """Deviation and mean of each channel, of kept views for nothing, and the same if made anew."""
    features = open_features(learner, pictures, pool, views)
    assert not features.has_all_views
    kept = [train(features, epoch) for epoch in range(views)]
    computed = learner.count

    pooled = features.pooled()

    assert features.has_all_views == bool(views)
    assert learner.count == (computed if views else 12)
    assert torch.equal(pooled, open_features(learner, pictures, pool, views).pooled())
    if views:
        maps = torch.stack([sorted_by_sum(epoch) for epoch in kept]).double()
        means, deviations = maps.mean((3, 4)).mean((0, 1)), maps.std((3, 4), correction=0)
        expected = torch.cat([deviations.mean((0, 1)), means])
        torch.testing.assert_close(pooled.mean(0).double(), expected, rtol=1e-4, atol=1e-6)


def train(features: Features, epoch: int, done: int = 0) -> list[Batch]:
    """Return the batches of an epoch."""
    return list(features.train(epoch, done))


def sorted_by_sum(batches: list[Batch]) -> torch.Tensor:
    """Return an epoch's features in an order that does not depend on the epoch's."""
    features = torch.cat([one for one, _ in batches])
    return features[features.double().sum((1, 2, 3)).argsort()]


def assert_same(expected: list[Batch], actual: list[Batch]) -> None:
    """Compare batches bit for bit."""
    for one, other in zip(expected, actual, strict=True):
        assert torch.equal(one[0], other[0])
        assert torch.equal(one[1], other[1])
