"""`save_to_bento.py`, as a person runs it; a refusal in this process."""

import errno
import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import bentoml
import httpx
import onnx
import pytest
import torch
import yaml
from bentoml._internal.configuration.containers import BentoMLContainer
from bentoml._internal.models import ModelStore
from bentoml.exceptions import BentoMLException

from antbee.artifact import ONNX, WEIGHTS, PackedModel, read_model
from antbee.files import sha256_of
from antbee.packing import pack
from antbee.training.check import check_pictures
from antbee.training.checkpoint import (
    Checkpoint,
    Metrics,
    Position,
    load_checkpoint,
    save_checkpoint,
)
from antbee.training.network import build_model
from save_to_bento import main
from tests.conftest import (
    LABELS,
    REPOSITORY,
    Server,
    StartServer,
    draw_splits,
    encode,
    environment,
    noise,
)

pytestmark = [
    # BentoML's, as it is imported.
    pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning"),
    pytest.mark.xdist_group("save_to_bento"),  # one packing for all, with a server or without
]


@pytest.fixture(scope="module")
def checkpoint(packed: PackedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Save a checkpoint of the network that the packed model holds."""
    folder = tmp_path_factory.mktemp("saved_models") / "20260102-030405-resnet18"
    folder.mkdir()
    metrics = Metrics(1, 0.7, 0.6, 0.5, 1.0, 1.0, val_balanced=0.4)
    state = Checkpoint(
        arch="resnet18",
        labels=list(LABELS),
        model=torch.load(packed.folder / WEIGHTS, weights_only=True),
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


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make two pictures of each label in each split, and one that cannot be read."""
    folder = tmp_path_factory.mktemp("pictures") / "data"
    draw_splits(folder, dict.fromkeys(("train", "val"), ((0, 1), (2, 3), (4, 5))), (300, 200))
    (folder / "val" / LABELS[0] / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    return folder


@dataclass(frozen=True)
class Saved:
    """What one run of the command left."""

    home: Path
    out: str
    err: str

    @property
    def tag(self) -> str:
        """The bento's, the last line on stdout."""
        return self.out.splitlines()[-1]

    @property
    def model(self) -> Path:
        """The folder of the packed model that was said to be made."""
        said = [line for line in self.err.splitlines() if line.startswith("packed model ")]
        return self.home / "models" / said[-1].split()[-1].replace(":", "/")


@pytest.fixture(scope="module")
def saved(checkpoint: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Saved:
    """Run the command in a process of its own, with small pictures, under a name of one's own."""
    state = load_checkpoint(checkpoint)
    checkpoint = tmp_path_factory.mktemp("small") / "best.pt"
    save_checkpoint(replace(state, arguments=state.arguments | {"size": 96}), checkpoint)
    home = tmp_path_factory.mktemp("saved") / "home"
    script = REPOSITORY / "save_to_bento.py"
    run = subprocess.run(
        [sys.executable, script, checkpoint, "--data", data, "--name", "my_insects"],
        env=environment(home),
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return Saved(home, run.stdout, run.stderr)


@pytest.fixture(scope="module")
def served(
    saved: Saved, start_server: StartServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """Serve the bento on a machine without torch and the source folder, after another packing."""
    later = saved.model.with_name("later")
    shutil.copytree(saved.model, later)
    index = later / "model.yaml"
    index.write_text(index.read_text().replace(saved.model.name, later.name))
    (later.parent / "latest").write_text(later.name)
    blocked = tmp_path_factory.mktemp("blocked")
    for name in ("torch", "torchvision", "onnx"):
        (blocked / name).mkdir()
        (blocked / name / "__init__.py").write_text("raise ImportError('not on this machine')")
    with start_server(saved.tag, saved.home, blocked, PYTHONPATH=str(blocked)) as server:
        yield server


def test_a_bento_serves_anywhere(saved: Saved, served: Server) -> None:
    """A bento serves without torch, the checkpoint, the pictures or the source folder."""
    answer = served.predict(encode(noise(300, 200))).json()

    assert saved.out == f"{saved.tag}\n"
    assert saved.err.endswith(f"serve it: bentoml serve {saved.tag}\n")
    assert answer["label"] in LABELS


def test_a_bento_keeps_its_model(saved: Saved, served: Server) -> None:
    """A bento serves the model that it was built with, not one packed since; names are free."""
    model = httpx.get(f"{served.url}/model").json()["model"]

    assert saved.tag.startswith("my_insects:")
    assert model == f"my_insects:{saved.model.name}"


def test_model_says_what_it_was_made_of(saved: Saved) -> None:
    """`model.json` keeps the comparison, the calibration and where all of it came from."""
    model = json.loads((saved.model / "model.json").read_text())
    arguments = {"epochs": 1, "data": "data", "weights": "none", "size": 96}

    assert [row["runtime"] for row in model["gate"]["rows"]] == ["torch", "onnx", "int8"]
    assert sorted(model["candidates"]) == ["int8", "onnx"]
    assert "model.int8.onnx" in model["files"]
    assert model["gate"]["rows"][1]["pictures"] == model["calibration"]["pictures"] == 6
    assert model["gate"]["rows"][1]["exact"]
    epoch = {"epoch": 1, "val_top1": 0.5, "val_balanced": 0.4, "val_loss": 0.6}
    assert model["metrics"] == {**epoch, "val_chose_the_epoch": True}
    assert (model["pooled"], model["outputs"]) == (None, ["logits", "features"])
    assert "every stage was trained" in model["typicality"]["reason"]
    assert arguments.items() <= model["provenance"]["arguments"].items()
    assert "left out" in saved.err
    assert "broken.jpg" in saved.err


def test_pictures_are_as_large_as_in_training(saved: Saved) -> None:
    """The checkpoint's size is that of the served network's input; a picture is cut as ever."""
    model = json.loads((saved.model / "model.json").read_text())
    (image,) = onnx.load(saved.model / ONNX).graph.input

    assert (model["preprocessing"]["crop"], model["preprocessing"]["resize"]) == (96, 110)
    assert [axis.dim_value for axis in image.type.tensor_type.shape.dim] == [0, 3, 96, 96]


def test_bento_has_a_model_card(saved: Saved) -> None:
    """The bento's README is the packed model's card."""
    card = (saved.home / "bentos" / saved.tag.replace(":", "/") / "README.md").read_text()

    assert card == (saved.model / "README.md").read_text()
    assert card.startswith(f"# my_insects:{saved.model.name}\n")


def test_bento_has_our_description(saved: Saved) -> None:
    """The bento describes the API as the server does, and not BentoML's way."""
    path = saved.home / "bentos" / saved.tag.replace(":", "/") / "apis/openapi.yaml"
    described = yaml.safe_load(path.read_text())

    assert described["info"]["version"] == f"my_insects:{saved.model.name}"
    assert {"/predict", "/v1/predict", "/explain", "/model"} <= set(described["paths"])


def test_store_shows_what_was_packed(saved: Saved) -> None:
    """BentoML's own fields tell one packed model from another."""
    stored = yaml.safe_load((saved.model / "model.yaml").read_text())

    assert stored["labels"]["arch"] == "resnet18"
    assert stored["labels"]["runtime"] in ("int8", "onnx")
    assert stored["metadata"]["labels"] == list(LABELS)
    assert stored["metadata"]["metrics"]["val_top1"] == 0.5


@dataclass
class Store:
    """Empty stores in this process, whose bentos are built by nobody.

    Attributes:
        folder: of the models.
        bentos: of the bentos.
        options: what `bentoml.build` was asked for last.
        fault: why it cannot, if it cannot.
    """

    folder: Path
    bentos: Path
    options: dict[str, Any] = field(default_factory=dict)
    fault: str | None = None

    def build(self, **options: object) -> SimpleNamespace:
        """Stand in for `bentoml.build`."""
        if self.fault:
            raise BentoMLException(self.fault)
        self.options = options
        return SimpleNamespace()


@pytest.fixture
def store(packed: PackedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """Let BentoML, in this process, keep its models and bentos in empty stores.

    The export, which takes seconds, is the packed model's: the checkpoint holds its network.
    """

    def copy(_network: object, path: Path, _side: int, _pooled: str | None) -> None:
        shutil.copyfile(packed.folder / ONNX, path)

    # Its import warns, which a test may ignore and collecting the tests may not.
    from bentoml._internal.bento import BentoStore  # noqa: PLC0415

    store = Store(tmp_path / "models", tmp_path / "bentos")
    store.folder.mkdir()
    store.bentos.mkdir()
    monkeypatch.setattr(pack, "export_onnx", copy)
    monkeypatch.setattr(bentoml, "build", store.build)
    monkeypatch.setenv("BENTOML_DO_NOT_TRACK", "True")
    monkeypatch.chdir(tmp_path)
    with (
        BentoMLContainer.model_store.patch(ModelStore(store.folder)),
        BentoMLContainer.bento_store.patch(BentoStore(store.bentos)),
    ):
        yield store


def test_newest_run_is_the_default(
    checkpoint: Path, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a checkpoint, the newest run's best.pt is packed, under the usual name."""
    for run in ("20260102-030405-resnet18", "20260203-040506-resnet18"):
        shutil.copytree(checkpoint.parent, Path("saved_models", run))

    assert main([]) == 0
    out, err = capsys.readouterr()
    assert "20260203-040506-resnet18/best.pt" in err
    model = next(store.folder.glob("ant_bee_classifier/*/model.json")).parent
    assert out == f"ant_bee_classifier:{model.name}\n"
    assert store.options["args"] == {"model": f"ant_bee_classifier:{model.name}"}
    assert (store.options["name"], store.options["version"]) == ("ant_bee_classifier", model.name)


def test_without_pictures_noise_is_compared(
    checkpoint: Path, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without validation pictures, the export is checked on noise, and that is said."""
    assert main([str(checkpoint)]) == 0
    model = json.loads(next(store.folder.glob("*/*/model.json")).read_text())
    err = capsys.readouterr().err

    assert "no validation pictures in /somewhere/data: the export is checked on random noise" in err
    assert "--data names the pictures of the run" in err
    assert [line.split()[1] for line in err.splitlines() if line.startswith("onnx ")] == ["-"]
    assert "no int8: no validation pictures" in err
    assert model["gate"]["inputs"] == "random noise"
    assert (model["calibration"]["temperature"], model["calibration"]["pictures"]) == (1, 0)


def test_the_run_s_own_pictures_are_the_default(
    checkpoint: Path, data: Path, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without --data the run's folder is taken, and whether its pictures are the run's is said."""
    state = load_checkpoint(checkpoint)
    provenance = check_pictures(data).provenance
    provenance["pictures"]["val"][LABELS[0]] = 9
    provenance["sums"][f"val/{LABELS[0]}"] = "another"
    arguments = state.arguments | {"data": str(data)}
    save_checkpoint(replace(state, arguments=arguments, data=provenance), Path("own.pt"))

    assert main(["own.pt", "--runtime", "onnx"]) == 0

    change = f"val/{LABELS[0]} (9 pictures then, 2 now)"
    said = f"the pictures in {data} are not those of the run: {change}"
    assert said in capsys.readouterr().err.splitlines()
    model = json.loads(next(store.folder.glob("*/*/model.json")).read_text())
    assert model["gate"]["inputs"] == "validation pictures of data"
    assert {"left_out", "unreadable"}.isdisjoint(model["provenance"]["data"])


def test_a_checkpoint_is_replaced_while_it_is_read(
    checkpoint: Path, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where training goes on, the checksum is that of the very weights that are packed."""
    state = load_checkpoint(checkpoint)
    later = state.model | {"fc.bias": torch.full((len(LABELS),), 2.0)}
    best = tmp_path / "best.pt"
    save_checkpoint(state, best)

    def load(path: Path) -> Checkpoint:
        loaded = load_checkpoint(path)
        if not torch.equal(loaded.model["fc.bias"], later["fc.bias"]):
            save_checkpoint(replace(state, model=later), path)
        return loaded

    monkeypatch.setattr(pack, "load_checkpoint", load)
    monkeypatch.setattr(pack, "choose", lambda model, *_: model)

    assert main([str(best), "--data", str(tmp_path)]) == 0
    model = read_model(next(store.folder.glob("*/*/model.json")).parent)
    weights = torch.load(model.path(WEIGHTS), weights_only=True)
    assert model.provenance["checkpoint"]["sha256"] == sha256_of(best)
    assert torch.equal(weights["fc.bias"], later["fc.bias"])


def test_torch_bento_installs_torch(checkpoint: Path, store: Store, tmp_path: Path) -> None:
    """A bento packed for PyTorch lists the very versions that it was compared with."""
    # Its import warns, which a test may ignore and collecting the tests may not.
    from bentoml._internal.bento.build_config import PythonOptions  # noqa: PLC0415

    assert main([str(checkpoint), "--runtime", "torch"]) == 0
    PythonOptions(**store.options["python"]).write_to_bento(tmp_path, str(REPOSITORY))
    requirements = (tmp_path / "env/python/requirements.txt").read_text().splitlines()

    assert f"torch=={torch.__version__.partition('+')[0]}" in requirements
    assert any(line.startswith("torchvision==") for line in requirements)
    assert any(line.startswith("onnxruntime==") for line in requirements)


Refused = Callable[..., str]


@pytest.fixture
def refused(store: Store, capsys: pytest.CaptureFixture[str]) -> Refused:
    """Return what runs the command in this process, holds that it refuses, and gives the reason."""

    def run(*arguments: str | Path) -> str:
        assert main([str(argument) for argument in arguments]) == 1
        out, err = capsys.readouterr()
        errors = [line for line in err.splitlines() if line.startswith("error: ")]
        assert (out, len(errors)) == ("", 1)
        assert "Traceback" not in err
        assert not list(store.folder.glob("*/*/*"))
        assert not store.options
        return errors[0]

    return run


def test_a_store_that_cannot_be_written_is_named(
    checkpoint: Path, refused: Refused, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Where the store's disk is full, in BentoML's copying too, that is one line."""
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    named = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "b")
    same = shutil.Error("No space left on device in one and the same folder")
    for fault, where in (
        (full, "BENTOML_HOME ("),
        (named, "b cannot be read or written"),
        (shutil.Error([("a", "b", str(full))]), "b cannot be read or written"),
        (same, "BENTOML_HOME ("),
    ):
        monkeypatch.setattr(pack, "write_model", Mock(side_effect=fault))

        reason = refused(checkpoint, "--data", tmp_path)
        assert reason.startswith(f"error: {where}")
        assert "No space left on device" in reason


class Malicious:
    """Unpickling this would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        """Name the call that unpickling makes."""
        return Path.touch, (self.path,)


def _saved_by_torch(path: Path, content: Malicious) -> None:
    torch.save({"format": "antbee checkpoint", "version": 1, "model": content}, path)


def _pickled(path: Path, content: Malicious) -> None:
    path.write_bytes(pickle.dumps(content))


@pytest.mark.parametrize("write", [_saved_by_torch, _pickled])
def test_malicious_checkpoint_is_refused(
    write: Callable[[Path, Malicious], None], refused: Refused, tmp_path: Path
) -> None:
    """Code in a checkpoint is not run; nothing is stored."""
    proof = tmp_path / "proof"
    write(tmp_path / "x.pt", Malicious(proof))

    assert "nothing in it was run" in refused(tmp_path / "x.pt")
    assert not proof.exists()


def test_damaged_checkpoint_is_refused(checkpoint: Path, refused: Refused, tmp_path: Path) -> None:
    """A checkpoint of which one byte changed is refused by name."""
    folder = shutil.copytree(checkpoint.parent, tmp_path / "run")
    content = bytearray((folder / "best.pt").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "best.pt").write_bytes(content)

    assert "best.pt is damaged" in refused(folder / "best.pt")


def test_foreign_weights_are_refused(refused: Refused, tmp_path: Path) -> None:
    """A bare state dict is not a checkpoint of ours."""
    torch.save(build_model("resnet18", 2).state_dict(), tmp_path / "x.pt")

    assert "is not a checkpoint that train.py saved" in refused(tmp_path / "x.pt")


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(
    number: float, checkpoint: Path, data: Path, refused: Refused, tmp_path: Path
) -> None:
    """What a training that went wrong has left, interrupted, is refused before it is tried."""
    state = load_checkpoint(checkpoint)
    weights = state.model | {"fc.bias": torch.full((len(LABELS),), number)}
    save_checkpoint(replace(state, model=weights), tmp_path / "last.pt")

    assert "last.pt has weights that are no numbers" in refused(
        tmp_path / "last.pt", "--data", data
    )


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [(["nowhere.pt"], "no file nowhere.pt"), ([], "no best.pt of a run in saved_models")],
)
def test_missing_checkpoint_is_refused(arguments: list[str], reason: str, refused: Refused) -> None:
    """A checkpoint that is not there is named, or how to make one."""
    assert reason in refused(*arguments)


def test_other_labels_are_refused(
    checkpoint: Path, data: Path, refused: Refused, tmp_path: Path
) -> None:
    """Validation pictures of other labels are not compared with."""
    other = shutil.copytree(data, tmp_path / "data")
    (other / "val" / LABELS[0]).rename(other / "val" / "wasp")

    assert "the labels square, triangle, wasp" in refused(checkpoint, "--data", other)


def test_unreadable_pictures_are_refused(
    checkpoint: Path, refused: Refused, tmp_path: Path
) -> None:
    """Validation pictures of which none can be read are not compared with."""
    for label in LABELS:
        (tmp_path / "val" / label).mkdir(parents=True)
        (tmp_path / "val" / label / "x.jpg").write_text("version https://git-lfs.github.com")

    assert "holds no picture that can be read" in refused(checkpoint, "--data", tmp_path)
    assert "there is no folder" in refused(checkpoint, "--data", tmp_path / "nowhere")


def test_int8_by_name_needs_pictures(checkpoint: Path, refused: Refused, tmp_path: Path) -> None:
    """When int8 was asked for and cannot be made, nothing is stored, and the reason is said."""
    reason = refused(checkpoint, "--data", tmp_path, "--runtime", "int8")

    assert "no int8: no validation pictures" in reason


def test_model_of_a_failed_bento_is_removed(
    checkpoint: Path, store: Store, refused: Refused, tmp_path: Path
) -> None:
    """When BentoML cannot build the bento, the packed model does not stay behind, either."""
    store.fault = "the disk is full"

    assert "BentoML: the disk is full" in refused(checkpoint, "--data", tmp_path)


@pytest.mark.parametrize("half", ["models", "bentos"])
def test_half_of_what_was_interrupted_is_removed(
    half: str,
    checkpoint: Path,
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Ctrl-C while BentoML copies into its stores leaves neither a model nor a bento there."""
    begun = []

    def copy(_source: object, target: Path, **_options: object) -> None:
        begun.append(target)
        (target / "model.yaml").touch()
        raise KeyboardInterrupt

    def build(**options: str) -> None:
        folder = store.bentos / options["name"] / options["version"]
        folder.mkdir(parents=True)
        copy(None, folder)

    if half == "models":
        monkeypatch.setattr(shutil, "copytree", copy)
    monkeypatch.setattr(bentoml, "build", build)

    assert main([str(checkpoint), "--data", str(tmp_path)]) == 130
    assert [one.relative_to(tmp_path).parts[0] for one in begun] == [half]
    assert not list(store.folder.iterdir()) + list(store.bentos.iterdir())
    out, err = capsys.readouterr()
    assert (out, err.splitlines()[-1]) == ("", "interrupted")


def test_impossible_name_is_refused(checkpoint: Path, data: Path, refused: Refused) -> None:
    """A name that BentoML cannot store is refused before anything is packed."""
    reason = refused(checkpoint, "--data", data, "--name", "My Insects!")

    assert "--name 'My Insects!' cannot be stored" in reason


def test_wrong_usage_exits_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown runtime is wrong usage."""
    with pytest.raises(SystemExit) as stopped:
        main(["--runtime", "tensorflow"])

    assert stopped.value.code == 2
    assert capsys.readouterr().out == ""
