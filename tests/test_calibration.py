"""Calibration: the temperature, and how far probabilities can be believed."""

import math

import numpy as np
import pytest

from antbee.calibration import (
    HIGHEST,
    LOWEST,
    Calibration,
    Labels,
    Logits,
    calibrate,
    cross_validated,
    error_by_chance,
    fit_temperature,
    reliability,
    softmax,
)


def drawn(count: int, classes: int, temperature: float, seed: int = 0) -> tuple[Logits, Labels]:
    """Draw logits, and labels that are as likely as the logits say at a temperature."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 3, (count, classes)).astype(np.float32)
    cumulative = softmax(logits, temperature).cumsum(1)
    labels = (generator.random((count, 1)) > cumulative[:, :-1]).sum(1)
    return logits, labels.astype(np.int64)


def likelihood(logits: Logits, labels: Labels, temperature: float) -> float:
    """Mean negative log-likelihood."""
    shares = softmax(logits, temperature)
    return float(-np.log(shares[np.arange(len(labels)), labels]).mean())


@pytest.mark.parametrize("classes", [2, 10])
@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
def test_known_temperature_is_recovered(classes: int, temperature: float) -> None:
    """Labels drawn at a temperature give it back."""
    logits, labels = drawn(20_000, classes, temperature)

    assert fit_temperature(logits, labels) == pytest.approx(temperature, rel=0.05)


def test_fitted_temperature_makes_labels_most_likely() -> None:
    """No temperature nearby gives many labels a higher likelihood."""
    logits, labels = drawn(5000, 3, 1.7)
    fitted = fit_temperature(logits, labels)
    around = [likelihood(logits, labels, fitted * factor) for factor in (0.97, 1, 1.03)]

    assert min(around) == around[1]


def test_recorded_temperature() -> None:
    """A case small enough to solve by hand.

    Three pictures with a margin of 2, two of them right. The network itself gives the wrong label
    1 / (1 + e^2); with that as one more picture, (1 + 1 / (1 + e^2)) / 4 of them are wrong, and
    2 / T must be the logarithm of the odds of that.
    """
    logits = np.array([[2, 0], [0, 2], [2, 0]], np.float32)
    wrong = (1 + 1 / (1 + math.exp(2))) / 4

    expected = 2 / math.log((1 - wrong) / wrong)
    assert fit_temperature(logits, np.array([0, 1, 1])) == pytest.approx(expected)


@pytest.mark.parametrize("count", [1, 4, 1000])
def test_all_right_does_not_run_to_certainty(count: int) -> None:
    """Where every label is right the network's own doubt stays, as that of one picture more."""
    logits = np.tile(np.array([[5, 0]], np.float32), (count, 1))
    temperature = fit_temperature(logits, np.zeros(count, np.int64))

    assert temperature > LOWEST
    doubt = 1 / (1 + math.exp(5)) / (count + 1)
    assert softmax(logits, temperature)[0, 1] == pytest.approx(doubt)


def test_all_wrong_gives_the_highest() -> None:
    """Where no label is right, every label becomes nearly as probable as the others."""
    logits = np.tile(np.array([[5, 0, 0]], np.float32), (20, 1))

    assert fit_temperature(logits, np.full(20, 2)) == pytest.approx(HIGHEST)


@pytest.mark.parametrize("scale", [1e-30, 1e-6, 1e6, 1e30])
def test_logits_of_any_size_are_fitted(scale: float) -> None:
    """The temperature stays in its range, and no number overflows, for logits of any size."""
    logits, labels = drawn(200, 3, 1.0)
    temperature = fit_temperature((logits * scale).astype(np.float32), labels)

    assert temperature == pytest.approx(LOWEST if scale < 1 else HIGHEST)


def test_equal_logits_are_left_alone() -> None:
    """Where nothing depends on the temperature it is 1."""
    assert fit_temperature(np.ones((4, 2), np.float32), np.array([0, 1, 1, 1])) == 1


def test_temperature_of_no_pictures_is_one() -> None:
    """Without pictures nothing is fitted."""
    empty = np.zeros((0, 2), np.float32), np.zeros(0, np.int64)

    assert fit_temperature(*empty) == 1
    assert calibrate(*empty) == Calibration(temperature=1)


def test_recorded_calibration_error() -> None:
    """A case worked out by hand, after equation 3 of Guo et al.

    Two answers of 0.95, one of them right, and three of 0.65, two of them right: 2/5 of a gap of
    0.45, and 3/5 of one of 1/60.
    """
    sure = np.array([0.95, 0.95, 0.65, 0.65, 0.65])
    shares = np.stack([sure, 1 - sure], 1)
    labels = np.array([0, 1, 0, 0, 1])

    assert reliability(shares, labels).error == pytest.approx(0.19)


def test_bins_are_closed_above() -> None:
    """A confidence on the border of two bins belongs to the lower one, and 1 to the last."""
    sure = np.array([3 / 5, 0.6001, 1.0])
    found = reliability(np.stack([sure, 1 - sure], 1), np.zeros(3, np.int64), bins=5)

    assert found.counts.tolist() == [0, 0, 1, 1, 1]
    assert found.confidence.tolist() == pytest.approx([0, 0, 0.6, 0.6001, 1])
    assert found.accuracy.tolist() == [0, 0, 1, 1, 1]


def test_calibrated_answers_have_a_small_error() -> None:
    """The error of many labels drawn at the probabilities themselves is next to nothing."""
    logits, labels = drawn(50_000, 4, 1.0)

    assert reliability(softmax(logits), labels).error < 0.01
    assert reliability(softmax(logits, 0.3), labels).error > 0.1


def test_temperature_mends_the_error() -> None:
    """Overconfident answers are less so after fitting, on other pictures too."""
    logits, labels = drawn(2000, 4, 3.0)
    found = calibrate(logits, labels)

    assert found.pictures == 2000
    assert found.temperature == pytest.approx(3, rel=0.1)
    assert found.ece_before is not None
    assert found.ece_before > 0.2
    assert found.ece_after is not None
    assert found.ece_after < 0.05
    assert found.ece_cross_validated is not None
    assert found.ece_cross_validated < 0.05


def test_chance_has_an_error_too() -> None:
    """Few answers that are right as often as they say have an error; ever more have ever less."""
    few, many = (error_by_chance(softmax(drawn(count, 3, 1.0)[0])) for count in (50, 5000))

    assert 0.05 < few < 0.2
    assert many < 0.02


def test_chance_is_what_calibrated_answers_have() -> None:
    """The error by chance is the mean error of labels drawn at the probabilities themselves."""
    errors = []
    for seed in range(200):
        logits, labels = drawn(100, 3, 1.0, seed)
        errors.append(reliability(softmax(logits), labels).error)
    expected = float(np.mean(errors))

    assert error_by_chance(softmax(drawn(100, 3, 1.0)[0])) == pytest.approx(expected, rel=0.15)


@pytest.mark.parametrize("count", [1, 3, 12])
def test_no_picture_helps_to_judge_itself(count: int) -> None:
    """A picture's cross-validated probabilities do not depend on its own label."""
    logits, labels = drawn(count, 3, 1.0)
    before = cross_validated(logits, labels)
    for index in range(count):
        changed = labels.copy()
        changed[index] = (labels[index] + 1) % 3

        assert np.array_equal(cross_validated(logits, changed)[index], before[index])


def test_cross_validation_is_repeatable() -> None:
    """The folds are the same every time, and every picture is in one."""
    logits, labels = drawn(23, 3, 2.0)
    first = cross_validated(logits, labels)

    assert np.array_equal(first, cross_validated(logits, labels))
    assert first.sum(1) == pytest.approx(np.ones(23))


def test_softmax_of_large_logits() -> None:
    """Probabilities stay finite and sum to 1 for logits of any size."""
    rows = softmax(np.array([[1000.0, 1000.0], [-1000.0, 0.0]], np.float32))

    assert np.array_equal([[0.5, 0.5], [0.0, 1.0]], rows)


@pytest.mark.parametrize("temperature", [0, -1, math.nan, math.inf, LOWEST / 2, HIGHEST * 2])
def test_impossible_temperatures_are_refused(temperature: float) -> None:
    """A calibration has a temperature in its range."""
    with pytest.raises(ValueError, match="temperature"):
        Calibration(temperature)


def test_description_has_all_three_errors() -> None:
    """A person reads the error before, after, and on pictures that were held out."""
    assert Calibration(0.8, 9, 0.1, 0.02, 0.03).describe() == (
        "temperature 0.800: expected calibration error 10.0% before, 2.0% after, "
        "3.0% cross-validated"
    )
