"""The accuracy gate: every candidate runtime against PyTorch, on the validation pictures.

It runs the serving predictors, on the inputs that the server's own decoding gives.
"""

import math
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from antbee.calibration import Calibration, calibrate, softmax
from antbee.errors import ModelError
from antbee.predictor import Floats, Predictor

REFERENCE: Final = "torch"
NO_LABEL: Final = -1
"""The label of a sample that has none, such as noise: no answer is right."""
TOLERANCE: Final = 1e-4
"""How far an output of a float32 export may lie from PyTorch's, on any validation picture."""
ROUNDING: Final = 1e-5
"""What float32 may add to that, as a share of the largest output: some 80 roundings of 2^-23."""
PICTURES_A_CHANGE: Final = 100
"""One label may change for each so many pictures; of fewer pictures, none."""
MOST_LOST: Final = 1
"""How many pictures of accuracy may be lost."""


@dataclass(frozen=True)
class Row:
    """How one runtime answers, compared with PyTorch.

    Attributes:
        runtime: its name.
        pictures: how many it answered.
        correct: pictures whose most probable label is the true one.
        accuracy_change: `correct` minus PyTorch's, in pictures.
        changed: pictures whose most probable label is not PyTorch's.
        largest_change: of any probability as it is served, so calibrated, 0 to 1.
        mean_change: of all of them, 0 to 1.
        largest_logit_change: of any logit.
        largest_feature_change: of any number of the last convolution's map.
        exact: whether both stay within `TOLERANCE`, `ROUNDING` allowed for.
        images_per_second: the network alone, one picture at a time, one thread.
    """

    runtime: str
    pictures: int
    correct: int
    accuracy_change: int
    changed: int
    largest_change: float
    mean_change: float
    largest_logit_change: float
    largest_feature_change: float
    exact: bool
    images_per_second: float


@dataclass(frozen=True)
class Comparison:
    """How all runtimes answer, and what their logits are divided by.

    Attributes:
        rows: one for each runtime.
        calibration: fitted on the logits of `REFERENCE` for the pictures that have a label.
    """

    rows: list[Row]
    calibration: Calibration


def compare(
    predictors: Mapping[str, Predictor], samples: Iterable[tuple[Floats, int]]
) -> Comparison:
    """Run every predictor over every sample and compare it with `REFERENCE`, which is one of them.

    Args:
        predictors: by runtime.
        samples: float32 [3, H, W] and the index of the true label, or `NO_LABEL`; used once, one
            at a time. The runtimes answer each of them in another order, so that none is always
            timed after the same other.

    Returns:
        A row a runtime; none if there is no sample.
    """
    labels = []
    tallies = {runtime: _Tally() for runtime in predictors}
    order = list(predictors)
    for array, label in samples:
        labels.append(label)
        outputs = {name: tallies[name].run(predictors[name], array[np.newaxis]) for name in order}
        for runtime, output in outputs.items():
            tallies[runtime].note_difference(output, outputs[REFERENCE])
        order.append(order.pop(0))
    if not labels:
        return Comparison([], Calibration())
    reference, truth = tallies[REFERENCE].stacked(), np.asarray(labels)
    calibration = _calibrate(reference, truth)
    rows = [
        _row(runtime, tally, reference, truth, calibration.temperature)
        for runtime, tally in tallies.items()
    ]
    return Comparison(rows, calibration)


def _calibrate(logits: Floats, truth: NDArray[np.int64]) -> Calibration:
    labelled = truth != NO_LABEL
    if not np.isfinite(logits).all():
        return Calibration()  # such a network is refused by name later
    return calibrate(logits[labelled], truth[labelled])


@dataclass
class _Tally:
    logits: list[Floats] = field(default_factory=list)
    seconds: float = 0.0
    output_changes: list[float] = field(default_factory=lambda: [0.0, 0.0])
    exact: bool = True

    def run(self, predictor: Predictor, batch: Floats) -> tuple[Floats, Floats]:
        start = time.perf_counter()
        outputs = predictor.outputs(batch)
        self.seconds += time.perf_counter() - start
        self.logits.append(outputs[0][0])
        return outputs

    def note_difference(self, outputs: Sequence[Floats], reference: Sequence[Floats]) -> None:
        for index, (ours, theirs) in enumerate(zip(outputs, reference, strict=True)):
            change = float(np.abs(ours - theirs).max())
            self.output_changes[index] = max(self.output_changes[index], change)
            # Written so that an output that is no number counts as different.
            self.exact &= change <= TOLERANCE + ROUNDING * float(np.abs(theirs).max())

    def stacked(self) -> Floats:
        return np.stack(self.logits)


def _row(
    runtime: str,
    tally: _Tally,
    reference: Floats,
    truth: NDArray[np.int64],
    temperature: float,
) -> Row:
    logits = tally.stacked()
    labels, reference_labels = logits.argmax(1), reference.argmax(1)
    change = np.abs(softmax(logits, temperature) - softmax(reference, temperature))
    correct = int((labels == truth).sum())
    return Row(
        runtime=runtime,
        pictures=len(logits),
        correct=correct,
        accuracy_change=correct - int((reference_labels == truth).sum()),
        changed=int((labels != reference_labels).sum()),
        largest_change=float(change.max()),
        mean_change=float(change.mean()),
        largest_logit_change=tally.output_changes[0],
        largest_feature_change=tally.output_changes[1],
        exact=tally.exact,
        images_per_second=round(len(logits) / tally.seconds, 1),
    )


def check_export(row: Row) -> None:
    """Refuse a float32 export that does not agree with PyTorch.

    Raises:
        ModelError: an output differs by more than `TOLERANCE`.
    """
    if not row.exact:
        raise ModelError(
            f"the {row.runtime} export differs from PyTorch by {row.largest_logit_change:.2g} "
            f"in a logit and {row.largest_feature_change:.2g} in a feature, where {TOLERANCE:g} is "
            "allowed: nothing was packed"
        )


def objection(row: Row) -> str | None:
    """Say why a runtime may not stand in for PyTorch, or None if it may.

    It may change the label of no more than one picture in a hundred, and lose no more than one
    picture of accuracy. Fewer than a hundred pictures cannot show a share so small: then no label
    may change. An export that is `exact` can differ by a label on a tie at most.
    """
    if row.exact:
        return None
    allowed = row.pictures // PICTURES_A_CHANGE
    if not math.isfinite(row.largest_change):
        return "an answer is not a number"
    if row.changed > allowed:
        return (
            f"the label of {row.changed} of {row.pictures} pictures changes, "
            f"where {allowed} may at most"
        )
    if row.accuracy_change < -MOST_LOST:
        return f"{-row.accuracy_change} pictures of accuracy are lost, where {MOST_LOST} may be"
    return None


def ranked(rows: Sequence[Row], names: Collection[str]) -> list[str]:
    """Return those of the runtimes `names` that nothing is to be said against, fastest first."""
    fit = [row for row in rows if row.runtime in names and objection(row) is None]
    return [row.runtime for row in sorted(fit, key=lambda row: -row.images_per_second)]


def table(rows: Sequence[Row]) -> str:
    """Lay the rows out for a person: one line a runtime."""
    layout = "{:8} {:>13} {:>8} {:>15} {:>12} {:>11}"
    header = ("runtime", "top-1", "changed", "largest change", "mean change", "pictures/s")
    cells = [
        (
            row.runtime,
            _share(row),
            row.changed,
            f"{row.largest_change:.2e}",
            f"{row.mean_change:.2e}",
            f"{row.images_per_second:.1f}",
        )
        for row in rows
    ]
    lines = [layout.format(*line) for line in (header, *cells)]
    return "\n".join(lines)


def _share(row: Row) -> str:
    return f"{row.correct}/{row.pictures} {100 * row.correct / row.pictures:.1f}%"


def as_json(rows: Sequence[Row], inputs: str) -> dict[str, Any]:
    """What `model.json` keeps of the rows; `inputs` says what the samples were."""
    return {"inputs": inputs, "reference": REFERENCE, "rows": [asdict(row) for row in rows]}
