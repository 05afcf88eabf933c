"""The best network on the validation pictures."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from antbee.calibration import calibrate
from antbee.errors import DataError
from antbee.images import IMAGENET, Preprocessing, read_array
from antbee.training.checkpoint import load_checkpoint
from antbee.training.data import Picture, Pictures
from antbee.training.network import restore_model
from antbee.training.report.measure import THUMBNAIL, Answers, answer, explain
from tests.training.report.drawn import answers

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def network(saved: Path) -> nn.Module:
    """Return the run's network."""
    return restore_model(load_checkpoint(saved / "best.pt")).eval()


@pytest.mark.parametrize("size", [224, 96])
def test_answers_are_validations(pictures: Pictures, network: nn.Module, size: int) -> None:
    """Logits are those of the float32 network, on pictures as the server reads them."""
    preprocessing = Preprocessing.of_size(size)
    arrays = [read_array(picture.path.read_bytes(), preprocessing) for picture in pictures.val]
    with torch.inference_mode():
        expected = network(torch.from_numpy(np.stack(arrays))).numpy()
    found = answer(network, pictures.val, CPU, preprocessing)

    assert found.logits.dtype == np.float32
    assert np.abs(found.logits - expected).max() < 1e-4
    assert found.truth.tolist() == [0, 0, 1, 1]


def test_temperature_is_fitted_on_the_answers() -> None:
    """The probabilities are calibrated, and a label is the largest logit's."""
    found = answers(3, 20)

    assert found.calibration == calibrate(found.logits, found.truth)
    assert found.labels.tolist() == found.probabilities.argmax(1).tolist()
    ratio = np.log(found.probabilities[0, 0] / found.probabilities[0, 1])
    difference = found.logits[0, 0] - found.logits[0, 1]
    assert ratio * found.calibration.temperature == pytest.approx(difference, rel=1e-5)


def test_worst_mistakes_come_first() -> None:
    """Wrong answers only, the most confident first; of certain answers the least certain."""
    logits = np.array([[3, 0], [0, 1], [2, 0], [0, 0.5], [0.1, 0]], np.float32)
    pictures = [Picture(Path(str(index)), label) for index, label in enumerate((1, 0, 0, 1, 1))]
    found = Answers(pictures, logits)

    assert found.worst(9) == [0, 1, 4]
    assert found.worst(1) == [0]
    assert found.least_certain(2) == [4, 3]


def test_explained_pictures_are_small(pictures: Pictures, network: nn.Module) -> None:
    """A picture and its heat map have the same size, and the map differs from label to label."""
    found = answer(network, pictures.val, CPU, IMAGENET)
    opposite = Answers(found.pictures, -found.logits)
    (explained,) = explain(network, found, [2], CPU, IMAGENET).values()
    other = explain(network, opposite, [2], CPU, IMAGENET)[2]

    assert explained.picture.size == explained.heat_map.size
    assert max(explained.picture.size) <= THUMBNAIL
    assert explained.picture == other.picture
    assert explained.heat_map != other.heat_map


@pytest.mark.parametrize("contents", [None, b"\xff\xd8\xff"])
def test_pictures_that_went_away_are_named(
    network: nn.Module, tmp_path: Path, contents: bytes | None
) -> None:
    """A picture that was there when the run began, and can no longer be read, is named."""
    if contents is not None:
        (tmp_path / "x.jpg").write_bytes(contents)
    gone = [Picture(tmp_path / "x.jpg", 0)]

    with pytest.raises(DataError, match=r"x\.jpg can no longer be read"):
        answer(network, gone, CPU, IMAGENET)
    with pytest.raises(DataError, match=r"x\.jpg can no longer be read"):
        explain(network, Answers(gone, np.zeros((1, 2), np.float32)), [0], CPU, IMAGENET)
