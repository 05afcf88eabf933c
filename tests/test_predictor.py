"""Arrays to predictions."""

import dataclasses
import os
import shutil
import subprocess
import sys
import time
import weakref
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from antbee import predictor as module
from antbee.artifact import FEATURES, INT8, LOGITS, POOLED, PackedModel, read_model
from antbee.calibration import HIGHEST, LOWEST, Calibration
from antbee.errors import ModelError
from antbee.predictor import (
    RUNTIMES,
    Floats,
    check_runtime,
    fastest,
    load_ahead,
    load_predictor,
    to_prediction,
)
from tests.conftest import LABELS, REPOSITORY


@pytest.fixture(scope="module")
def batch() -> Floats:
    """Return three inputs."""
    return np.random.default_rng(0).standard_normal((3, 3, 224, 224), np.float32)


def test_runtimes_agree(packed: PackedModel, batch: Floats) -> None:
    """ONNX Runtime and PyTorch give the same outputs to 1e-4, in the order asked for."""
    names = (LOGITS, FEATURES, POOLED)
    onnx, torch = (
        load_predictor(packed, runtime).outputs(batch, names) for runtime in ("onnx", "torch")
    )

    assert [(3, len(LABELS)), (3, 512, 7, 7), (3, 256)] == [output.shape for output in onnx]
    for ours, reference in zip(onnx, torch, strict=True):
        assert np.abs(ours - reference).max() < 1e-4


def test_nothing_is_reported(packed: PackedModel, tmp_path: Path) -> None:
    """ONNX Runtime keeps no identifier of the machine and no log to be sent."""
    code = (
        "import sys; from pathlib import Path; from antbee.artifact import read_model; "
        "from antbee.predictor import load_predictor; "
        "load_predictor(read_model(Path(sys.argv[1])), 'onnx')"
    )
    alone = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}

    command = [sys.executable, "-B", "-c", code, str(packed.folder)]
    subprocess.run(command, env=alone, cwd=REPOSITORY, check=True)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_batch_is_its_pictures(packed_int8: PackedModel, batch: Floats, runtime: str) -> None:
    """A batch answers what its pictures answer one by one."""
    predictor = load_predictor(packed_int8, runtime)
    singly = np.concatenate([predictor.logits(batch[i : i + 1]) for i in range(3)])

    assert np.abs(predictor.logits(batch) - singly).max() < 1e-4


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_threads_do_not_mix(packed_int8: PackedModel, batch: Floats, runtime: str) -> None:
    """A predictor that several threads ask at once answers each with its own."""
    predictor = load_predictor(packed_int8, runtime)
    expected = [predictor.logits(batch[i : i + 1]) for i in range(3)]
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda i: predictor.logits(batch[i : i + 1]), list(range(3)) * 4))

    for index, answer in enumerate(answers):
        assert np.array_equal(expected[index % 3], answer)


def test_auto_is_what_packing_chose(packed: PackedModel) -> None:
    """`auto` means the runtime that the packed model names."""
    assert check_runtime(packed) == "onnx"
    assert check_runtime(dataclasses.replace(packed, runtime="torch")) == "torch"


def test_every_predictor_names_its_runtime(packed_int8: PackedModel) -> None:
    """A predictor says which runtime it is."""
    assert [load_predictor(packed_int8, name).runtime for name in RUNTIMES] == list(RUNTIMES)


class Slow:
    """A predictor that takes its time."""

    def __init__(self, runtime: str, seconds: float) -> None:
        self.runtime = runtime
        self.seconds = seconds
        self.asked = 0

    def logits(self, batch: Floats) -> Floats:
        """Answer late."""
        self.asked += 1
        time.sleep(self.seconds)
        return batch

    def outputs(self, batch: Floats, names: Sequence[str]) -> list[Floats]:
        """Answer late."""
        return [self.logits(batch) for _ in names]


def test_fastest_is_found(batch: Floats) -> None:
    """The predictor with the best time is taken, wherever it stands, by asking all in turn."""
    slow, quick = Slow("onnx", 0.05), Slow("int8", 0.001)

    assert fastest([slow, quick], batch) is quick
    assert fastest([quick, slow], batch) is quick
    assert slow.asked == quick.asked > 2


def test_slow_processors_are_asked_once(batch: Floats) -> None:
    """Where one answer takes all the time that there is, each is asked just once."""
    slow, quick = Slow("onnx", 0.05), Slow("int8", 0.001)

    assert fastest([slow, quick], batch, budget=0.02) is quick
    assert (slow.asked, quick.asked) == (1, 1)


@pytest.mark.parametrize("quick", ["int8", "onnx"])
def test_auto_measures_and_drops_the_slower(
    packed_int8: PackedModel, monkeypatch: pytest.MonkeyPatch, quick: str
) -> None:
    """Of several candidates `auto` keeps the one that is faster here, and forgets the other."""
    made = weakref.WeakValueDictionary[str, Slow]()

    def load(_: PackedModel, runtime: str, __: int) -> Slow:
        predictor = Slow(runtime, 0.001 if runtime == quick else 0.05)
        made[runtime] = predictor
        return predictor

    monkeypatch.setattr(module, "OnnxPredictor", load)

    assert load_predictor(packed_int8).runtime == quick
    predictor = load_predictor(packed_int8)
    assert (predictor.runtime, list(made)) == (quick, [quick])


def test_named_runtime_is_not_measured(
    packed_int8: PackedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A runtime asked for by name, at packing or at the start, is taken as it is."""
    monkeypatch.delattr(module, "fastest")

    assert load_predictor(packed_int8, "onnx").runtime == "onnx"
    named = dataclasses.replace(packed_int8, runtime="int8", candidates=())
    assert load_predictor(named).runtime == "int8"


def test_network_is_loaded_ahead(packed_int8: PackedModel) -> None:
    """What was begun before is what would be loaded now, and so is what is wrong with it."""
    load = load_ahead(packed_int8, "onnx")
    fails = load_ahead(packed_int8, "none")

    assert load().runtime == "onnx"
    with pytest.raises(ModelError, match="no runtime 'none'"):
        fails()


def test_missing_int8_says_why(packed: PackedModel) -> None:
    """A model without int8 answers why it has none."""
    model = dataclasses.replace(packed, gate={"int8": {"reason": "no validation pictures"}})

    with pytest.raises(
        ModelError, match=r"without int8 \(no validation pictures\): choose another"
    ):
        check_runtime(model, "int8")
    with pytest.raises(ModelError, match="not recorded"):
        check_runtime(packed, "int8")


def test_damaged_candidate_is_refused(packed_int8: PackedModel, tmp_path: Path) -> None:
    """`auto` does not pass over a damaged int8 file: whoever packed it wants to know."""
    folder = tmp_path / "copy"
    shutil.copytree(packed_int8.folder, folder, copy_function=os.link)
    (folder / INT8).unlink()
    (folder / INT8).write_bytes(b"damaged")

    with pytest.raises(ModelError, match=r"model\.int8\.onnx is damaged"):
        check_runtime(read_model(folder))


def test_unknown_runtime_is_refused(packed: PackedModel) -> None:
    """A runtime that does not exist is answered with those that do."""
    with pytest.raises(ModelError, match="int8, onnx, torch"):
        check_runtime(packed, "tensorflow")


def test_missing_library_is_named(packed: PackedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """A runtime whose library is not installed names it."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)

    with pytest.raises(ModelError, match="torch and torchvision"):
        check_runtime(packed, "torch")


def test_prediction_names_the_most_probable(packed: PackedModel) -> None:
    """A prediction carries every label's probability and the largest one's label."""
    prediction = to_prediction(packed, np.log(np.array([0.25, 0.5, 0.25], np.float32)))

    assert prediction.label == "square"
    assert prediction.probability == pytest.approx(0.5)
    assert prediction.probabilities == pytest.approx(
        {"circle": 0.25, "square": 0.5, "triangle": 0.25}
    )


@pytest.mark.parametrize("temperature", [LOWEST, 0.5, 1.0, HIGHEST])
def test_temperature_changes_probabilities_and_no_label(
    packed: PackedModel, temperature: float
) -> None:
    """Logits are divided by the temperature before the softmax, and the label stays."""
    model = dataclasses.replace(packed, calibration=Calibration(temperature))
    logits = np.array([0.3, -0.2, 0.9], np.float32)
    powers = np.exp(logits.astype(float) / temperature)
    prediction = to_prediction(model, logits)

    assert prediction.label == "triangle"
    assert list(prediction.probabilities.values()) == pytest.approx(list(powers / powers.sum()))


def test_label_is_kept_where_probabilities_round_to_a_tie(packed: PackedModel) -> None:
    """Of logits too near each other for their probabilities to differ, the larger one counts."""
    model = dataclasses.replace(packed, calibration=Calibration(HIGHEST))
    prediction = to_prediction(model, np.array([1e-16, 2e-16, 0], np.float32))

    assert prediction.probabilities["circle"] == prediction.probabilities["square"]
    assert prediction.label == "square"
