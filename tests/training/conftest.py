"""Small data sets, runs of train.py in processes of their own, and one finished run to look at."""

import json
import resource
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import ImageDraw

from antbee.training.checkpoint import Checkpoint, Metrics, Position, load_checkpoint
from antbee.training.model import build_model
from tests.conftest import REPOSITORY, encode, noise

LABELS = ("circle", "square")
TIMES = ("seconds", "pictures_per_second")
"""What differs between two runs that are otherwise the same."""


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


def train_command(*arguments: str | Path) -> list[str]:
    """Return the command line of train.py, with what every test here gives."""
    return [sys.executable, str(REPOSITORY / "train.py"), *map(str, arguments)]


def run_train(
    *arguments: str | Path,
    folder: Path = REPOSITORY,
    environment: dict[str, str] | None = None,
    largest_file: int = resource.RLIM_INFINITY,
) -> subprocess.CompletedProcess[str]:
    """Run train.py to its end in a process of its own, on a disk that takes files up to a size."""
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, hard))  # the child inherits it
    try:
        return subprocess.run(
            train_command(*arguments),
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))


def random_start(data: Path, out: Path, *more: str | Path) -> list[str | Path]:
    """Return the arguments of a short run from random weights."""
    return ["--data", data, "--out", out, "--weights", "none", "--batch-size", "4", *more]


def weights(folder: Path) -> dict[str, bytes]:
    """Return the last state's tensors, as bytes that can be compared."""
    model = load_checkpoint(folder / "last.pt").model
    return {name: tensor.numpy().tobytes() for name, tensor in model.items()}


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
    """Return the folder of a run of three epochs that nothing interrupted and no test changes."""
    out = tmp_path_factory.mktemp("finished")
    run = run_train(*random_start(data, out, "--epochs", "3"))
    assert run.returncode == 0, run.stderr
    return Path(run.stdout.splitlines()[-1]).parent


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    """Return a copy of the finished run's folder."""
    return shutil.copytree(finished, tmp_path / finished.name)


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
        },
        data={"folder": "data"},
        weights={"what": "none"},
        versions={"torch": "2"},
    )


@pytest.fixture
def network() -> torch.nn.Module:
    """Build a ResNet-18 for two labels."""
    torch.manual_seed(0)
    return build_model("resnet18", len(LABELS))
