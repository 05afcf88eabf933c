"""What a validation comes to in numbers: counts, proportions and their intervals. NumPy only."""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]
"""Pictures by true label and answer, [classes, classes]."""

Z: Final = 1.959964
"""Quantile of the normal distribution that leaves 2.5 % on either side."""


@dataclass(frozen=True)
class Proportion:
    """Some of a number of pictures, with Wilson's 95 % interval.

    Attributes:
        hits: how many.
        of: out of how many; of none, the proportion could be anything.
    """

    hits: int
    of: int

    @property
    def value(self) -> float:
        """The proportion itself, 0 to 1; not a number where there are no pictures."""
        return self.hits / self.of if self.of else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """Where the proportion of ever more such pictures lies, 0 to 1.

        Wilson 1927, "Probable Inference, the Law of Succession, and Statistical Inference": unlike
        the usual one it holds for few pictures and for proportions of 0 and 1.
        """
        if not self.of:
            return 0.0, 1.0
        square = Z**2 / self.of
        middle = (self.value + square / 2) / (1 + square)
        half = math.sqrt(square * (self.value * (1 - self.value) + square / 4)) / (1 + square)
        return max(middle - half, 0.0), min(middle + half, 1.0)


def confusion(truth: NDArray[np.int64], answers: NDArray[np.int64], classes: int) -> Counts:
    """Count pictures by true label (rows) and answer (columns), from the indices of both, [N]."""
    pairs = np.bincount(truth * classes + answers, minlength=classes**2)
    return pairs.reshape(classes, classes)


def recall(counts: Counts, label: int) -> Proportion:
    """Of the pictures of a label, those that were recognised."""
    return Proportion(int(counts[label, label]), int(counts[label].sum()))


def precision(counts: Counts, label: int) -> Proportion:
    """Of the pictures that were given a label, those that have it."""
    return Proportion(int(counts[label, label]), int(counts[:, label].sum()))


def most_confused(counts: Counts, most: int) -> list[int]:
    """Up to `most` labels, those in most mistakes, in their own order."""
    mistakes = counts - np.diag(np.diag(counts))
    order = np.argsort(-(mistakes.sum(0) + mistakes.sum(1)), kind="stable")
    return sorted(order[:most].tolist())


def frequent_mistakes(counts: Counts, most: int) -> list[tuple[int, int, int]]:
    """Up to `most` pairs of true label and wrong answer, and how many pictures; most come first."""
    mistakes = counts - np.diag(np.diag(counts))
    order = np.argsort(-mistakes, axis=None, kind="stable")[:most].tolist()
    pairs = [divmod(place, len(counts)) for place in order]
    return [
        (row, column, int(mistakes[row, column])) for row, column in pairs if mistakes[row, column]
    ]
