"""Counts, shares and their intervals."""

import json
import math

import numpy as np
import pytest

from antbee.accuracy import (
    HeldOut,
    Proportion,
    balanced_accuracy,
    confusion,
    frequent_mistakes,
    most_confused,
    precision,
    recall,
    within,
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


def test_a_small_label_counts_as_a_large_one() -> None:
    """Balanced accuracy is the mean of the recalls, and labels without pictures have none."""
    recalls = [Proportion(90, 100), Proportion(1, 2), Proportion(0, 0)]

    assert balanced_accuracy(recalls) == pytest.approx(0.7)
    assert math.isnan(balanced_accuracy([Proportion(0, 0)]))


def test_the_true_label_may_be_among_a_few() -> None:
    """An answer within the most probable ones counts; equal logits are as probable."""
    logits = np.array([[3, 2, 1], [1, 2, 3], [1, 1, 1]], np.float32)

    assert within(logits, np.array([1, 0, 2]), 2) == Proportion(2, 3)
    assert within(logits, np.array([1, 0, 2]), 1) == Proportion(1, 3)


def test_what_was_held_out_is_json() -> None:
    """What is written is read again; what cannot be true is refused."""
    result = HeldOut(
        "int8", "c0de", "5ab", None, {"ant": Proportion(3, 4), "bee": Proportion(1, 4)}
    )
    content = json.loads(json.dumps(result.describe()))

    assert HeldOut.from_json(content) == result
    assert (content["accuracy"], content["balanced_accuracy"]) == (0.5, 0.5)
    assert content["interval"] == list(Proportion(4, 8).interval)
    content["labels"]["ant"]["correct"] = 5
    with pytest.raises(ValueError, match="more pictures are right"):
        HeldOut.from_json(content)
