"""The tables and medians of the benchmark of serving."""

from report import spread, table


def test_spread_is_the_median_between_the_extremes() -> None:
    """Rounds are told by their median, the lowest and the highest."""
    assert spread([3.0, 1.0, 2.0]) == {"median": 2.0, "low": 1.0, "high": 3.0}


def test_what_was_not_measured_has_no_median() -> None:
    """A server that answered nothing has no latency."""
    assert spread([None, None]) == {}


def test_a_table_is_aligned() -> None:
    """Names stand to the left, numbers to the right."""
    assert table([["server", "speed"], ["a", "1.0"]]) == "server  speed\na         1.0"
