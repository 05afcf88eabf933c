"""Which part of a network is frozen."""

import pytest
import torch
from torch import nn

from antbee.errors import SettingsError
from antbee.training.arguments import STAGES
from antbee.training.model import build_model
from antbee.training.stages import choose_stage, fold, split


@pytest.mark.parametrize("arch", ["resnet18", "resnet50"])
@pytest.mark.parametrize("freeze", STAGES)
def test_the_parts_follow_each_other(arch: str, freeze: str) -> None:
    """Wherever a network is split, its parts together compute what it computes."""
    torch.manual_seed(0)
    model, pictures = build_model(arch, 3).eval(), torch.randn(2, 3, 64, 64)

    first, second = split(model, freeze)

    assert torch.equal(second(first(pictures)), model(pictures))


@pytest.mark.parametrize("arch", ["resnet18", "resnet50"])
def test_folding_changes_rounding_only(arch: str) -> None:
    """Batch norms go into the convolutions, the answers stay, and so does the network."""
    torch.manual_seed(0)
    model, pictures = build_model(arch, 3), torch.randn(8, 3, 64, 64)
    model(pictures)  # gives the batch norms statistics other than 0 and 1
    part = split(model.eval(), "layer3")[0]

    folded = fold(part, torch.float32)

    assert torch.allclose(folded(pictures), part(pictures), rtol=1e-4, atol=1e-4)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    assert any(isinstance(module, nn.BatchNorm2d) for module in part.modules())


@pytest.mark.parametrize(
    ("missing", "stage"),
    [
        (None, "none"),
        ([], "layer3"),
        (["fc.weight", "fc.bias"], "layer3"),
        (["layer4.0.conv1.weight", "fc.weight"], "layer3"),
        (["layer3.1.bn1.weight"], "layer2"),
        (["layer1.0.conv1.weight"], "stem"),
        (["bn1.weight"], "none"),
    ],
)
def test_auto_freezes_what_was_trained_before(missing: list[str] | None, stage: str) -> None:
    """As far as layer3, and no further than the starting weights reach."""
    assert choose_stage("auto", missing) == stage


def test_random_weights_are_not_frozen() -> None:
    """Freezing a stage that starts at random is an error that says what can be frozen."""
    with pytest.raises(SettingsError, match="freeze layer3, or leave"):
        choose_stage("layer4", ["layer4.1.bn2.weight"])


@pytest.mark.parametrize("freeze", ["none", "layer2", "layer4"])
def test_a_stage_asked_for_is_taken(freeze: str) -> None:
    """Any stage may be frozen whose weights are there."""
    assert choose_stage(freeze, ["fc.weight"]) == freeze
