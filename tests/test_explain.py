"""Class activation maps, and the pictures that show them."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from antbee.artifact import (
    FEATURES,
    HEAD,
    INDEX,
    LOGITS,
    WEIGHTS,
    PackedModel,
    read_model,
    write_model,
)
from antbee.errors import ModelError
from antbee.explain import (
    MAX_SIDE,
    OUTSIDE,
    activation_maps,
    displayed,
    load_head,
    overlay,
    spread,
    strength,
    to_png,
)
from antbee.images import IMAGENET, central_square, to_array
from antbee.predictor import RUNTIMES, Floats, load_predictor
from antbee.training.network import build_model
from tests.conftest import LABELS, noise

ALLOWED = {"torch": 1e-6, "onnx": 1e-5, "int8": 0.1}
"""How far a map may lie from PyTorch's, as a share of the largest number in it."""
GREY = 100


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
def folder(tmp_path: Path) -> Path:
    """Pack a head and nothing else, to be damaged."""
    np.save(tmp_path / HEAD, np.zeros((len(LABELS), 512), np.float32))
    write_model(PackedModel("resnet18", LABELS, "onnx", folder=tmp_path))
    return tmp_path


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
    (features,) = load_predictor(packed_int8, runtime).outputs(batch, (FEATURES,))
    ours = np.stack([activation_maps(one, head) for one in features])

    assert ours.shape == (3, len(LABELS), 7, 7)
    assert np.abs(ours - expected).max() <= ALLOWED[runtime] * np.abs(expected).max()


def test_mean_of_a_map_is_the_logit(packed: PackedModel, head: Floats, batch: Floats) -> None:
    """What all parts say together is the logit without its bias, so nothing is left out."""
    bias = torch.load(packed.folder / WEIGHTS, weights_only=True)["fc.bias"].numpy()
    logits, features = load_predictor(packed, "onnx").outputs(batch, (LOGITS, FEATURES))

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


def test_older_package_has_no_head(folder: Path) -> None:
    """A package written before there was a head is read, without one."""
    (folder / HEAD).unlink()
    write_model(read_model(folder))

    assert load_head(read_model(folder)) is None


def test_damaged_head_is_refused(folder: Path) -> None:
    """A head of which one byte has changed is refused by name."""
    content = bytearray((folder / HEAD).read_bytes())
    content[-1] ^= 1
    (folder / HEAD).write_bytes(content)

    with pytest.raises(ModelError, match=r"head\.npy is damaged"):
        load_head(read_model(folder))


@pytest.mark.parametrize(
    "array",
    [np.zeros((2, 512), np.float32), np.zeros((3, 512)), np.zeros(3, np.float32)],
    ids=["labels", "type", "shape"],
)
def test_another_array_is_refused(folder: Path, array: Floats) -> None:
    """An array that is vouched for and yet no head is refused."""
    np.save(folder / HEAD, array)
    write_model(read_model(folder))

    with pytest.raises(ModelError, match=r"head\.npy .*pack the model again"):
        load_head(read_model(folder))


class Malicious:
    """Unpickling this would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        """Name the call that unpickling makes."""
        return Path.touch, (self.path,)


def test_code_in_a_head_is_not_run(folder: Path, tmp_path: Path) -> None:
    """A head of objects is refused without making them."""
    np.save(folder / HEAD, np.array([Malicious(tmp_path / "proof")]), allow_pickle=True)
    write_model(read_model(folder))

    with pytest.raises(ModelError, match=r"head\.npy is not an array"):
        load_head(read_model(folder))
    assert not (tmp_path / "proof").exists()


def test_head_is_listed(packed: PackedModel) -> None:
    """The index vouches for the head."""
    assert HEAD in json.loads((packed.folder / INDEX).read_text())["files"]


def grey(width: int, height: int) -> Image.Image:
    """Make a picture of one grey, which fading leaves as it is."""
    return Image.new("RGB", (width, height), (GREY, GREY, GREY))


def one_hot(row: int, column: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """Make a map of 7 by 7 with a single strong part."""
    strength = np.zeros((7, 7), np.float32)
    strength[row, column] = 1
    return strength


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((3000, 2000), (1024, 683)),
        ((500, 375), (500, 375)),
        ((1, 1), (1, 1)),
        ((9000, 2), (1024, 1)),
    ],
)
def test_large_pictures_are_scaled_down(size: tuple[int, int], expected: tuple[int, int]) -> None:
    """The longer side is at most so long, the proportions stay, and nothing is enlarged."""
    picture, _ = displayed(grey(*size), IMAGENET)

    assert picture.size == expected
    assert max(picture.size) <= MAX_SIDE


@pytest.mark.parametrize("size", [(3000, 2000), (640, 480), (333, 1001)])
@pytest.mark.parametrize("cell", [(1, 1), (3, 3), (5, 2)])  # not at an edge: flat there
def test_map_lies_where_the_network_looked(size: tuple[int, int], cell: tuple[int, int]) -> None:
    """A part's colour is strongest in the middle of what the network's input shows there.

    A bright spot is painted onto the picture where the colour is strongest, and must come out in
    the middle of that part of the network's input.
    """
    picture, square = displayed(grey(*size), IMAGENET)
    heat = np.asarray(spread(one_hot(*cell), picture.size, square, Image.Resampling.BICUBIC))
    rows, columns = np.nonzero(heat == heat.max())
    y, x = rows.mean() + 0.5, columns.mean() + 0.5
    scale = size[0] / picture.width
    painted = Image.new("L", size)
    painted.paste(255, tuple(round(scale * side) + move for move in (-4, 4) for side in (x, y)))
    seen = to_array(painted.convert("RGB"))[0]
    seen -= seen.min()
    found = [(seen.sum(axis) * (np.arange(224) + 0.5)).sum() / seen.sum() for axis in (1, 0)]

    for where, index in zip(found, cell, strict=True):
        assert abs(where - (index + 0.5) * 32) < 2


def test_outside_of_what_was_seen_is_dimmed() -> None:
    """Without any strength the central square is the picture, and the rest is darker."""
    picture, square = displayed(grey(400, 300), IMAGENET)
    pixels = np.asarray(overlay(picture, np.zeros((7, 7), np.float32), square))
    left, top, right, bottom = (round(side) for side in square)

    assert (pixels[top:bottom, left:right] == GREY).all()
    outside = pixels.copy()
    outside[top:bottom, left:right] = round(OUTSIDE * GREY)
    assert (outside == round(OUTSIDE * GREY)).all()


def test_stronger_hides_more_of_the_picture() -> None:
    """The more a part speaks for the label, the less is seen of the picture, down to a fifth."""
    _, square = displayed(grey(256, 256), IMAGENET)
    strength = np.tile(np.linspace(0, 1, 7, dtype=np.float32), (7, 1))
    black, white = (
        np.asarray(overlay(Image.new("RGB", (256, 256), colour), strength, square)).astype(int)
        for colour in ("black", "white")
    )
    contrast = (white - black)[128, 40:232:28, 0]

    assert (np.diff(contrast) < 0).all()
    assert 255 / 5 <= contrast[-1] < 255 / 4


def test_colour_of_the_picture_gives_way() -> None:
    """A picture keeps its shapes but little of its colours, so that colours mean strength."""
    picture, square = displayed(Image.new("RGB", (64, 64), (240, 200, 0)), IMAGENET)
    pixel = overlay(picture, np.zeros((7, 7), np.float32), square).getpixel((32, 32))

    assert isinstance(pixel, tuple)
    assert max(pixel) - min(pixel) < 80


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (2, 3)])
def test_odd_sizes_are_drawn(size: tuple[int, int]) -> None:
    """A picture of a single pixel or line is drawn like any other."""
    picture, square = displayed(noise(*size), IMAGENET)
    drawn = Image.open(io.BytesIO(to_png(overlay(picture, one_hot(3, 3), square))))

    assert (drawn.format, drawn.mode, drawn.size) == ("PNG", "RGB", picture.size)


@pytest.mark.parametrize("size", [(500, 375), (224, 224), (10, 1000)])
def test_square_is_what_the_network_gets(size: tuple[int, int]) -> None:
    """The network's input is the central square, resampled."""
    picture = noise(*size)
    square = picture.resize((224, 224), Image.Resampling.BILINEAR, box=central_square(size))

    expected = np.asarray(square).transpose(2, 0, 1) / 255
    mean, std = (np.array(row)[:, None, None] for row in (IMAGENET.mean, IMAGENET.std))
    assert np.abs(to_array(picture) * std + mean - expected).max() < 1e-6


def test_nothing_of_the_client_s_file_is_passed_on() -> None:
    """A picture that came with a colour profile is answered without it."""
    picture = grey(8, 8)
    picture.info["icc_profile"] = b"anything" * 1000

    with Image.open(io.BytesIO(to_png(picture))) as image:
        assert "icc_profile" not in image.info
