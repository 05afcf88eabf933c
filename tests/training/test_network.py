"""The network, which part of it is frozen, and the weights that it starts from."""

import argparse
import hashlib
import json
import string
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import pytest
import torch
from torch import nn

from antbee.errors import CheckpointError, SettingsError
from antbee.training import network as module
from antbee.training.arguments import ARCHITECTURES, STAGES
from antbee.training.network import build_model, choose_stage, fold, load_weights, split


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


@pytest.fixture
def imagenet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Put a file with a head for 1000 labels where torchvision's weights are downloaded from."""
    torch.manual_seed(1)
    source = tmp_path / "source.pth"
    torch.save(build_model("resnet18", 1000).state_dict(), source)
    digest = hashlib.sha256(source.read_bytes()).hexdigest()[:8]
    named = source.rename(tmp_path / f"resnet18-{digest}.pth")
    default = SimpleNamespace(url=named.as_uri())
    monkeypatch.setattr(module, "get_model_weights", lambda _: SimpleNamespace(DEFAULT=default))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "cache"))
    return named


def save(path: Path, state: object) -> str:
    """Save what `--weights` is to read."""
    torch.save(state, path)
    return str(path)


def altered(state: dict[str, Any]) -> dict[str, Any]:
    """Add one to every weight, to tell what was loaded from what was there."""
    return {name: tensor + 1 for name, tensor in state.items()}


def test_none_leaves_the_network_as_it_is(network: nn.Module) -> None:
    """Training from random weights loads nothing."""
    assert load_weights(network, "resnet18", "none") == {"what": "none"}


def test_a_partial_file_fills_what_it_has(
    network: nn.Module, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file without the last stage is loaded, and what it lacks is named by layer."""
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    partial = {k: v for k, v in altered(before).items() if not k.startswith(("layer4.1", "fc"))}

    provenance = load_weights(network, "resnet18", save(tmp_path / "part.pth", partial))

    now = network.state_dict()
    assert torch.equal(now["layer1.0.conv1.weight"], before["layer1.0.conv1.weight"] + 1)
    assert torch.equal(now["layer4.1.conv1.weight"], before["layer4.1.conv1.weight"])
    assert {name.rpartition(".")[0] for name in provenance["missing"]} == {
        "layer4.1.conv1", "layer4.1.bn1", "layer4.1.conv2", "layer4.1.bn2", "fc",
    }  # fmt: skip
    assert provenance["sha256"] == hashlib.sha256((tmp_path / "part.pth").read_bytes()).hexdigest()
    assert "start at random: layer4.1 (10), fc (2)" in capsys.readouterr().err


def test_a_head_for_other_labels_is_left_out(
    network: nn.Module, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Weights of a network with another number of labels are taken without the head."""
    other = build_model("resnet18", 1000).state_dict()

    provenance = load_weights(network, "resnet18", save(tmp_path / "whole.pth", other))

    assert provenance["dropped"] == ["fc.weight", "fc.bias"]
    assert torch.equal(network.state_dict()["conv1.weight"], other["conv1.weight"])
    assert "left out, being for other labels: fc (2)" in capsys.readouterr().err


def test_a_head_for_as_many_labels_is_taken(network: nn.Module, tmp_path: Path) -> None:
    """A head that fits is loaded like everything else."""
    whole = altered(network.state_dict())

    provenance = load_weights(network, "resnet18", save(tmp_path / "whole.pth", whole))

    assert torch.equal(network.state_dict()["fc.bias"], whole["fc.bias"])
    assert [provenance[key] for key in ("missing", "unexpected", "dropped")] == [[], [], []]


@pytest.mark.usefixtures("tiny")
def test_a_checkpoint_of_a_run_is_a_file_of_weights(network: nn.Module, finished: Path) -> None:
    """`--weights` takes best.pt of an earlier run."""
    saved = torch.load(finished / "best.pt", weights_only=True)["model"]

    load_weights(network, "resnet18", str(finished / "best.pt"))

    assert torch.equal(network.state_dict()["conv1.weight"], saved["conv1.weight"])


def test_unexpected_tensors_are_named(
    network: nn.Module, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Tensors that the network has no place for are not used, and said."""
    state = {**network.state_dict(), "layer1.7.conv1.weight": torch.zeros(1), "aux": torch.zeros(1)}

    provenance = load_weights(network, "resnet18", save(tmp_path / "more.pth", state))

    assert provenance["unexpected"] == ["aux", "layer1.7.conv1.weight"]
    assert "unexpected in the file, so not used: aux (1), layer1.7 (1)" in capsys.readouterr().err


def safetensors(state: dict[str, Any]) -> bytes:
    """Write the floating-point tensors of a state dict in the safetensors format."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    blob = b""
    for name, tensor in state.items():
        if tensor.is_floating_point():
            part = tensor.contiguous().numpy().tobytes()
            offsets = [len(blob), len(blob) + len(part)]
            header[name] = {"dtype": "F32", "shape": [*tensor.shape], "data_offsets": offsets}
            blob += part
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + blob


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize(
    ("key", "prefix"),
    [
        ("", "module."),
        ("", "_orig_mod."),
        ("state_dict", ""),
        ("state_dict", "module."),
        ("model", ""),
        ("model", "model.backbone."),
        ("ema", ""),
    ],
)
def test_a_wrapped_state_dict_is_found(
    tmp_path: Path, key: str, prefix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What training programs put a state dict into is taken off, and that is said."""
    network = build_model("resnet18", 2)
    whole = altered(network.state_dict())
    state: dict[str, Any] = {prefix + name: tensor for name, tensor in whole.items()}
    if key:
        optimizer = {"state": {0: {"momentum_buffer": torch.zeros(2)}}}
        arguments = argparse.Namespace(lr=0.1)
        state = {"epoch": 3, "optimizer": optimizer, key: state, "args": arguments}

    provenance = load_weights(network, "resnet18", save(tmp_path / "x.pth", state))

    assert all(torch.equal(network.state_dict()[name], whole[name]) for name in whole)
    assert [provenance[name] for name in ("missing", "unexpected", "dropped")] == [[], [], []]
    said = capsys.readouterr().err.splitlines()[0]
    parts = [f"of {key}"] if key else []
    parts += [f"without {prefix} in front of their names"] if prefix else []
    assert said == ", ".join(["weights: x.pth", *parts])


@pytest.mark.usefixtures("tiny")
def test_a_part_of_a_network_keeps_its_names(tmp_path: Path) -> None:
    """The names of a block are those of the stem, too, and yet the block's."""
    network = build_model("resnet18", 2)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    part = {k: v for k, v in altered(before).items() if k.startswith("layer1.0.")}

    load_weights(network, "resnet18", save(tmp_path / "part.pth", part))

    name = "layer1.0.conv1.weight"
    assert torch.equal(network.state_dict()[name], part[name])
    assert torch.equal(network.state_dict()["conv1.weight"], before["conv1.weight"])


@pytest.mark.usefixtures("tiny")
def test_of_networks_that_fit_as_well_the_first_is_taken(tmp_path: Path) -> None:
    """What a file wraps several networks in is taken in the file's order, in every process."""
    network = build_model("resnet18", 2)
    before = network.state_dict()["fc.bias"].clone()
    names = reversed(string.ascii_lowercase)
    several = {f"{name}.fc.bias": before + place for place, name in enumerate(names, 1)}

    load_weights(network, "resnet18", save(tmp_path / "several.pth", several))

    assert torch.equal(network.state_dict()["fc.bias"], before + 1)


@pytest.mark.usefixtures("tiny")
@pytest.mark.filterwarnings("ignore::UserWarning:torch")
@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
@pytest.mark.parametrize(
    "convert",
    [
        lambda plain: torch.quantize_per_tensor(plain, 0.1, 0, torch.qint8),
        torch.Tensor.to_sparse,
        lambda plain: plain.to("meta"),
    ],
    ids=("quantized", "sparse", "meta"),
)
def test_tensors_of_other_kinds_are_not_taken(
    tmp_path: Path, convert: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    """What is no plain row of numbers counts as missing; a file of nothing else is refused."""
    network = build_model("resnet18", 2)
    whole, odd = network.state_dict(), convert(torch.ones(2))

    file = save(tmp_path / "x.pth", {**whole, "fc.bias": odd})
    assert load_weights(network, "resnet18", file)["missing"] == ["fc.bias"]
    with pytest.raises(CheckpointError, match="no state dict"):
        load_weights(network, "resnet18", save(tmp_path / "y.pth", {"fc.bias": odd}))


@pytest.mark.usefixtures("tiny")
def test_safetensors_are_read(tmp_path: Path) -> None:
    """A file of the safetensors format is weights like another."""
    network = build_model("resnet18", 2)
    whole = altered(network.state_dict())
    (tmp_path / "x.safetensors").write_bytes(safetensors(whole))

    provenance = load_weights(network, "resnet18", str(tmp_path / "x.safetensors"))

    assert torch.equal(network.state_dict()["fc.bias"], whole["fc.bias"])
    assert (provenance["missing"], provenance["unexpected"]) == ([], [])


WEIGHT: Final = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.mark.parametrize(
    ("header", "bytes_"),
    [
        ({"a": WEIGHT}, 7),
        ({"a": WEIGHT}, 9),
        ({"a": WEIGHT, "b": WEIGHT}, 8),
        ({"a": WEIGHT | {"shape": [3]}}, 8),
        ({"a": WEIGHT | {"shape": [-2], "data_offsets": [8, 0]}}, 8),
        ({"a": WEIGHT | {"shape": [2**62, 2**62, 0], "data_offsets": [0, 0]}}, 0),
        ({"a": WEIGHT | {"dtype": "F33"}}, 8),
        ({"a": {}}, 0),
        ({"a": 1}, 0),
    ],
)
def test_broken_safetensors_are_refused(
    network: nn.Module, tmp_path: Path, header: dict[str, Any], bytes_: int
) -> None:
    """Lengths, shapes and types that do not go together are refused, whatever they are."""
    text = json.dumps(header).encode()
    data = len(text).to_bytes(8, "little") + text + bytes(bytes_)
    (tmp_path / "x.safetensors").write_bytes(data)

    with pytest.raises(CheckpointError, match=r"x\.safetensors is not|no tensor that"):
        load_weights(network, "resnet18", str(tmp_path / "x.safetensors"))


@pytest.mark.usefixtures("tiny")
def test_weights_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    """Weights of a training that went wrong are named, before the learning rate is blamed."""
    network = build_model("resnet18", 2)
    state = altered(network.state_dict())
    state["layer2.0.conv1.weight"][0, 0, 0, 0] = float("nan")

    with pytest.raises(CheckpointError, match=r"layer2\.0\.conv1\.weight that are none \(NaN"):
        load_weights(network, "resnet18", save(tmp_path / "x.pth", state))


def test_a_huge_file_is_not_read(network: nn.Module, tmp_path: Path) -> None:
    """What is larger than any ResNet is refused by its size."""
    with (tmp_path / "x.pth").open("wb") as file:
        file.truncate(10**12)

    with pytest.raises(CheckpointError, match="larger than 4 GB"):
        load_weights(network, "resnet18", str(tmp_path / "x.pth"))


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ({"conv1.weight": torch.zeros(64, 3, 3, 3)}, r"conv1\.weight is \[64, 3, 3, 3\] in the"),
        ({"stem.weight": torch.zeros(1)}, "no tensor that resnet18 has"),
        ({"conv1.weight": 1}, "no state dict"),
        ([torch.zeros(1)], "no state dict"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(
    network: nn.Module, tmp_path: Path, state: object, reason: str
) -> None:
    """Another shape, nothing in common, or no tensors by name: an error that says which."""
    with pytest.raises(CheckpointError, match=reason):
        load_weights(network, "resnet18", save(tmp_path / "odd.pth", state))


def test_a_missing_file_is_named(network: nn.Module, tmp_path: Path) -> None:
    """A file that is not there is an error that names it."""
    with pytest.raises(CheckpointError, match=r"there is no file .*nothing\.pth"):
        load_weights(network, "resnet18", str(tmp_path / "nothing.pth"))


def test_imagenet_weights_are_downloaded_once(network: nn.Module, imagenet: Path) -> None:
    """The download is checked, kept, and used again when the source is gone."""
    first = load_weights(network, "resnet18", "imagenet")
    imagenet.unlink()
    second = load_weights(network, "resnet18", "imagenet")

    assert first == second
    assert (first["what"], first["file"]) == ("imagenet", imagenet.name)


@pytest.mark.usefixtures("imagenet")
def test_a_thousand_labels_of_ones_own_are_not_imagenets() -> None:
    """The head of the ImageNet weights is left out, even if it would fit."""
    network = build_model("resnet18", 1000)
    before = network.state_dict()["fc.weight"].clone()

    found = load_weights(network, "resnet18", "imagenet")

    assert found["dropped"] == ["fc.weight", "fc.bias"]
    assert torch.equal(before, network.state_dict()["fc.weight"])


def test_a_half_file_in_the_cache_is_fetched_again(
    network: nn.Module, imagenet: Path, tmp_path: Path
) -> None:
    """What an earlier download left broken does not break the next run."""
    cached = tmp_path / "cache/checkpoints" / imagenet.name
    cached.parent.mkdir(parents=True)
    cached.write_bytes(imagenet.read_bytes()[:1000])

    load_weights(network, "resnet18", "imagenet")

    assert imagenet.read_bytes() == cached.read_bytes()


def test_a_download_cut_short_leaves_nothing(
    network: nn.Module, imagenet: Path, tmp_path: Path
) -> None:
    """A download whose sum is wrong is refused, names the two ways out, and leaves no file."""
    imagenet.write_bytes(imagenet.read_bytes()[:1000])

    with pytest.raises(CheckpointError, match=r"--weights FILE, .* --weights none"):
        load_weights(network, "resnet18", "imagenet")

    assert list((tmp_path / "cache/checkpoints").iterdir()) == []
