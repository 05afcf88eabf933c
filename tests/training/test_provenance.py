"""What a run records of its pictures, and how two records differ."""

import shutil
from pathlib import Path

import pytest

from antbee.training.check import check_pictures
from antbee.training.provenance import describe_change
from tests.training.conftest import make_data
from tests.training.folders import fill


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Draw a data set that the test may change."""
    return make_data(tmp_path / "data")


def test_the_same_pictures_elsewhere_are_no_change(own: Path, tmp_path: Path) -> None:
    """A data set that was only moved has not changed."""
    before = check_pictures(own).provenance

    now = check_pictures(own.rename(tmp_path / "elsewhere")).provenance

    assert describe_change(before, now) is None
    assert (before["sha256"], now["folder"]) == (now["sha256"], "elsewhere")


def test_a_change_is_described_by_folder(own: Path) -> None:
    """A removed, an altered and a renamed picture are each found, and their folder named."""
    before = check_pictures(own).provenance
    (own / "train/circle/0.jpg").unlink()
    shutil.copy(own / "train/square/0.jpg", own / "train/square/1.jpg")
    (own / "val/square/0.jpg").rename(own / "val/square/x.jpg")

    now = check_pictures(own).provenance

    assert describe_change(before, now) == (
        "train/circle (6 pictures then, 5 now), train/square (other names or contents), "
        "val/square (other names or contents)"
    )
    assert before["sha256"] != now["sha256"]


def test_a_change_of_divided_pictures_is_described(tmp_path: Path) -> None:
    """A picture less is noticed on the side that it was on."""
    fill(tmp_path, {"ant": 10, "bee": 10})
    pictures = check_pictures(tmp_path, 0.2)
    pictures.val[0].path.unlink()

    change = describe_change(pictures.provenance, check_pictures(tmp_path, 0.2).provenance)

    assert change is not None
    assert "val/ant" in change
    assert "bee" not in change
