"""What answers come to in numbers: counts, proportions and their intervals. NumPy only."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

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


@dataclass(frozen=True)
class HeldOut:
    """What a network made of test pictures, by which nothing was learned or chosen.

    Attributes:
        measured: how: `training`, in float32 on PyTorch, or the runtime that serves.
        checkpoint: SHA-256 of the network's file.
        sha256: of the pictures' names and contents.
        copies: how many of the pictures are in train or val, too; None where nobody has looked.
        labels: of each label's pictures, those that were recognised; a label may have none.
    """

    measured: str
    checkpoint: str
    sha256: str
    copies: int | None
    labels: Mapping[str, Proportion]

    @property
    def right(self) -> Proportion:
        """Of all pictures, those that were recognised."""
        shares = self.labels.values()
        return Proportion(sum(one.hits for one in shares), sum(one.of for one in shares))

    def describe(self) -> dict[str, Any]:
        """What JSON keeps of it; accuracies are shares, 0 to 1."""
        right = self.right
        return {
            "measured": self.measured,
            "checkpoint": self.checkpoint,
            "sha256": self.sha256,
            "copies": self.copies,
            "pictures": right.of,
            "correct": right.hits,
            "accuracy": right.value,
            "interval": list(right.interval),
            "balanced_accuracy": balanced_accuracy(self.labels.values()),
            "labels": {
                label: {"pictures": one.of, "correct": one.hits}
                for label, one in self.labels.items()
            },
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "HeldOut":
        """Read what `describe` gave.

        Raises:
            AttributeError, KeyError, TypeError, ValueError: it is something else.
        """
        labels = {
            str(label): Proportion(int(one["correct"]), int(one["pictures"]))
            for label, one in content["labels"].items()
        }
        if any(not 0 <= one.hits <= one.of for one in labels.values()):
            raise ValueError("more pictures are right than there are")
        copies = content["copies"]
        return cls(
            str(content["measured"]),
            str(content["checkpoint"]),
            str(content["sha256"]),
            None if copies is None else int(copies),
            labels,
        )


def describe_accuracy(right: Proportion) -> str:
    """Say in a line how many answers are right, and what that is worth."""
    low, high = right.interval
    return (
        f"{right.hits} of {right.of} right, {right.value:.1%} "
        f"(95 % interval {low:.1%} to {high:.1%})"
    )


def balanced_accuracy(recalls: Iterable[Proportion]) -> float:
    """The mean of the labels' recalls, 0 to 1, in which a small label counts as a large one does.

    Also called macro average. Labels without pictures are left out; of none it is not a number.
    """
    values = [one.value for one in recalls if one.of]
    return sum(values) / len(values) if values else math.nan


def within(logits: NDArray[np.floating[Any]], truth: NDArray[np.int64], most: int) -> Proportion:
    """Of the answers [N, classes], those with the true label [N] among the `most` probable ones."""
    own = np.take_along_axis(logits, truth[:, np.newaxis], 1)
    return Proportion(int(((logits > own).sum(1) < most).sum()), len(truth))


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
