"""The network."""

import pytest
import torch

from antbee.training.model import ARCHITECTURES, build_model


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_a_network_has_an_output_for_each_label(arch: str) -> None:
    """Each architecture maps pictures to as many logits as there are labels."""
    with torch.inference_mode():
        logits = build_model(arch, 3).eval()(torch.zeros(2, 3, 64, 64))

    assert logits.shape == (2, 3)


def test_random_weights_follow_the_seed() -> None:
    """The same seed gives the same weights, another seed others."""
    weights = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        weights.append(build_model("resnet18", 2).state_dict()["conv1.weight"])

    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_another_architecture_is_refused() -> None:
    """A name that is not on the list is an error that shows the list."""
    with pytest.raises(ValueError, match="resnet18, resnet34, resnet50"):
        build_model("vgg16", 2)
