"""The pictures that packing needs."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from antbee.artifact import PackedModel
from antbee.errors import DataError
from antbee.images import read_array
from antbee.packing.samples import (
    Validation,
    calibration_arrays,
    describe_difference,
    find_used,
    spread,
)
from antbee.training.check import check_pictures
from antbee.training.data import Picture, Pictures
from tests.conftest import encode, noise

MODEL = PackedModel("resnet18", ("a", "b"), "onnx")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Make one picture of each label in each split, and one that cannot be read."""
    for seed, folder in enumerate(("train/a", "train/b", "val/a", "val/b")):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "1.jpg").write_bytes(encode(noise(80, 60, seed)))
        (tmp_path / folder / "2.jpg").write_bytes(b"\xff\xd8\xff")
    return tmp_path


def test_labels_take_turns() -> None:
    """Any first part of the choice is even over the labels, as far as there are pictures."""
    pictures = [
        Picture(Path(f"{label}-{i}"), label) for label, n in enumerate((9, 3)) for i in range(n)
    ]
    chosen = spread(pictures)

    assert [picture.label for picture in chosen] == [0, 1] * 3 + [0] * 6
    assert sorted(chosen, key=str) == sorted(pictures, key=str)


def test_choice_is_mixed_and_repeatable() -> None:
    """The choice is not the folder's order, and it is the same every time."""
    pictures = [Picture(Path(str(i)), 0) for i in range(50)]

    assert spread(pictures) == spread(pictures)
    assert spread(pictures) != pictures


def test_unreadable_pictures_are_left_out(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What cannot be read is named and makes room for the next."""
    arrays = calibration_arrays(MODEL, find_used(MODEL, data)["train"], 8)

    assert [array.shape for array in arrays] == [(3, 224, 224)] * 2
    assert capsys.readouterr().err.count("left out") == 2


def test_labels_are_the_model_s_however_they_are_spelt(tmp_path: Path) -> None:
    """An accent of one's own is the same letter, and the order is the model's."""
    for seed, label in enumerate(("z", "\xe9")):
        (tmp_path / "val" / label).mkdir(parents=True)
        (tmp_path / "val" / label / "1.jpg").write_bytes(encode(noise(8, 6, seed)))
    model = PackedModel("resnet18", ("e\u0301", "z"), "onnx")

    first, second = Validation(model, tmp_path, find_used(model, tmp_path))

    assert (first[1], second[1]) == (0, 1)
    assert np.array_equal(second[0], read_array((tmp_path / "val/z/1.jpg").read_bytes()))


def test_no_more_than_asked_for(data: Path) -> None:
    """No more pictures are decoded than are wanted."""
    assert len(calibration_arrays(MODEL, find_used(MODEL, data)["train"], 1)) == 1


def test_nothing_to_calibrate_on(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Training pictures that are of other labels are left out, and unreadable ones refused."""
    (data / "train/b").rename(data / "train/c")
    assert list(find_used(MODEL, data)) == ["val"]
    assert "cannot be used: " in (said := capsys.readouterr().err)
    assert "has the labels a, c, and the checkpoint a, b" in said
    (data / "train/c").rename(data / "train/b")
    for path in data.glob("train/*/1.jpg"):
        path.unlink()
    with pytest.raises(DataError, match=r"no training picture in .* can be read"):
        calibration_arrays(MODEL, find_used(MODEL, data)["train"], 8)


def test_validation_can_be_read_again(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every pass gives the same pictures with their labels; what is broken is said once."""
    samples = Validation(MODEL, data, find_used(MODEL, data))
    first, second = list(samples), list(samples)

    assert samples.labelled
    assert [label for _, label in first] == [0, 1]
    assert all(np.array_equal(a, b) for (a, _), (b, _) in zip(first, second, strict=True))
    assert capsys.readouterr().err.count("left out") == 2


def test_noise_stands_in(tmp_path: Path) -> None:
    """Without validation pictures there is noise, which has no labels."""
    samples = Validation(MODEL, tmp_path, find_used(MODEL, tmp_path))

    assert (samples.inputs, samples.labelled) == ("random noise", False)
    assert {label for _, label in samples} == {-1}


@pytest.fixture
def divided(tmp_path: Path) -> Path:
    """Make label folders that are yet to be divided, with files that cannot be read."""
    folder = tmp_path / "divided"
    for label, seeds in (("a", range(6)), ("b", range(6, 16))):
        (folder / label).mkdir(parents=True)
        for seed in seeds:
            (folder / label / f"{seed}.png").write_bytes(encode(noise(8, 6, seed), "PNG"))
    for number in range(20):
        (folder / f"a/broken{number}.jpg").write_bytes(b"\xff\xd8\xff%d" % number)
    return folder


def trained_on(pictures: Pictures, fraction: float, seed: int) -> PackedModel:
    """Return a model that keeps what it was trained with."""
    arguments = {"val_fraction": fraction, "seed": seed}
    return replace(MODEL, provenance={"arguments": arguments, "data": pictures.provenance})


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_pictures_are_divided_as_in_training(divided: Path, seed: int) -> None:
    """Packing compares on the pictures that training set aside, and calibrates on the others."""
    pictures = check_pictures(divided, 0.3, seed)
    model = trained_on(pictures, 0.3, seed)

    samples = Validation(model, divided, find_used(model, divided))

    assert samples.labelled
    assert [(array.tobytes(), label) for array, label in samples] == arrays_of(pictures.val)
    train = calibration_arrays(model, find_used(model, divided)["train"], 99)
    assert sorted(array.tobytes() for array in train) == sorted(
        array for array, _ in arrays_of(pictures.train)
    )


def arrays_of(pictures: list[Picture]) -> list[tuple[bytes, int]]:
    """Read the pictures as the server does."""
    return [(read_array(one.path.read_bytes()).tobytes(), one.label) for one in pictures]


def test_a_difference_is_described(data: Path, divided: Path) -> None:
    """Pictures that are the run's are no difference; any others are, wherever they lie."""
    model = replace(MODEL, provenance={"data": check_pictures(data).provenance})
    assert describe_difference(model, data, find_used(model, data)) is None
    assert describe_difference(MODEL, data, find_used(MODEL, data)) is None

    (data / "val/a/1.jpg").rename(data / "train/a/3.jpg")
    (data / "val/a/4.jpg").write_bytes(encode(noise(80, 60, 7)))
    assert describe_difference(model, data, find_used(model, data)) == (
        "train/a (1 pictures then, 2 now), val/a (other names or contents)"
    )

    shared = trained_on(check_pictures(divided, 0.3), 0.3, 0)
    assert describe_difference(shared, divided, find_used(shared, divided)) is None
    (divided / "b/15.png").unlink()
    assert "now)" in str(describe_difference(shared, divided, find_used(shared, divided)))


def test_a_val_of_its_own_comes_first(divided: Path, data: Path) -> None:
    """Other pictures, with a folder `val`, are used as they are."""
    model = trained_on(check_pictures(divided, 0.3), 0.3, 0)

    assert [label for _, label in Validation(model, data, find_used(model, data))] == [0, 1]


def test_noise_stands_in_for_pictures_to_divide(divided: Path, tmp_path: Path) -> None:
    """Where the pictures that were divided are gone there is noise."""
    model = trained_on(check_pictures(divided, 0.3), 0.3, 0)
    (tmp_path / "empty").mkdir()

    assert find_used(model, tmp_path / "empty") == find_used(model, tmp_path / "missing") == {}
