"""Small data sets, a network that trains in a blink, and finished runs to look at."""

import io
import json
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision.models
from PIL import ImageDraw
from torch import nn

from antbee.training.checkpoint import Checkpoint, Metrics, Position, load_checkpoint
from antbee.training.network import build_model
from tests.conftest import REPOSITORY, encode, noise
from tests.training.tiny import TinyResNet
from train import main

LABELS = ("circle", "square")
TIMES = ("seconds", "pictures_per_second")
"""What differs between two runs that are otherwise the same."""
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
"""Of real processes: as many threads as the tests have, or their sums would differ."""


def make_data(folder: Path, train: int = 6, val: int = 2, labels: Sequence[str] = LABELS) -> Path:
    """Draw a data set of small JPEG files, `train` and `val` of each label."""
    for split, count in (("train", train), ("val", val)):
        for label in labels:
            (folder / split / label).mkdir(parents=True)
            for number in range(count):
                draw_picture(folder / split / label / f"{number}.jpg", label == labels[0])
    return folder


def draw_picture(path: Path, round_: bool) -> None:
    """Draw a circle or a square of the name's own colours, size and place."""
    generator = np.random.default_rng(list(str(path.relative_to(path.parents[2])).encode()))
    image = noise(80, 60, int(generator.integers(1000)))
    left, top, size = (int(number) for number in generator.integers(15, 30, 3))
    box = (left, top - 10, left + size, top + size - 10)
    draw = ImageDraw.Draw(image)
    (draw.ellipse if round_ else draw.rectangle)(box, fill=tuple(generator.integers(0, 256, 3)))
    path.write_bytes(encode(image))


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    # Sums depend on how many there are, and other tests of this process want others.
    torch.set_num_threads(1)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every ResNet-18 of this test be a tiny one."""
    monkeypatch.setattr(torchvision.models, "resnet18", TinyResNet)


@pytest.fixture
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let training write no report."""
    monkeypatch.setattr("antbee.training.report.write.try_report", lambda *_: None)


def train(*arguments: str | Path) -> Path:
    """Train in this process, and return the run's folder."""
    out = io.StringIO()
    with redirect_stdout(out):
        assert main(list(map(str, arguments))) == 0
    (line,) = out.getvalue().splitlines()
    return Path(line).parent


def train_command(*arguments: str | Path) -> list[str]:
    """Return the command line of train.py in a process of its own."""
    return [sys.executable, str(REPOSITORY / "train.py"), *map(str, arguments)]


def random_start(data: Path, out: Path, *more: str | Path) -> list[str]:
    """Return the arguments of a short run from random weights."""
    fixed = ("--data", data, "--out", out, "--weights", "none", "--batch-size", "4")
    return list(map(str, (*fixed, *more)))


def assert_one_line(error: str, *words: str) -> None:
    """Hold what a failed command said to one line that has these words."""
    line = error.splitlines()[-1]
    assert line.startswith("error: ")
    assert all(word in line for word in words), line
    assert "Traceback" not in error


def assert_same_run(expected: Path, actual: Path) -> None:
    """Compare two runs' weights and metrics, bit for bit, and their best epochs."""
    assert measured(expected) == measured(actual)
    for name in ("last.pt", "best.pt"):
        one, other = (load_checkpoint(folder / name) for folder in (expected, actual))
        assert one.position.epoch == other.position.epoch
        assert one.model.keys() == other.model.keys()
        assert all(torch.equal(one.model[name], other.model[name]) for name in one.model)


def measured(folder: Path) -> list[dict[str, float]]:
    """Return the lines of metrics.jsonl without the times."""
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [{k: v for k, v in line.items() if k not in TIMES} for line in lines]


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Draw a data set that no test changes."""
    return make_data(tmp_path_factory.mktemp("pictures") / "data")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    """Return the folder of a tiny network's run that nothing interrupted and no test changes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torchvision.models, "resnet18", TinyResNet)
        torch.set_num_threads(1)
        return train(*random_start(data, tmp_path_factory.mktemp("finished"), "--epochs", "3"))


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    """Return a copy of the finished run's folder."""
    return shutil.copytree(finished, tmp_path / finished.name)


@pytest.fixture(scope="session")
def resnet18_run(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Iterator[Path]:
    """Yield the folder of a real ResNet-18's run of two epochs, for real processes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("antbee.training.report.write.try_report", lambda *_: None)
        torch.set_num_threads(1)
        yield train(*random_start(data, tmp_path_factory.mktemp("resnet18"), "--epochs", "2"))


@pytest.fixture
def checkpoint() -> Checkpoint:
    """Make a small state of a run, of every kind of value that a checkpoint has."""
    torch.manual_seed(0)
    metrics = Metrics(1, 0.7, 0.6, 0.5, 1.5, 80.0)
    return Checkpoint(
        arch="resnet18",
        labels=list(LABELS),
        model={"weight": torch.rand(3, 4), "steps": torch.tensor(7)},
        optimizer={"state": {0: {"momentum_buffer": torch.rand(3, 4)}}, "param_groups": []},
        scheduler={"last_epoch": 3},
        generators={"torch": torch.get_rng_state()},
        threads=2,
        precision="float32",
        views=4,
        position=Position(1, 2, 8, 5.25, 0.5),
        best=metrics,
        history=[metrics],
        arguments={
            "epochs": 3,
            "lr": 0.01,
            "freeze": "layer3",
            "patience": None,
            "val_fraction": None,
            "size": 224,
            "balance": False,
        },
        data={"folder": "data"},
        weights={"what": "none"},
        versions={"torch": "2"},
    )


@pytest.fixture
def network() -> nn.Module:
    """Build a ResNet-18 for two labels."""
    torch.manual_seed(0)
    return build_model("resnet18", len(LABELS))
