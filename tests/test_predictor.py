"""Arrays to predictions."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from antbee.artifact import PackedModel
from antbee.errors import ModelError
from antbee.predictor import (
    Floats,
    check_runtime,
    load_predictor,
    probabilities,
    to_prediction,
)
from tests.conftest import LABELS


@pytest.fixture(scope="module")
def batch() -> Floats:
    """Return three inputs."""
    return np.random.default_rng(0).standard_normal((3, 3, 224, 224), np.float32)


def test_runtimes_agree(packed: PackedModel, batch: Floats) -> None:
    """ONNX Runtime and PyTorch give the same logits and features to 1e-4."""
    onnx, torch = (load_predictor(packed, runtime).outputs(batch) for runtime in ("onnx", "torch"))

    assert [(3, len(LABELS)), (3, 512, 7, 7)] == [output.shape for output in onnx]
    for ours, reference in zip(onnx, torch, strict=True):
        assert np.abs(ours - reference).max() < 1e-4


@pytest.mark.parametrize("runtime", ["onnx", "torch"])
def test_a_batch_is_its_pictures(packed: PackedModel, batch: Floats, runtime: str) -> None:
    """A batch answers what its pictures answer one by one."""
    predictor = load_predictor(packed, runtime)
    singly = np.concatenate([predictor.logits(batch[i : i + 1]) for i in range(3)])

    assert np.abs(predictor.logits(batch) - singly).max() < 1e-4


@pytest.mark.parametrize("runtime", ["onnx", "torch"])
def test_threads_do_not_mix(packed: PackedModel, batch: Floats, runtime: str) -> None:
    """A predictor that several threads ask at once answers each with its own."""
    predictor = load_predictor(packed, runtime)
    expected = [predictor.logits(batch[i : i + 1]) for i in range(3)]
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda i: predictor.logits(batch[i : i + 1]), list(range(3)) * 4))

    for index, answer in enumerate(answers):
        assert np.array_equal(expected[index % 3], answer)


def test_auto_is_what_packing_chose(packed: PackedModel) -> None:
    """`auto` means the runtime that the packed model names."""
    assert check_runtime(packed) == "onnx"
    assert check_runtime(dataclasses.replace(packed, runtime="torch")) == "torch"


def test_unknown_runtime_is_refused(packed: PackedModel) -> None:
    """A runtime that does not exist is answered with those that do."""
    with pytest.raises(ModelError, match="onnx, torch"):
        check_runtime(packed, "tensorflow")


def test_missing_library_is_named(packed: PackedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """A runtime whose library is not installed names it."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)

    with pytest.raises(ModelError, match="torch and torchvision"):
        check_runtime(packed, "torch")


def test_probabilities_of_large_logits() -> None:
    """Softmax stays finite and sums to 1 for logits of any size."""
    rows = probabilities(np.array([[1000.0, 1000.0], [-1000.0, 0.0]], np.float32))

    assert np.array_equal([[0.5, 0.5], [0.0, 1.0]], rows)


def test_prediction_names_the_most_probable() -> None:
    """A prediction carries every label's probability and the largest one's label."""
    prediction = to_prediction(("a", "b"), np.array([0.25, 0.75]))

    assert (prediction.label, prediction.probability) == ("b", 0.75)
    assert prediction.probabilities == {"a": 0.25, "b": 0.75}
