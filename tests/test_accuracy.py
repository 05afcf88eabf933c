"""Counts, shares and their intervals."""

import math

import numpy as np
import pytest

from antbee.accuracy import (
    Proportion,
    confusion,
    frequent_mistakes,
    most_confused,
    precision,
    recall,
)

COUNTS = np.array([[5, 0, 1, 0], [0, 4, 0, 0], [3, 0, 2, 2], [0, 0, 0, 0]])


@pytest.mark.parametrize(
    ("hits", "of", "low", "high"),
    # The first three from Newcombe 1998, "Two-sided confidence intervals for the single
    # proportion", table I, method 3.
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (20, 20, 0.8389, 1.0),
        (0, 0, 0.0, 1.0),
    ],
)
def test_interval_is_wilsons(hits: int, of: int, low: float, high: float) -> None:
    """The interval is the one in the literature, and stays within 0 and 1."""
    assert Proportion(hits, of).interval == pytest.approx((low, high), abs=5e-5)


def test_share_of_nothing_is_no_number() -> None:
    """Where there are no pictures there is no share."""
    assert math.isnan(Proportion(0, 0).value)
    assert Proportion(1, 4).value == 0.25


def test_confusion_counts_pictures() -> None:
    """Rows are true labels and columns answers; labels without pictures have their place."""
    counts = confusion(np.array([0, 0, 2, 2]), np.array([0, 2, 2, 0]), 4)

    assert counts.tolist() == [[1, 0, 1, 0], [0, 0, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]]


def test_recall_and_precision() -> None:
    """Recall is out of a label's pictures, precision out of its answers."""
    assert recall(COUNTS, 2) == Proportion(2, 7)
    assert precision(COUNTS, 0) == Proportion(5, 8)
    assert precision(COUNTS, 3) == Proportion(0, 2)


@pytest.mark.parametrize(("most", "expected"), [(9, [0, 1, 2, 3]), (3, [0, 2, 3]), (2, [0, 2])])
def test_most_confused_labels_are_kept(most: int, expected: list[int]) -> None:
    """Labels in most mistakes, on either side, are kept in their own order."""
    assert most_confused(COUNTS, most) == expected


def test_frequent_mistakes_come_first() -> None:
    """Pairs of label and answer come by their number of pictures; right answers are none."""
    assert frequent_mistakes(COUNTS, 2) == [(2, 0, 3), (2, 3, 2)]
    assert frequent_mistakes(COUNTS, 99) == [(2, 0, 3), (2, 3, 2), (0, 2, 1)]
    assert frequent_mistakes(np.diag([3, 4]), 9) == []
