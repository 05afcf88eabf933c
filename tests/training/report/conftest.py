"""A run of one epoch by a network that has learnt nothing, and the pictures that it had."""

import shutil
from pathlib import Path

import pytest

from antbee.training.check import check_pictures
from antbee.training.data import Pictures
from tests.training.report.drawn import save_run


@pytest.fixture(scope="session")
def pictures(data: Path) -> Pictures:
    """Read the shared data set."""
    return check_pictures(data)


@pytest.fixture(scope="session")
def saved(pictures: Pictures, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run that no test changes."""
    return save_run(tmp_path_factory.mktemp("runs") / "20250131-235959-resnet18", pictures)


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """Return a copy of the run's folder."""
    return shutil.copytree(saved, tmp_path / saved.name)
