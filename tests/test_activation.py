"""Class activation maps."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from antbee.activation import activation_maps, load_head, strength
from antbee.artifact import HEAD, INDEX, WEIGHTS, PackedModel, read_model, write_model
from antbee.errors import ModelError
from antbee.predictor import RUNTIMES, Floats, load_predictor
from antbee.training.network import build_model
from tests.conftest import LABELS

ALLOWED = {"torch": 1e-6, "onnx": 1e-5, "int8": 0.1}
"""How far a map may lie from PyTorch's, as a share of the largest number in it."""


@pytest.fixture(scope="module")
def batch() -> Floats:
    """Return three inputs."""
    return np.random.default_rng(0).standard_normal((3, 3, 224, 224), np.float32)


@pytest.fixture(scope="module")
def head(packed: PackedModel) -> Floats:
    """Return the packed model's head."""
    loaded = load_head(packed)
    assert loaded is not None
    return loaded


@pytest.fixture
def copy(packed: PackedModel, tmp_path: Path) -> Path:
    """Copy the packed model, to be damaged."""
    return Path(shutil.copytree(packed.folder, tmp_path / "copy"))


def maps_by_torch(packed: PackedModel, batch: Floats) -> Floats:
    """Compute every label's map as PyTorch does: the head as a 1 by 1 convolution of the features.

    The network is taken apart by a hook, so that nothing of ours is in the way.
    """
    network = build_model(packed.arch, len(packed.labels)).eval()
    network.load_state_dict(torch.load(packed.folder / WEIGHTS, weights_only=True))
    seen: list[torch.Tensor] = []
    network.get_submodule("layer4").register_forward_hook(lambda *call: seen.append(call[2]))
    with torch.inference_mode():
        network(torch.from_numpy(batch))
        kernel = network.get_parameter("fc.weight")[:, :, None, None]
        maps: Floats = torch.nn.functional.conv2d(seen[0], kernel).numpy()
    return maps


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_maps_are_pytorchs(
    packed_int8: PackedModel, head: Floats, batch: Floats, runtime: str
) -> None:
    """Every runtime's maps are those that PyTorch computes, int8's as near as int8 is."""
    expected = maps_by_torch(packed_int8, batch)
    _, features = load_predictor(packed_int8, runtime).outputs(batch)
    ours = np.stack([activation_maps(one, head) for one in features])

    assert ours.shape == (3, len(LABELS), 7, 7)
    assert np.abs(ours - expected).max() <= ALLOWED[runtime] * np.abs(expected).max()


def test_mean_of_a_map_is_the_logit(packed: PackedModel, head: Floats, batch: Floats) -> None:
    """What all parts say together is the logit without its bias, so nothing is left out."""
    bias = torch.load(packed.folder / WEIGHTS, weights_only=True)["fc.bias"].numpy()
    logits, features = load_predictor(packed, "onnx").outputs(batch)

    for row, one in zip(logits, features, strict=True):
        assert np.abs(activation_maps(one, head).mean((1, 2)) + bias - row).max() < 1e-5


def test_strength_can_be_compared_between_labels() -> None:
    """1 is the strongest for any label; what speaks against a label is 0."""
    maps = np.array([[[4.0, -1.0]], [[1.0, 2.0]]], np.float32)

    assert np.array_equal([[1.0, 0.0]], strength(maps, 0))
    assert np.array_equal([[0.25, 0.5]], strength(maps, 1))


@pytest.mark.parametrize("value", [0.0, -1.0])
def test_nothing_speaks_for_anything(value: float) -> None:
    """Where nothing speaks for any label, the strength is 0, and not what 0 by 0 gives."""
    maps = np.full((2, 7, 7), value, np.float32)

    assert np.array_equal(np.zeros((7, 7)), strength(maps, 0))


def test_head_is_the_networks(packed: PackedModel, head: Floats) -> None:
    """The packed head is the state dict's, number for number."""
    weights = torch.load(packed.folder / WEIGHTS, weights_only=True)["fc.weight"].numpy()

    assert head.dtype == np.float32
    assert np.array_equal(weights, head)


def test_older_package_has_no_head(copy: Path) -> None:
    """A package written before there was a head is read, without one."""
    (copy / HEAD).unlink()
    write_model(read_model(copy))

    assert load_head(read_model(copy)) is None


def test_damaged_head_is_refused(copy: Path) -> None:
    """A head of which one byte has changed is refused by name."""
    content = bytearray((copy / HEAD).read_bytes())
    content[-1] ^= 1
    (copy / HEAD).write_bytes(content)

    with pytest.raises(ModelError, match=r"head\.npy is damaged"):
        load_head(read_model(copy))


@pytest.mark.parametrize(
    "array",
    [np.zeros((2, 512), np.float32), np.zeros((3, 512)), np.zeros(3, np.float32)],
    ids=["labels", "type", "shape"],
)
def test_another_array_is_refused(copy: Path, array: Floats) -> None:
    """An array that is vouched for and yet no head is refused."""
    np.save(copy / HEAD, array)
    write_model(read_model(copy))

    with pytest.raises(ModelError, match=r"head\.npy .*pack the model again"):
        load_head(read_model(copy))


class Malicious:
    """Unpickling this would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        """Name the call that unpickling makes."""
        return Path.touch, (self.path,)


def test_code_in_a_head_is_not_run(copy: Path, tmp_path: Path) -> None:
    """A head of objects is refused without making them."""
    np.save(copy / HEAD, np.array([Malicious(tmp_path / "proof")]), allow_pickle=True)
    write_model(read_model(copy))

    with pytest.raises(ModelError, match=r"head\.npy is not an array"):
        load_head(read_model(copy))
    assert not (tmp_path / "proof").exists()


def test_head_is_listed(packed: PackedModel) -> None:
    """The index vouches for the head."""
    assert HEAD in json.loads((packed.folder / INDEX).read_text())["files"]
