"""Steps of training and of validation."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from antbee.errors import CheckpointError, SettingsError
from antbee.training.batches import Batch
from antbee.training.learner import (
    SMOOTHING,
    Hyperparameters,
    Learner,
    share_of_rate,
    weigh_alike,
)
from antbee.training.network import build_model

CPU = torch.device("cpu")


class Linear(nn.Module):
    """A network small enough to train in a blink."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3 * 4 * 4, 2)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Map pictures [N, 3, 4, 4] to logits [N, 2]."""
        logits: torch.Tensor = self.layer(pictures.flatten(1))
        return logits


def make_learner(learning_rate: float = 0.1, weights: tuple[float, ...] = ()) -> Learner:
    """Make a learner that always begins alike."""
    torch.manual_seed(0)
    return Learner(Linear(), CPU, Hyperparameters(learning_rate, steps=20, weights=weights))


@pytest.fixture
def batch() -> Batch:
    """Return pictures whose label a linear network can learn."""
    torch.manual_seed(1)
    pictures = torch.randn(8, 3, 4, 4)
    return pictures, (pictures[:, 0, 0, 0] > 0).long()


def test_the_rate_warms_up_and_falls_to_nothing() -> None:
    """The learning rate rises over the first tenth, and falls from its highest to nearly zero."""
    shares = [share_of_rate(step, 100) for step in range(100)]

    assert shares[:11] == sorted(shares[:11])
    assert shares[10:] == sorted(shares[10:], reverse=True)
    assert (max(shares), shares[10]) == (1.0, 1.0)
    assert 0 < shares[0] < 0.1
    assert 0 <= shares[-1] < 0.001


@pytest.mark.parametrize("steps", range(1, 12))
def test_short_runs_train_too(steps: int) -> None:
    """However short the run, every step has a rate above zero and up to the highest."""
    assert all(0 < share_of_rate(step, steps) <= 1 for step in range(steps))


def test_training_lowers_the_loss(batch: Batch) -> None:
    """Twenty steps on one batch bring its loss down."""
    learner = make_learner()

    losses = [learner.train(batch) for _ in range(20)]

    assert losses[-1] < 0.7 * losses[0]


def test_validation_counts_what_is_right(batch: Batch) -> None:
    """Validation sums plain cross-entropies, counts each label's right ones, changes nothing."""
    learner = make_learner()
    with torch.no_grad():
        logits = learner.model(batch[0])

    loss, right = learner.validate(batch)

    assert loss == pytest.approx(functional.cross_entropy(logits, batch[1]).item() * 8)
    hits = logits.argmax(1) == batch[1]
    assert right == [int(hits[batch[1] == label].sum()) for label in range(logits.shape[1])]
    assert (loss, right) == learner.validate(batch)


def test_labels_weigh_alike(batch: Batch) -> None:
    """With the inverse of their shares as weights, every label has the same part of the loss."""
    pictures, labels = batch[0], torch.tensor([0, 0, 0, 0, 0, 0, 1, 1])
    weights = weigh_alike([6, 2])
    learner = make_learner(weights=weights)
    with torch.no_grad():
        logits = learner.model(pictures)
    losses = functional.cross_entropy(logits, labels, reduction="none", label_smoothing=SMOOTHING)
    expected = (losses[:6].mean() + losses[6:].mean()) / 2

    assert learner.train((pictures, labels)) == pytest.approx(8 * expected.item())
    assert sum(weights[label] for label in labels) == pytest.approx(8)


def test_a_state_goes_on_exactly(batch: Batch) -> None:
    """A learner restored in the middle takes the very steps that were left."""
    whole, half = make_learner(), make_learner()
    expected = [whole.train(batch) for _ in range(20)]
    actual = [half.train(batch) for _ in range(9)]
    other = Learner(Linear(), CPU, Hyperparameters(0.1, steps=20))

    other.restore(**half.state())
    actual += [other.train(batch) for _ in range(11)]

    assert expected == actual
    assert torch.equal(whole.model.state_dict()["layer.weight"], other.model.layer.weight)


def test_another_networks_state_is_refused() -> None:
    """A state that does not fit is an error of the checkpoint."""
    learner = make_learner()
    state = learner.state()
    state["model"] = {"other": torch.zeros(1)}

    with pytest.raises(CheckpointError, match="contradicts itself"):
        learner.restore(**state)


def test_a_loss_that_is_no_number_stops_training(batch: Batch) -> None:
    """A learning rate that blows the network up is an error that names the remedy."""
    learner = make_learner(learning_rate=1e30)

    with pytest.raises(SettingsError, match="smaller --lr"):
        list(map(learner.train, [batch] * 5))


def train_a_little(freeze: str) -> tuple[dict[str, torch.Tensor], Learner]:
    """Take two steps; return the weights before them, and the learner after them."""
    torch.manual_seed(0)
    learner = Learner(build_model("resnet18", 2), CPU, Hyperparameters(0.1, 20, freeze=freeze))
    before = {name: tensor.clone() for name, tensor in learner.model.state_dict().items()}
    pictures, labels = torch.randn(4, 3, 64, 64), torch.tensor([0, 1, 1, 0])
    for _ in range(2):
        learner.train((learner.features(pictures), labels))
    return before, learner


@pytest.mark.parametrize(("freeze", "first"), [("none", "conv1"), ("layer3", "layer4")])
def test_what_is_frozen_stays_as_it_is(freeze: str, first: str) -> None:
    """No weight and no statistic of a frozen stage changes, and all others do."""
    before, learner = train_a_little(freeze)

    changed = {
        name.partition(".")[0]
        for name, tensor in learner.model.state_dict().items()
        if not torch.equal(tensor, before[name])
    }
    order = ["conv1", "bn1", "layer1", "layer2", "layer3", "layer4", "fc"]
    assert changed == set(order[order.index(first) :])


def test_what_is_frozen_costs_nothing() -> None:
    """A frozen stage has no gradient and no momentum."""
    _, learner = train_a_little("layer3")

    parameters = sum(len(group["params"]) for group in learner.optimizer.param_groups)
    assert all(one.grad is None for one in learner.model.layer3.parameters())
    assert parameters == len([*learner.model.layer4.parameters(), *learner.model.fc.parameters()])


def test_the_parts_are_the_whole() -> None:
    """The frozen part and the rest give together what the network gives, bit for bit."""
    _, learner = train_a_little("layer3")
    pictures, labels = torch.randn(4, 3, 64, 64), torch.tensor([0, 1, 1, 0])

    loss, _ = learner.validate((learner.exact_features(pictures), labels))

    with torch.inference_mode():
        logits = learner.model.eval()(pictures.contiguous(memory_format=torch.channels_last))
    assert loss == functional.cross_entropy(logits, labels, reduction="sum").item()
