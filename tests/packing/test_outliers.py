"""Whether a packed model can tell pictures of none of its labels."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from antbee.artifact import INDEX, TYPICALITY, PackedModel, read_model, write_model
from antbee.packing import bank as bank_module
from antbee.packing import outliers
from antbee.packing.bank import (
    ALIKE,
    PROBES,
    STAGES,
    agreement,
    draw_others,
    main,
    pooled_stage,
    probe_pictures,
    read_bank,
)
from antbee.packing.samples import Validation, find_used
from antbee.predictor import Floats
from antbee.training.data import Split
from antbee.training.network import build_model
from antbee.typicality import FEWEST, load_judge
from tests.conftest import LABELS, draw_splits, encode, noise

EACH = 7  # of each label, so that there are enough in all


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make just enough pictures of each label in each split."""
    folder = tmp_path_factory.mktemp("pictures") / "data"
    seeds = {
        split: [range(first, first + EACH) for first in (begin, begin + 100, begin + 200)]
        for split, begin in (("train", 0), ("val", 1000))
    }
    draw_splits(folder, seeds, (80, 60))
    return folder


@pytest.fixture
def model(packed: PackedModel, tmp_path: Path) -> PackedModel:
    """Copy the packed model; what no test writes to is linked."""
    folder = tmp_path / "model"
    shutil.copytree(packed.folder, folder, copy_function=os.link)
    (folder / INDEX).unlink()
    shutil.copyfile(packed.folder / INDEX, folder / INDEX)
    return read_model(folder)


Found = tuple[dict[str, Split], Validation, dict[str, Floats]]


def found(model: PackedModel, data: Path) -> Found:
    """Find the pictures, and vectors for those of `val` as a runtime might give them."""
    used = find_used(model, data)
    samples = Validation(model, data, used)
    count = len(samples.labels)
    vectors = np.random.default_rng(0).random((count, 256), np.float32)
    return used, samples, {"onnx": vectors, "torch": vectors}


def fitted(model: PackedModel, data: Path) -> dict[str, object]:
    """Fit what tells others."""
    used, samples, vectors = found(model, data)
    return outliers.fit_typicality(model, "onnx", data, used.get("train"), samples, vectors)


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the bank fit the random network of the tests, without a look at eight pictures."""
    probes = [np.zeros((3, 224, 224), np.float32)]
    monkeypatch.setattr(outliers, "probe_pictures", lambda: probes)
    monkeypatch.setattr(outliers, "agreement", lambda _probes, _bank: 1.0)


@pytest.mark.usefixtures("fits")
def test_what_is_fitted_is_packed(
    model: PackedModel, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A model that can tell has the file, and says how often it refuses a true picture."""
    about = fitted(model, data)
    write_model(replace(model, typicality=about))
    packed = read_model(model.folder)

    assert packed.tells_unknown
    assert packed.typicality == about
    assert (about["reason"], about["stage"], about["weak"]) == (None, "layer3", False)
    assert (about["pictures"], about["training_pictures"]) == (3 * EACH, 3 * EACH)
    assert set(about["refused_by_label"]) == set(LABELS)  # type: ignore[call-overload]  # a dictionary
    for runtime in ("onnx", "torch"):
        judge = load_judge(packed, runtime)
        assert judge is not None
        assert len(judge.reference) == 3 * EACH
    assert "are refused, cross-validated" in capsys.readouterr().err


@pytest.mark.usefixtures("fits")
def test_others_are_taken_for_others(model: PackedModel, data: Path, tmp_path: Path) -> None:
    """Pictures in the folder `others` move the boundary; without them it is the same again."""
    told = Path(shutil.copytree(data, tmp_path / "data"))
    (told / "others").mkdir()
    for number in range(3):
        (told / "others" / f"{number}.jpg").write_bytes(encode(noise(80, 60, 5000 + number)))
    (told / "others" / "notes.txt").write_text("no picture")
    counts, written = [], []
    for folder in (data, told, data):
        counts.append(fitted(model, folder)["others"])
        written.append((model.folder / TYPICALITY).read_bytes())

    assert counts == [0, 3, 0]
    assert written[0] == written[2] != written[1]


@pytest.mark.usefixtures("fits")
def test_training_pictures_stand_in(model: PackedModel, data: Path, tmp_path: Path) -> None:
    """Without validation pictures the training pictures are judged by fits without them."""
    shutil.copytree(data / "train", tmp_path / "data" / "train")
    used, samples, _ = found(model, tmp_path / "data")
    vectors = {"onnx": np.zeros((8, 256), np.float32)}  # of the noise that stands in
    about = outliers.fit_typicality(model, "onnx", data, used["train"], samples, vectors)

    assert (about["reference"], about["pictures"]) == ("training pictures, cross-fitted", 3 * EACH)
    assert about["refused_by_label"] == {}


def test_another_network_is_told_apart(model: PackedModel, data: Path) -> None:
    """A frozen part that is not the bank's network has no bank, and a reason."""
    about = fitted(model, data)

    assert "cosine" in str(about["reason"])
    assert not (model.folder / TYPICALITY).exists()


def test_reasons(model: PackedModel, data: Path, tmp_path: Path) -> None:
    """Whoever cannot tell says why, in words that name no path."""
    few = Path(shutil.copytree(data, tmp_path / "few"))
    for path in sorted((few / "val").rglob("*.jpg"))[FEWEST - 1 :]:
        path.unlink()
    for label in LABELS[2:]:
        (few / "val" / label / "0.jpg").write_bytes(encode(noise(80, 60)))
        next((few / "val" / LABELS[0]).glob("*.jpg")).unlink()
    frozen = {"arguments": {"freeze": "stem"}}
    reasons = [
        fitted(replace(model, pooled=None), data)["reason"],
        fitted(replace(model, pooled=None, provenance=frozen), data)["reason"],
        fitted(replace(model, arch="resnet34"), data)["reason"],
        fitted(model, few)["reason"],
        outliers.fit_typicality(model, "onnx", data, None, *found(model, data)[1:])["reason"],
    ]

    expected = ("every stage was", "but the stem", "this is a resnet34", "it takes 19", "training")
    for reason, words in zip(reasons, expected, strict=True):
        assert words in str(reason)
        assert str(tmp_path) not in str(reason)


@pytest.mark.parametrize(
    ("frozen", "stage"),
    [
        ("none", None),
        ("stem", None),
        ("layer1", "layer1"),
        ("layer2", "layer2"),
        ("layer3", "layer3"),
        ("layer4", "layer3"),
    ],
)
def test_deepest_frozen_stage_is_pooled(frozen: str, stage: str | None) -> None:
    """The deepest stage that the bank has and that was not trained is the one."""
    assert pooled_stage(frozen) == stage


def test_bank_is_there() -> None:
    """The bank that is installed has vectors of every stage, and says where they come from."""
    for stage, channels in zip(STAGES, (64, 128, 256), strict=True):
        bank = read_bank(stage)

        assert bank.natural.shape[0] == bank.about["natural"] >= 100
        assert bank.drawn.shape == (bank.about["drawn"], channels)
        assert bank.probes.shape == (PROBES, channels)
        assert np.isfinite(bank.natural).all()
        assert agreement(bank.probes, bank) == pytest.approx(1)
        assert agreement(bank.probes[:, ::-1], bank) < ALIKE
        assert agreement(bank.probes[:, :-1], bank) == -1


def test_probes_are_drawn_the_same() -> None:
    """The pictures that tell networks apart are the same whenever they are drawn."""
    first, again = probe_pictures(), probe_pictures()

    assert all(np.array_equal(one, other) for one, other in zip(first, again, strict=True))
    assert len({one.tobytes() for one in first}) == PROBES


def test_bank_can_be_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command makes a bank of a folder's photographs, in 8 bits."""
    monkeypatch.setattr(bank_module, "EACH", 1)
    monkeypatch.setattr(bank_module, "draw_others", lambda: draw_others(1))
    monkeypatch.setattr(bank_module, "probe_pictures", lambda: [np.zeros((3, 32, 32), np.float32)])
    torch.manual_seed(0)
    torch.save(build_model("resnet18", 2).state_dict(), tmp_path / "weights.pt")
    for number in range(2):
        (tmp_path / f"{number}.jpg").write_bytes(encode(noise(80, 60, number)))
    out = tmp_path / "made.npz"
    arguments = ["--weights", str(tmp_path / "weights.pt"), "--source", "drawn here"]
    assert main([str(tmp_path), *arguments, "--out", str(out)]) == 0

    bank = read_bank("layer3", out)
    assert bank.natural.shape == (2, 256)
    assert bank.about["source"] == "drawn here"
