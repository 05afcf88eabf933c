"""The tables and medians of the benchmark of serving."""

import pytest

from serving import print_table, spread


def test_spread_is_the_median_between_the_extremes() -> None:
    """Rounds are told by their median, the lowest and the highest."""
    assert spread([3.0, 1.0, 2.0]) == {"median": 2.0, "low": 1.0, "high": 3.0}


def test_what_was_not_measured_has_no_median() -> None:
    """A server that answered nothing has no latency."""
    assert spread([None, None]) == {}


def test_a_table_names_servers_and_leaves_out_what_is_not_there(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A dash stands for a number that was not measured; no table for nothing."""
    rows = {"flask": {"8": {"p50": 199.26}, "lost": 12}, "mine": {"lost": 0}}
    print_table("server", rows, {"p50 ms": "8.p50", "lost": "lost"})
    print_table("nothing", {}, {"ms": "ms"})

    printed = [line.split("  ") for line in capsys.readouterr().out.splitlines()]
    words = [[word.strip() for word in line if word.strip()] for line in printed]
    assert words == [
        ["server", "p50 ms", "lost"],
        ["Flask, gunicorn, torch", "199.3", "12"],
        ["mine", "-", "0"],
        [],
    ]
