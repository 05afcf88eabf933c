"""Which runtime a packed model is served with."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest

from antbee.artifact import FEATURES, INT8, LOGITS, POOLED, PackedModel, read_model, write_model
from antbee.calibration import Calibration
from antbee.errors import ModelError
from antbee.files import sha256_of
from antbee.packing import choose as module
from antbee.packing import gate
from antbee.packing.choose import choose
from antbee.packing.gate import Row
from antbee.packing.quantize import QUANTIZATIONS, Quantization
from antbee.predictor import Floats, check_runtime
from antbee.training.check import check_pictures
from tests.conftest import LABELS, draw_splits, encode, noise

Quantizations = list[Quantization]


@pytest.fixture
def model(packed: PackedModel, tmp_path: Path) -> PackedModel:
    """Copy the packed model, to be chosen for."""
    return read_model(Path(shutil.copytree(packed.folder, tmp_path / "model")))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a picture of each label in each split."""
    folder = tmp_path_factory.mktemp("pictures") / "data"
    draw_splits(folder, dict.fromkeys(("train", "val"), ((0,), (1,), (2,))), (80, 60))
    return folder


@pytest.fixture
def quantized(monkeypatch: pytest.MonkeyPatch) -> Quantizations:
    """Let the float32 network pass for an int8 one; return the ways that were asked for."""
    asked: Quantizations = []

    def copy(
        source: Path, target: Path, arrays: Sequence[Floats], quantization: Quantization
    ) -> None:
        assert len(arrays) == len(LABELS)
        asked.append(quantization)
        shutil.copyfile(source, target)

    monkeypatch.setattr(module, "quantize", copy)
    return asked


class Instant:
    """A network that answers the same to everything."""

    runtime = "instant"

    def logits(self, batch: Floats) -> Floats:
        """Favour no label."""
        return self.outputs(batch, (LOGITS,))[0]

    def outputs(self, batch: Floats, names: Sequence[str]) -> list[Floats]:
        """Favour no label, and see nothing."""
        shapes = {LOGITS: (len(LABELS),), FEATURES: (1, 1, 1), POOLED: (256,)}
        return [np.zeros((len(batch), *shapes[name]), np.float32) for name in names]


def refuse(monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """Let the gate refuse int8 so many times, whatever it answers."""
    left = ["2 labels change"] * times

    def refusal(row: Row) -> str | None:
        return left.pop() if row.runtime == "int8" and left else None

    monkeypatch.setattr(gate, "refusal", refusal)
    monkeypatch.setattr(module, "load_predictor", lambda _model, _runtime: Instant())


def test_int8_that_passes_is_kept(model: PackedModel, data: Path, quantized: Quantizations) -> None:
    """The first way that passes is kept, and the server may choose among both networks."""
    chosen = choose(model, data, "auto")

    assert quantized == [QUANTIZATIONS[0]]
    assert sorted(chosen.candidates) == ["int8", "onnx"]
    assert (chosen.gate["inputs"], chosen.gate["reference"]) == (
        "validation pictures of data",
        "torch",
    )
    speeds = {row["runtime"]: row["images_per_second"] for row in chosen.gate["rows"]}
    assert list(speeds) == ["torch", "onnx", "int8"]
    assert list(chosen.candidates) == sorted(chosen.candidates, key=lambda name: -speeds[name])
    assert chosen.runtime == chosen.candidates[0]
    assert (chosen.gate["int8"]["recipe"], chosen.gate["int8"]["reason"]) == (
        str(QUANTIZATIONS[0]),
        None,
    )
    write_model(chosen)
    assert check_runtime(read_model(model.folder), "int8") == "int8"


def test_next_recipe_is_tried(
    model: PackedModel, data: Path, quantized: Quantizations, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A way that is refused is followed by the next, and both are recorded."""
    refuse(monkeypatch, times=1)
    chosen = choose(model, data, "int8")

    assert quantized == list(QUANTIZATIONS[:2])
    assert (chosen.runtime, chosen.candidates) == ("int8", ())
    assert chosen.gate["int8"]["recipe"] == str(QUANTIZATIONS[1])
    refusals = [attempt["objection"] for attempt in chosen.gate["int8"]["tried"]]
    assert refusals == ["2 labels change", None]


def test_int8_that_never_passes_is_left_out(
    model: PackedModel,
    data: Path,
    quantized: Quantizations,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """When every way is refused, float32 is served, and that is said and recorded."""
    refuse(monkeypatch, times=len(QUANTIZATIONS))
    chosen = choose(model, data, "auto")
    write_model(chosen)

    assert quantized == list(QUANTIZATIONS)
    assert (chosen.runtime, chosen.candidates) == ("onnx", ("onnx",))
    assert [row["runtime"] for row in chosen.gate["rows"]] == ["torch", "onnx"]
    assert not (model.folder / INT8).exists()
    assert "no int8: at best, of 4 recipes, 2 labels change" in capsys.readouterr().err
    with pytest.raises(ModelError, match=r"packed without int8 .* 2 labels change"):
        check_runtime(read_model(model.folder), "int8")


def test_int8_by_name_must_pass(
    model: PackedModel, data: Path, quantized: Quantizations, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When int8 was asked for by name, its failure fails the packing and says by how much."""
    refuse(monkeypatch, times=len(QUANTIZATIONS))

    with pytest.raises(ModelError, match="2 labels change: nothing was packed"):
        choose(model, data, "int8")
    assert quantized == list(QUANTIZATIONS)


@pytest.mark.parametrize(
    ("split", "reason"),
    [("val", "no validation pictures in data"), ("train", "no training pictures in data")],
)
def test_without_pictures_there_is_no_int8(
    model: PackedModel, data: Path, quantized: Quantizations, split: str, reason: str
) -> None:
    """Without pictures to calibrate or to compare on there is no int8, and the reason is kept."""
    part = Path(shutil.copytree(data, model.folder.parent / "data"))
    shutil.rmtree(part / split)
    chosen = choose(model, part, "auto")

    assert (chosen.runtime, chosen.candidates, quantized) == ("onnx", ("onnx",), [])
    assert chosen.gate["int8"]["reason"].startswith(reason)
    assert str(part.parent) not in str(chosen.gate)
    with pytest.raises(ModelError, match=reason):
        choose(model, part, "int8")


@pytest.mark.parametrize("runtime", ["onnx", "auto"])
@pytest.mark.parametrize("label", [None, *LABELS[:1]])
def test_what_became_of_the_training_pictures_is_a_difference(
    model: PackedModel, data: Path, monkeypatch: pytest.MonkeyPatch, label: str | None, runtime: str
) -> None:
    """An empty `train` or a label less prevents no packing, and is kept with the accuracy."""
    monkeypatch.setattr(module, "load_predictor", lambda _model, _runtime: Instant())
    model = replace(model, provenance={"data": check_pictures(data).provenance})
    assert choose(model, data, "onnx").gate["change"] is None
    part = Path(shutil.copytree(data, model.folder.parent / "data"))
    shutil.rmtree(part / "train" / (label or ""))
    (part / "train").mkdir(exist_ok=True)

    chosen = choose(model, part, runtime)

    assert chosen.runtime == "onnx"
    assert "train/circle (1 pictures then, 0 now)" in chosen.gate["change"]
    assert str(part.parent) not in str(chosen.gate)


def test_divided_pictures_are_hashed_twice(
    model: PackedModel, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once to divide them as training did, and once to tell whether they are the run's."""
    monkeypatch.setattr(module, "load_predictor", lambda _model, _runtime: Instant())
    monkeypatch.setattr(module, "QUANTIZATIONS", ())
    part = Path(shutil.copytree(data, model.folder.parent / "data")) / "train"
    for seed, label in enumerate(LABELS):
        (part / label / "2.jpg").write_bytes(encode(noise(80, 60, 10 + seed)))
    arguments = {"val_fraction": 0.5, "seed": 0}
    provenance = {"data": check_pictures(part, 0.5).provenance, "arguments": arguments}
    counted = Mock(side_effect=sha256_of)
    monkeypatch.setattr("antbee.training.data.sha256_of", counted)

    assert choose(replace(model, provenance=provenance), part, "auto").gate["change"] is None
    assert counted.call_count == 2 * 2 * len(LABELS)


def test_calibration_is_kept(model: PackedModel, data: Path, quantized: Quantizations) -> None:
    """The temperature is fitted on the validation pictures, whatever the runtime, and recorded."""
    write_model(choose(model, data, "auto"))
    found = read_model(model.folder).calibration

    assert quantized
    assert found.pictures == len(LABELS)
    assert found.temperature != 1
    assert None not in (found.ece_before, found.ece_after, found.ece_cross_validated)
    assert choose(model, data, "onnx").calibration.temperature == pytest.approx(found.temperature)


def test_noise_calibrates_nothing(
    model: PackedModel, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without validation pictures the probabilities stay as the network gives them."""
    chosen = choose(model, data / "none", "auto")

    assert chosen.calibration == Calibration(temperature=1)
    assert "no labelled pictures to calibrate on" in capsys.readouterr().err


@pytest.mark.parametrize("runtime", ["onnx", "torch"])
def test_another_runtime_by_name(
    model: PackedModel, data: Path, quantized: Quantizations, runtime: str
) -> None:
    """A runtime asked for by name is the only candidate, and no int8 is made for it."""
    chosen = choose(model, data, runtime)

    assert (chosen.runtime, chosen.candidates, quantized) == (runtime, (), [])
    assert chosen.gate["int8"]["reason"] == f"packed with --runtime {runtime}"
