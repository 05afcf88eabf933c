"""The best network on the validation pictures."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from antbee.calibration import calibrate
from antbee.errors import CheckpointError, DataError
from antbee.images import read_array
from antbee.training.checkpoint import load_checkpoint
from antbee.training.data import Picture, Pictures
from antbee.training.network import build_model
from antbee.training.report.measure import THUMBNAIL, Answers, Network, answer, look
from tests.training.report.drawn import answers

CPU = torch.device("cpu")


@pytest.fixture
def network(folder: Path, pictures: Pictures) -> Network:
    """Return the run's network."""
    assert pictures.val
    return Network(load_checkpoint(folder / "best.pt"), CPU)


def test_answers_are_validations(folder: Path, pictures: Pictures, network: Network) -> None:
    """Logits are those of the float32 network, on pictures as the server reads them."""
    checkpoint = load_checkpoint(folder / "best.pt")
    reference = build_model(checkpoint.arch, len(checkpoint.labels)).eval()
    reference.load_state_dict(checkpoint.model)
    arrays = [read_array(picture.path.read_bytes()) for picture in pictures.val]
    with torch.inference_mode():
        expected = reference(torch.from_numpy(np.stack(arrays))).numpy()
    found = answer(network, pictures.val)

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


def test_looked_at_pictures_are_small(network: Network, pictures: Pictures) -> None:
    """A picture and its heat map have the same size, and the map differs from label to label."""
    found = answer(network, pictures.val)
    looked = look(network, found, 0)
    other = network.look(pictures.val[0].path.read_bytes(), 1 - int(found.labels[0]))

    assert looked.picture.size == looked.heat.size
    assert max(looked.picture.size) <= THUMBNAIL
    assert looked.picture == other.picture
    assert looked.heat != other.heat


@pytest.mark.parametrize("contents", [None, b"\xff\xd8\xff"])
def test_pictures_that_went_away_are_named(
    network: Network, tmp_path: Path, contents: bytes | None
) -> None:
    """A picture that was there when the run began, and can no longer be read, is named."""
    if contents is not None:
        (tmp_path / "x.jpg").write_bytes(contents)

    with pytest.raises(DataError, match=r"x\.jpg can no longer be read"):
        answer(network, [Picture(tmp_path / "x.jpg", 0)])


def test_weights_of_another_network_are_refused(folder: Path, pictures: Pictures) -> None:
    """A checkpoint whose weights do not fit its labels is refused."""
    assert pictures.val
    checkpoint = replace(load_checkpoint(folder / "best.pt"), labels=["a", "b", "c"])

    with pytest.raises(CheckpointError, match="not those of a resnet18"):
        Network(checkpoint, CPU)
