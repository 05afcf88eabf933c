"""The accuracy gate."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from antbee.artifact import FEATURES, LOGITS
from antbee.calibration import Calibration, calibrate
from antbee.errors import ModelError
from antbee.packing.gate import (
    NO_LABEL,
    Kept,
    Row,
    check_export,
    compare,
    describe,
    ranked,
    refusal,
)
from antbee.predictor import Floats


class Fixed:
    """A predictor whose logits depend on the first number of its input alone."""

    runtime = "fixed"

    def __init__(self, *logits: tuple[float, float]) -> None:
        self._logits = np.asarray(logits, np.float32)

    def logits(self, batch: Floats) -> Floats:
        """Answer with the logits of the row that the input names."""
        return self.outputs(batch, (LOGITS,))[0]

    def outputs(self, batch: Floats, names: Sequence[str]) -> list[Floats]:
        """Answer with features that never differ, and pool what the logits are."""
        logits = self._logits[batch[:, 0, 0, 0].astype(int)]
        features = np.zeros((len(batch), 1, 1, 1), np.float32)
        return [features if name == FEATURES else logits for name in names]


SAMPLES = [(np.full((3, 1, 1), index, np.float32), label) for index, label in enumerate((0, 1, 1))]
TORCH = Fixed((1, 0), (0, 1), (0, 1))


def test_agreement() -> None:
    """A runtime that answers as PyTorch does changes nothing."""
    (torch, onnx), *_ = compare({"torch": TORCH, "onnx": TORCH}, SAMPLES)

    assert (onnx.pictures, onnx.correct, torch.correct) == (3, 3, 3)
    assert (onnx.changed, onnx.accuracy_change) == (0, 0)
    assert (onnx.largest_change, onnx.mean_change, onnx.largest_logit_change) == (0, 0, 0)
    assert onnx.exact


def test_differences_are_counted() -> None:
    """Changed labels, lost accuracy and the changes in probability are measured."""
    other = Fixed((0, 1), (0, 1), (0, 1))
    (_, onnx), calibration, _ = compare({"torch": TORCH, "onnx": other}, SAMPLES)
    temperature = calibration.temperature
    moved = abs(1 / (1 + np.exp(-1 / temperature)) - 1 / (1 + np.exp(1 / temperature)))

    assert (onnx.changed, onnx.correct, onnx.accuracy_change) == (1, 2, -1)
    assert onnx.largest_change == pytest.approx(moved)
    assert onnx.mean_change == pytest.approx(moved / 3)
    assert (onnx.largest_logit_change, onnx.exact) == (1, False)


def test_export_within_tolerance_passes() -> None:
    """An export that differs by no more than 1e-4 is accepted."""
    near = Fixed((1.00009, 0), (0, 1), (0, 1))

    check_export(compare({"torch": TORCH, "onnx": near}, SAMPLES)[0][1])


@pytest.mark.parametrize("wrong", [1.0002, float("nan")])
def test_export_beyond_tolerance_is_refused(wrong: float) -> None:
    """An export that differs by more, or answers no numbers, is refused."""
    far = Fixed((wrong, 0), (0, 1), (0, 1))

    with pytest.raises(ModelError, match="nothing was packed"):
        check_export(compare({"torch": TORCH, "onnx": far}, SAMPLES)[0][1])


def test_nan_among_others_is_noticed() -> None:
    """An output that is no number is not hidden by a larger difference before it."""
    far = Fixed((5, 0), (float("nan"), 1), (0, 1))

    with pytest.raises(ModelError, match="by nan in a logit"):
        check_export(compare({"torch": TORCH, "onnx": far}, SAMPLES)[0][1])


def test_table_has_a_line_a_runtime() -> None:
    """A person reads one line a runtime, under a header."""
    rows, *_ = compare({"torch": TORCH, "onnx": TORCH}, SAMPLES)
    lines = describe(rows).splitlines()

    assert [line.split()[0] for line in lines] == ["runtime", "torch", "onnx"]
    assert "3/3 100.0%" in lines[2]
    assert len({len(line) for line in lines}) == 1


def row(runtime: str = "int8", **values: Any) -> Row:  # noqa: ANN401 - any field of a row
    """Make a row of 250 pictures on which nothing changes for the worse."""
    defaults: dict[str, Any] = {
        "pictures": 250,
        "correct": 200,
        "accuracy_change": 0,
        "changed": 0,
        "largest_change": 0.1,
        "mean_change": 0.01,
        "largest_logit_change": 0.5,
        "largest_feature_change": 0.5,
        "exact": False,
        "images_per_second": 100.0,
    }
    return Row(runtime=runtime, **(defaults | values))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, None),
        ({"changed": 2, "accuracy_change": -1}, None),
        ({"changed": 2, "accuracy_change": 2}, None),
        ({"changed": 3}, "3 of 250 pictures changes, where 2 may"),
        ({"changed": 2, "accuracy_change": -2}, "2 pictures of accuracy are lost, where 1 may"),
        ({"pictures": 100, "changed": 1}, None),
        ({"pictures": 99, "changed": 1}, "1 of 99 pictures changes, where 0 may"),
        ({"pictures": 99}, None),
        ({"largest_change": float("nan")}, "not a number"),
        ({"pictures": 8, "changed": 1, "exact": True}, None),
    ],
)
def test_refusals(values: dict[str, Any], expected: str | None) -> None:
    """One changed label in a hundred and one lost picture are allowed, and nothing beyond."""
    found = refusal(row(**values))

    assert (found is None) if expected is None else (expected in (found or ""))


@pytest.mark.parametrize(
    ("int8", "expected"),
    [
        ({"images_per_second": 100.0}, ["int8", "onnx"]),
        ({"images_per_second": 20.0}, ["onnx", "int8"]),
        ({"images_per_second": 100.0, "changed": 3}, ["onnx"]),
    ],
)
def test_fastest_that_passes_comes_first(int8: dict[str, Any], expected: list[str]) -> None:
    """Those that pass are ordered by speed; PyTorch does not count, however fast."""
    rows = [row("torch", exact=True, images_per_second=900.0), row("onnx", images_per_second=30.0)]

    assert ranked([*rows, row("int8", **int8)], ("int8", "onnx")) == expected


def test_runtimes_take_turns() -> None:
    """No runtime is always the first to see a picture."""
    asked: dict[float, list[str]] = defaultdict(list)

    class Noted(Fixed):
        def __init__(self, name: str) -> None:
            super().__init__((1, 0), (0, 1), (0, 1))
            self.name = name

        def outputs(self, batch: Floats, names: Sequence[str]) -> list[Floats]:
            asked[float(batch.flat[0])].append(self.name)
            return super().outputs(batch, names)

    compare({name: Noted(name) for name in ("torch", "onnx", "int8")}, SAMPLES)

    assert [asked[number][0] for number in range(3)] == ["torch", "onnx", "int8"]


def test_what_has_answered_is_not_asked_again() -> None:
    """A second int8 is compared with what is kept; neither samples nor PyTorch are needed again."""
    kept, samples = Kept(), iter(SAMPLES)
    torch, onnx = (Fixed((1, 0), (0, 1), (0, 1)) for _ in range(2))
    first, *_ = compare({"torch": torch, "onnx": onnx, "int8": TORCH}, samples, kept=kept)
    for predictor in (torch, onnx):
        predictor.outputs = None  # type: ignore[assignment,method-assign]
    other = Fixed((0, 1), (0, 1), (0, 1))
    predictors = {"torch": torch, "onnx": onnx, "int8": other}
    second, calibration, _ = compare(predictors, samples, kept=kept)

    assert second[:2] == first[:2]
    assert (second[2].pictures, second[2].changed, second[2].accuracy_change) == (3, 1, -1)
    assert compare(predictors | {"torch": TORCH, "onnx": TORCH}, SAMPLES)[1] == calibration


def test_more_than_memory_holds_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then a second comparison decodes and asks again."""
    monkeypatch.setattr("antbee.packing.gate.free_memory", lambda: 100)
    kept = Kept()
    first, *_ = compare({"torch": TORCH}, SAMPLES, kept=kept)
    second, *_ = compare({"torch": TORCH}, SAMPLES, kept=kept)

    assert not kept.samples
    assert first[0].pictures == second[0].pictures == len(SAMPLES)


def test_temperature_is_that_of_the_reference() -> None:
    """The temperature is fitted on PyTorch's logits alone, whatever the other runtimes answer."""
    far = Fixed((0, 9), (7, 1), (0, 1))
    logits, labels = np.array([[1, 0], [0, 1], [0, 1]], np.float32), np.array([0, 1, 1])
    _, found, _ = compare({"torch": TORCH, "int8": far}, SAMPLES)

    assert found == calibrate(logits, labels)
    assert (found.pictures, found.temperature) != (0, 1)


@pytest.mark.parametrize(
    ("samples", "logit"),
    [([(array, NO_LABEL) for array, _ in SAMPLES], 1.0), (SAMPLES, float("nan")), ([], 1.0)],
    ids=["noise", "not a number", "nothing"],
)
def test_without_labels_nothing_is_calibrated(
    samples: list[tuple[Floats, int]], logit: float
) -> None:
    """Where there is nothing to fit a temperature on, it is 1, and no error is claimed."""
    reference = Fixed((logit, 0), (0, 1), (0, 1))

    assert compare({"torch": reference}, samples)[1] == Calibration(temperature=1)


def test_what_was_pooled_is_kept() -> None:
    """Each runtime's vectors come in the samples' order, and one that differs is not exact."""
    other = Fixed((1, 0), (0, 1), (0, 1.0002))
    rows, _, vectors = compare({"torch": TORCH, "onnx": other}, SAMPLES, pooled=True)

    assert vectors["onnx"].tolist() == [[1, 0], [0, 1], [0, np.float32(1.0002)]]
    assert vectors["torch"].shape == (3, 2)
    assert not rows[1].exact


def test_nothing_to_compare() -> None:
    """Without samples there are no rows."""
    assert compare({"torch": TORCH}, []) == ([], Calibration(), {})
