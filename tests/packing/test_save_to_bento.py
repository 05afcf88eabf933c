"""`save_to_bento.py`, as a person runs it."""

import json
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from antbee.training.checkpoint import Checkpoint, Metrics, Position, save_checkpoint
from antbee.training.network import build_model
from tests.conftest import REPOSITORY, StartServer, encode, environment, noise

LABELS = ["ant", "bee"]


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Save a checkpoint of a ResNet-18 that has learnt nothing."""
    folder = tmp_path_factory.mktemp("saved_models") / "20260102-030405-resnet18"
    folder.mkdir()
    torch.manual_seed(0)
    metrics = Metrics(1, 0.7, 0.6, 0.5, 1.0, 1.0)
    state = Checkpoint(
        arch="resnet18",
        labels=LABELS,
        model=build_model("resnet18", 2).state_dict(),
        optimizer={},
        scheduler={},
        generators={},
        threads=1,
        precision="float32",
        views=0,
        position=Position(epoch=1),
        best=metrics,
        history=[metrics],
        arguments={"epochs": 1, "data": "/somewhere/data", "weights": "none"},
        data={"folder": "data"},
        weights={"source": "none"},
        versions={"torch": "x"},
    )
    save_checkpoint(state, folder / "best.pt")
    return folder / "best.pt"


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make two pictures of each label in each split, and one that cannot be read."""
    folder = tmp_path_factory.mktemp("data")
    for label in LABELS:
        for split in ("train", "val"):
            (folder / split / label).mkdir(parents=True)
            for seed in range(2):
                path = folder / split / label / f"{seed}.jpg"
                path.write_bytes(encode(noise(300, 200, seed)))
    (folder / "val" / "ant" / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    return folder


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return an empty BentoML home."""
    return tmp_path / "home"


def save(home: Path, *arguments: str | Path, cwd: Path = REPOSITORY) -> "Run":
    """Run the command."""
    return subprocess.run(
        [sys.executable, REPOSITORY / "save_to_bento.py", *arguments],
        env=environment(home),
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )


Run = subprocess.CompletedProcess[str]


def stored(home: Path) -> list[str]:
    """Return the names of the models and bentos in a BentoML home."""
    found = [*home.glob("models/*/*"), *home.glob("bentos/*/*")]
    return sorted(path.parent.name for path in found if path.is_dir())


def test_a_bento_serves_anywhere(
    checkpoint: Path, data: Path, home: Path, tmp_path: Path, start_server: StartServer
) -> None:
    """A bento serves without torch, the checkpoint, the pictures or the source folder."""
    run = save(home, checkpoint, "--data", data)
    tag = run.stdout.splitlines()[-1]
    model = json.loads(next(home.glob("models/*/*/model.json")).read_text())
    blocked = tmp_path / "blocked"
    for name in ("torch", "torchvision", "onnx"):
        (blocked / name).mkdir(parents=True)
        (blocked / name / "__init__.py").write_text("raise ImportError('not on this machine')")
    with start_server(tag, home, tmp_path, PYTHONPATH=str(blocked)) as server:
        answer = server.predict(encode(noise(300, 200))).json()

    assert run.returncode == 0
    assert (run.stdout, tag.partition(":")[0]) == (f"{tag}\n", "ant_bee_classifier")
    assert answer["label"] in LABELS
    assert answer["model"].startswith("ant_bee_classifier:")
    assert [row["runtime"] for row in model["gate"]["rows"]] == ["torch", "onnx", "int8"]
    assert sorted(model["candidates"]) == ["int8", "onnx"]
    assert "model.int8.onnx" in model["files"]
    assert model["gate"]["rows"][1]["pictures"] == 4
    assert model["gate"]["rows"][1]["exact"]
    assert model["calibration"]["pictures"] == 4
    arguments = {"epochs": 1, "data": "data", "weights": "none"}
    assert arguments.items() <= model["provenance"]["arguments"].items()
    assert "left out" in run.stderr
    assert "broken.jpg" in run.stderr


def test_a_bento_keeps_its_model(
    checkpoint: Path, data: Path, home: Path, start_server: StartServer, tmp_path: Path
) -> None:
    """A bento serves the model that it was built with, not one packed since; names are free."""
    named = ("--data", data, "--name", "my_insects", "--runtime", "onnx")
    first = save(home, checkpoint, *named).stdout.strip()
    models = {path.parent.name for path in home.glob("models/my_insects/*/model.json")}
    save(home, checkpoint, *named)
    with start_server(first, home, tmp_path) as server:
        answer = server.predict(encode(noise(300, 200))).json()

    assert answer["model"] == f"my_insects:{models.pop()}"


def test_int8_by_name_needs_pictures(checkpoint: Path, home: Path, tmp_path: Path) -> None:
    """When int8 was asked for and cannot be made, nothing is stored, and the reason is said."""
    run = save(home, checkpoint, "--data", tmp_path, "--runtime", "int8")

    _assert_refused(run, home)
    assert "no int8: no validation pictures" in run.stderr


def test_torch_bento_installs_torch(checkpoint: Path, data: Path, home: Path) -> None:
    """A bento packed for PyTorch lists the very versions that it was compared with."""
    run = save(home, checkpoint, "--data", data, "--runtime", "torch")
    requirements = next(home.glob("bentos/*/*/env/python/requirements.txt")).read_text()

    assert run.returncode == 0
    assert f"torch=={torch.__version__.partition('+')[0]}" in requirements
    assert "torchvision==" in requirements


def test_without_pictures_noise_is_compared(checkpoint: Path, home: Path, tmp_path: Path) -> None:
    """Without validation pictures, the export is checked on noise, and that is said."""
    run = save(home, checkpoint, "--data", tmp_path / "none")
    model = json.loads(next(home.glob("models/*/*/model.json")).read_text())

    assert run.returncode == 0
    assert "no int8: no validation pictures" in run.stderr
    assert model["gate"]["inputs"] == "random noise"
    assert (model["calibration"]["temperature"], model["calibration"]["pictures"]) == (1, 0)


def test_newest_run_is_the_default(checkpoint: Path, home: Path, tmp_path: Path) -> None:
    """Without a checkpoint, the newest run's best.pt is packed."""
    runs = tmp_path / "saved_models"
    shutil.copytree(checkpoint.parent, runs / "20260102-030405-resnet18")
    shutil.copytree(checkpoint.parent, runs / "20260203-040506-resnet18")
    run = save(home, cwd=tmp_path)

    assert run.returncode == 0
    assert "20260203-040506-resnet18/best.pt" in run.stderr


class Malicious:
    """Unpickling this would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        """Name the call that unpickling makes."""
        return Path.touch, (self.path,)


def _malicious(path: Path, proof: Path) -> None:
    torch.save({"format": "antbee checkpoint", "version": 1, "model": Malicious(proof)}, path)


def _pickled(path: Path, proof: Path) -> None:
    path.write_bytes(pickle.dumps(Malicious(proof)))


@pytest.mark.parametrize("make", [_malicious, _pickled])
def test_malicious_checkpoint_is_refused(make: object, home: Path, tmp_path: Path) -> None:
    """Code in a checkpoint is not run; nothing is stored."""
    proof = tmp_path / "proof"
    assert callable(make)
    make(tmp_path / "x.pt", proof)
    run = save(home, tmp_path / "x.pt")

    _assert_refused(run, home)
    assert not proof.exists()


def test_damaged_checkpoint_is_refused(checkpoint: Path, home: Path, tmp_path: Path) -> None:
    """A checkpoint of which one byte changed is refused by name."""
    folder = shutil.copytree(checkpoint.parent, tmp_path / "run")
    content = bytearray((folder / "best.pt").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "best.pt").write_bytes(content)
    run = save(home, folder / "best.pt")

    _assert_refused(run, home)
    assert "best.pt is damaged" in run.stderr


def test_foreign_weights_are_refused(home: Path, tmp_path: Path) -> None:
    """A bare state dict is not a checkpoint of ours."""
    torch.save(build_model("resnet18", 2).state_dict(), tmp_path / "x.pt")
    run = save(home, tmp_path / "x.pt")

    _assert_refused(run, home)


@pytest.mark.parametrize("arguments", [["nowhere.pt"], []])
def test_missing_checkpoint_is_refused(arguments: list[str], home: Path, tmp_path: Path) -> None:
    """A checkpoint that is not there is named, or how to make one."""
    run = save(home, *arguments, cwd=tmp_path)

    _assert_refused(run, home)


def test_other_labels_are_refused(checkpoint: Path, data: Path, home: Path, tmp_path: Path) -> None:
    """Validation pictures of other labels are not compared with."""
    other = shutil.copytree(data, tmp_path / "data")
    (other / "val" / "ant").rename(other / "val" / "wasp")
    run = save(home, checkpoint, "--data", other)

    _assert_refused(run, home)
    assert "bee, wasp" in run.stderr


def test_unreadable_pictures_are_refused(checkpoint: Path, home: Path, tmp_path: Path) -> None:
    """Validation pictures of which none can be read are not compared with."""
    for label in LABELS:
        (tmp_path / "val" / label).mkdir(parents=True)
        (tmp_path / "val" / label / "x.jpg").write_text("version https://git-lfs.github.com")
    run = save(home, checkpoint, "--data", tmp_path)

    _assert_refused(run, home)


def test_impossible_name_is_refused(checkpoint: Path, data: Path, home: Path) -> None:
    """A name that BentoML cannot store is refused before anything is packed."""
    run = save(home, checkpoint, "--data", data, "--name", "My Insects!")

    _assert_refused(run, home)


def test_wrong_usage_exits_with_2(home: Path) -> None:
    """An unknown runtime is wrong usage."""
    assert save(home, "--runtime", "tensorflow").returncode == 2


def _assert_refused(run: Run, home: Path) -> None:
    lines = [line for line in run.stderr.splitlines() if line.startswith("error: ")]
    assert (run.returncode, run.stdout, len(lines)) == (1, "", 1)
    assert "Traceback" not in run.stderr
    assert stored(home) == []
