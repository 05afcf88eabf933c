"""How far probabilities can be believed, and the temperature that mends them.

Guo et al. 2017, "On Calibration of Modern Neural Networks" (arXiv:1706.04599): logits are divided
by one number, the temperature, before the softmax, so that a label given with 80 % is right 8 times
in 10. No label changes. NumPy only; knows nothing of networks, files or pictures.
"""

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Logits = NDArray[np.floating[Any]]
"""[N, classes]"""
Labels = NDArray[np.int64]
"""[N], the index of each true label."""
Shares = NDArray[np.float64]
"""Probabilities [N, classes]."""

LOWEST: Final = 0.05
HIGHEST: Final = 20.0
"""Temperatures beyond which nothing is looked for. The paper's networks have 0.7 to 3."""
BINS: Final = 15
"""As in the paper."""
FOLDS: Final = 5
DRAWS: Final = 200
_STEPS: Final = 60
"""Enough for halving alone, without a single step of Newton's, to reach either end."""
_PRECISE: Final = 1e-9


@dataclass(frozen=True)
class Calibration:
    """What a model's logits are divided by, and what that was seen to do.

    Attributes:
        temperature: `LOWEST` to `HIGHEST`; 1 leaves the logits as they are.
        pictures: how many it was fitted on; 0 for none, and then there are no errors.
        ece_before: expected calibration error at temperature 1, 0 to 1.
        ece_after: at this temperature, on the very pictures that it was fitted on.
        ece_cross_validated: each picture's probabilities at a temperature fitted on others.

    Raises:
        ValueError: the temperature is out of its range.
    """

    temperature: float = 1.0
    pictures: int = 0
    ece_before: float | None = None
    ece_after: float | None = None
    ece_cross_validated: float | None = None

    def __post_init__(self) -> None:
        # Written so that what is no number is out of range.
        if not LOWEST <= self.temperature <= HIGHEST:
            raise ValueError(f"temperature {self.temperature} is not {LOWEST:g} to {HIGHEST:g}")

    def describe(self) -> str:
        """Say it in a line."""
        if self.ece_before is None or self.ece_after is None or self.ece_cross_validated is None:
            return "temperature 1: there were no labelled pictures to calibrate on"
        return (
            f"temperature {self.temperature:.3f}: expected calibration error "
            f"{self.ece_before:.1%} before, {self.ece_after:.1%} after, "
            f"{self.ece_cross_validated:.1%} cross-validated"
        )


@dataclass(frozen=True)
class Reliability:
    """Answers by how confident they were: equal bins of 0 to 1, open below and closed above.

    Attributes:
        counts: int64 [bins], answers in each bin.
        confidence: float64 [bins], their mean probability, 0 to 1; 0 where there is none.
        accuracy: float64 [bins], the share of them that is right, 0 to 1; 0 where there is none.
    """

    counts: NDArray[np.int64]
    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]

    @property
    def error(self) -> float:
        """Expected calibration error, 0 to 1: how far accuracy lies from confidence on average.

        Guo et al. 2017, equation 3.
        """
        gaps = np.abs(self.accuracy - self.confidence)
        return float(gaps @ self.counts / max(self.counts.sum(), 1))


def softmax(logits: Logits, temperature: float = 1.0) -> Shares:
    """Probabilities over the last axis, in float64 and safe for logits of any size.

    Args:
        logits: [..., classes].
        temperature: above 0; see `Calibration`.
    """
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(axis=-1, keepdims=True)
    exponentials = np.exp(shifted / temperature)
    return np.asarray(exponentials / exponentials.sum(axis=-1, keepdims=True), np.float64)


def fit_temperature(logits: Logits, labels: Labels) -> float:
    """Find the temperature at which the labels are most likely, `LOWEST` to `HIGHEST`.

    The mean negative log-likelihood is convex in the temperature's inverse; Newton's steps find its
    minimum, and halving takes over where they leave the range. The network's own probabilities
    count as one more picture, the conjugate prior of Diaconis and Ylvisaker 1979, "Conjugate Priors
    for Exponential Families": where a handful of pictures happen to be all right, their likelihood
    alone would grow for ever towards temperature 0. Without pictures it is 1.
    """
    count = len(labels)
    if not count:
        return 1.0
    scores = logits.astype(np.float64)
    scores -= scores.max(axis=1, keepdims=True)
    # The mean logit that the answers should have: the labels', and once the network's own.
    right = np.take_along_axis(scores, labels[:, np.newaxis], 1).sum()
    own = (softmax(scores) * scores).sum() / count
    target = (right + own) / (count + 1)
    low, inverse, high = 1 / HIGHEST, 1.0, 1 / LOWEST
    for _ in range(_STEPS):
        shares = softmax(scores, 1 / inverse)
        means = (shares * scores).sum(1)
        # The first and the second derivative of the mean negative log-likelihood by the inverse.
        slope = float(means.mean() - target)
        curvature = float(((shares * scores**2).sum(1) - means**2).mean())
        if abs(slope) <= _PRECISE * inverse * curvature:
            break
        low, high = (low, inverse) if slope > 0 else (inverse, high)
        following = inverse - slope / curvature if curvature > 0 else high
        inverse = following if low < following < high else math.sqrt(low * high)
    return min(max(1 / inverse, LOWEST), HIGHEST)


def reliability(probabilities: Shares, labels: Labels, bins: int = BINS) -> Reliability:
    """Sort the answers, each the most probable label, into bins by their probability."""
    return _binned(probabilities.max(1), probabilities.argmax(1) == labels, bins)


def _binned(confidence: Shares, right: NDArray[np.bool_], bins: int) -> Reliability:
    edges = np.linspace(0, 1, bins + 1)[1:-1]
    places = np.digitize(confidence, edges, right=True)
    counts = np.bincount(places, minlength=bins)
    filled = np.maximum(counts, 1)
    sums = [np.bincount(places, weights, bins) for weights in (confidence, right)]
    return Reliability(counts, sums[0] / filled, sums[1] / filled)


def error_by_chance(probabilities: Shares, bins: int = BINS) -> float:
    """Expected calibration error, 0 to 1, that so many answers would have if they were calibrated.

    Of few pictures it is far above 0. The mean of `DRAWS`, in each of which answers are right as
    often as their probabilities say; the same every time.
    """
    generator = np.random.default_rng(0)
    confidence = probabilities.max(1)
    drawn = (generator.random(len(confidence)) < confidence for _ in range(DRAWS))
    return float(np.mean([_binned(confidence, right, bins).error for right in drawn]))


def cross_validated(logits: Logits, labels: Labels, folds: int = FOLDS) -> Shares:
    """Each picture's probabilities at the temperature fitted on the other folds.

    The folds are drawn, the same every time; of fewer pictures each is a fold.
    """
    count = len(labels)
    turns = np.random.default_rng(0).permutation(count) % max(min(folds, count), 1)
    shares = np.empty(logits.shape)
    for turn in np.unique(turns):
        held = turns == turn
        shares[held] = softmax(logits[held], fit_temperature(logits[~held], labels[~held]))
    return shares


def calibrate(logits: Logits, labels: Labels) -> Calibration:
    """Fit the temperature, and measure what it does; no pictures leave everything as it is."""
    if not len(labels):
        return Calibration()
    temperature = fit_temperature(logits, labels)
    at = (softmax(logits), softmax(logits, temperature), cross_validated(logits, labels))
    errors = (reliability(shares, labels).error for shares in at)
    return Calibration(temperature, len(labels), *errors)
