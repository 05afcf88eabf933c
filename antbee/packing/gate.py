"""The accuracy gate: every candidate runtime against PyTorch, on the validation pictures.

It runs the serving predictors, on the inputs that the server's own decoding gives.
"""

import math
import time
from collections import defaultdict, deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import numpy as np

from antbee.ahead import open_pool, work_ahead
from antbee.artifact import FEATURES, LOGITS, POOLED
from antbee.calibration import Calibration, calibrate, softmax
from antbee.command import table
from antbee.errors import ModelError
from antbee.machine import cores, free_memory
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
_TICK: Final = 1e-7
"""Seconds of what took less than the clock can tell."""


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
        exact: whether these, and what was pooled, stay within `TOLERANCE`, `ROUNDING` allowed for.
        images_per_second: the network alone, one picture at a time, by one thread's processor time.
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


@dataclass
class _Tally:
    """One runtime's answers so far; `output_changes` are by the outputs' names."""

    logits: list[Floats] = field(default_factory=list)
    pooled: list[Floats] = field(default_factory=list)
    output_changes: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    exact: bool = True
    seconds: float = 0.0


class Kept:
    """What a comparison leaves for the next one on the same samples, as far as memory allows.

    They need not be decoded again, and a predictor that has answered is not asked again.
    """

    def __init__(self) -> None:
        self.samples: list[tuple[Floats, int]] = []
        self.reference: list[dict[str, Floats]] = []
        self.answered: dict[str, tuple[Predictor, _Tally]] = {}
        self._room = free_memory() // 4

    def add(self, array: Floats, label: int, reference: dict[str, Floats]) -> None:
        """Keep a sample and what `REFERENCE` made of it; of too many nothing is kept."""
        self._room -= array.nbytes + sum(output.nbytes for output in reference.values())
        if self._room >= 0:
            self.samples.append((array, label))
            self.reference.append(reference)
        else:
            self.samples.clear()
            self.reference.clear()


def compare(
    predictors: Mapping[str, Predictor],
    samples: Iterable[tuple[Floats, int]],
    *,
    pooled: bool = False,
    kept: Kept | None = None,
) -> tuple[list[Row], Calibration, dict[str, Floats]]:
    """Run every predictor over every sample and compare it with `REFERENCE`, which is one of them.

    As many samples are answered at once as there are cores, each by one thread.

    Args:
        predictors: by runtime.
        samples: float32 [3, H, W] and the index of the true label, or `NO_LABEL`; used once, a few
            ahead. The runtimes answer each of them in another order, so that none is always
            timed after the same other.
        pooled: whether the networks have the output `POOLED`.
        kept: of an earlier comparison, if there was one, with these samples.

    Returns:
        A row a runtime, none if there is no sample; the calibration, fitted on the logits of
        `REFERENCE` for the samples that have a label; and, if `pooled`, what each runtime pooled,
        float32 [N, channels].
    """
    names = (LOGITS, FEATURES, *([POOLED] if pooled else []))
    again = kept is not None and bool(kept.samples)
    tallies = {runtime: _Tally() for runtime in predictors}
    if again and kept:
        samples = list(kept.samples)
        for runtime, (predictor, tally) in kept.answered.items():
            if predictors.get(runtime) is predictor:
                tallies[runtime] = tally
    asked = {name: predictors[name] for name, tally in tallies.items() if not tally.logits}
    labels = []
    with open_pool() as pool:
        ask = partial(_ask, asked, names)
        answers = work_ahead(pool, ask, enumerate(samples), 2 * cores())
        for number, (array, label, outputs, seconds) in enumerate(answers):
            labels.append(label)
            expected = kept.reference[number] if again and kept else outputs[REFERENCE]
            if kept and not again:
                kept.add(array, label, expected)
            for runtime, found in outputs.items():
                tally = tallies[runtime]
                tally.seconds += seconds[runtime]
                tally.logits.append(found[LOGITS][0])
                if pooled:
                    tally.pooled.append(found[POOLED][0])
                for name, ours in found.items():
                    change = float(np.abs(ours - expected[name]).max())
                    # Written so that an output that is no number stays, and counts as different.
                    largest = np.maximum(change, tally.output_changes[name])
                    tally.output_changes[name] = float(largest)
                    most = TOLERANCE + ROUNDING * float(np.abs(expected[name]).max())
                    tally.exact &= change <= most
    if kept:
        kept.answered = {name: (predictors[name], tally) for name, tally in tallies.items()}
    if not labels:
        return [], Calibration(), {}

    truth, reference = np.asarray(labels), np.stack(tallies[REFERENCE].logits)
    calibration = Calibration()
    if np.isfinite(reference).all():  # any other network is refused by name later
        labelled = truth != NO_LABEL
        calibration = calibrate(reference[labelled], truth[labelled])
    rows = []
    for runtime, tally in tallies.items():
        logits = np.stack(tally.logits)
        served, right = (softmax(one, calibration.temperature) for one in (logits, reference))
        differences = np.abs(served - right)
        correct, reference_correct = (
            int((one.argmax(1) == truth).sum()) for one in (logits, reference)
        )
        rows.append(
            Row(
                runtime=runtime,
                pictures=len(logits),
                correct=correct,
                accuracy_change=correct - reference_correct,
                changed=int((logits.argmax(1) != reference.argmax(1)).sum()),
                largest_change=float(differences.max()),
                mean_change=float(differences.mean()),
                largest_logit_change=tally.output_changes[LOGITS],
                largest_feature_change=tally.output_changes[FEATURES],
                exact=tally.exact,
                images_per_second=round(len(logits) / max(tally.seconds, _TICK), 1),
            )
        )
    vectors = {runtime: np.stack(tally.pooled) for runtime, tally in tallies.items() if pooled}
    return rows, calibration, vectors


def _ask(
    predictors: Mapping[str, Predictor],
    names: Sequence[str],
    numbered: tuple[int, tuple[Floats, int]],
) -> tuple[Floats, int, dict[str, dict[str, Floats]], dict[str, float]]:
    """Let every predictor answer one sample: it, its label, the outputs and the seconds of each."""
    number, (array, label) = numbered
    outputs, seconds = {}, {}
    order = deque(predictors)
    order.rotate(-number)
    for runtime in order:
        start = time.thread_time()
        found = predictors[runtime].outputs(array[np.newaxis], names)
        seconds[runtime] = time.thread_time() - start
        outputs[runtime] = dict(zip(names, found, strict=True))
    return array, label, outputs, seconds


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


def refusal(row: Row) -> str | None:
    """Say why a runtime may not stand in for PyTorch, or None if it may.

    It may change the label of no more than one picture in a hundred, and lose no more than one
    picture of accuracy. Fewer than a hundred pictures cannot show a share so small: then no label
    may change. An export that is `exact` can differ by a label on a tie at most.
    """
    if row.exact:
        return None
    if not math.isfinite(row.largest_change):
        return "an answer is not a number"
    allowed = row.pictures // PICTURES_A_CHANGE
    if row.changed > allowed:
        return (
            f"the label of {row.changed} of {row.pictures} pictures changes, "
            f"where {allowed} may at most"
        )
    if row.accuracy_change < -MOST_LOST:
        return f"{-row.accuracy_change} pictures of accuracy are lost, where {MOST_LOST} may be"
    return None


def ranked(rows: Sequence[Row], names: Collection[str]) -> list[str]:
    """Return those of the runtimes `names` that are not refused, fastest first."""
    fit = [row for row in rows if row.runtime in names and refusal(row) is None]
    return [row.runtime for row in sorted(fit, key=lambda row: -row.images_per_second)]


def describe(rows: Sequence[Row], *, labelled: bool = True) -> str:
    """Lay the rows out for a person: one line a runtime; without labels there is no accuracy."""
    head = ("runtime", "top-1", "changed", "largest change", "mean change", "pictures/s")
    cells = [
        (
            row.runtime,
            f"{row.correct}/{row.pictures} {row.correct / row.pictures:.1%}" if labelled else "-",
            row.changed,
            f"{row.largest_change:.2e}",
            f"{row.mean_change:.2e}",
            f"{row.images_per_second:.1f}",
        )
        for row in rows
    ]
    return table(head, cells)
