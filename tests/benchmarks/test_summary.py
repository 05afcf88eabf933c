"""What the rounds of the benchmark of serving come to."""

from typing import Any

import pytest

from summary import hardest, print_table, spread, summarise


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
    rows = {"stock": {"8": {"p50": 199.26}, "lost": 12}, "mine": {"lost": 0}}
    print_table("server", rows, {"p50 ms": "8.p50", "lost": "lost"})
    print_table("nothing", {}, {"ms": "ms"})

    printed = [line.split("  ") for line in capsys.readouterr().out.splitlines()]
    words = [[word.strip() for word in line if word.strip()] for line in printed]
    assert words == [
        ["server", "p50 ms", "lost"],
        ["BentoML, torch, no settings", "199.3", "12"],
        ["mine", "-", "0"],
        [],
    ]


def test_ours_is_compared_within_a_round() -> None:
    """A round on a machine that is twice as busy says the same of both."""
    rounds = {
        "gunicorn": [measured(100, 10), measured(50, 10)],
        "fastapi-raw": [measured(80, 8), measured(40, 8)],
        "bound": [measured(200, 5), measured(100, 5)],
    }
    del rounds["bound"][0]["labels"]
    found = summarise(rounds, {})

    peer, bound = found["ratios"].values()
    assert peer == {"pictures/s": 1.25, "CPU ms": 1.25, "p50 ms more, alone": 2}
    assert bound == {"pictures/s": 0.5, "CPU ms": 2, "p50 ms more, alone": 5}
    assert found["servers"]["gunicorn"]["8"]["pictures_per_second"]["median"] == 75
    assert found["servers"]["gunicorn"]["8"]["p99_over_p50"]["median"] == 2


def test_other_labels_are_counted() -> None:
    """Servers that take a picture for something else are not to be compared."""
    rounds = {"stock": [measured(10, 50)], "gunicorn": [measured(100, 10)]}
    rounds["gunicorn"][0]["labels"] = ["ant", "ant"]

    servers = summarise(rounds, {})["servers"]
    assert [servers[key]["labels_differing"] for key in rounds] == [0, 1]


def test_the_hardest_peer_is_none_of_ours() -> None:
    """It is the one with the most pictures a second in most rounds, if any was asked."""
    rounds = {
        "gunicorn": [measured(200, 10)] * 3,
        "flask": [measured(100, 9)] * 3,
        "openvino": [measured(50, 9), measured(120, 9), measured(120, 9)],
    }
    assert hardest(rounds) == "openvino"
    assert hardest({"gunicorn": rounds["gunicorn"]}) is None


def measured(speed: float, milliseconds: float) -> dict[str, Any]:
    """Return a round in which answers took so much processor time, and as long alone."""
    load = {
        "pictures_per_second": speed,
        "latency_ms": {"200": {"p50": milliseconds, "p95": 2, "p99": 2 * milliseconds}},
        "cpu_ms": {"server": milliseconds, "load": 1},
    }
    return {"1": load, "8": load, "labels": ["ant", "bee"]}
