"""How the end of an interrupted command is judged."""

import signal

import pytest

from antbee.command import INTERRUPTED
from signals import GOOD, REPOSITORY, first_word, judge

USUAL = {first_word(line) for line in ("epoch 1/1  train loss 0.7", "report: x", "")}


@pytest.mark.parametrize(
    ("code", "lines", "said"),
    [
        (INTERRUPTED, ["interrupted"], "interrupted"),
        (INTERRUPTED, ["epoch 3/99  train loss 0.5  best", "", "interrupted"], "interrupted"),
        (INTERRUPTED, ["error: x", "interrupted"], "error: x; interrupted"),
        (
            INTERRUPTED,
            ["x.py:1: UserWarning: y", "interrupted"],
            "x.py:1: UserWarning: y; interrupted",
        ),
        (INTERRUPTED, ["Traceback", "KeyboardInterrupt"], "Traceback; KeyboardInterrupt"),
        (INTERRUPTED, ["interrupted", "interrupted"], "interrupted; interrupted"),
        (0, ["report: x"], ""),
        (-signal.SIGTERM, [], ""),
    ],
)
def test_only_usual_lines_may_stand_beside_one_word(code: int, lines: list[str], said: str) -> None:
    """Lines of progress are none of its business; a warning, an error and a traceback are."""
    found = judge("train", 2.0, code, lines, USUAL)

    assert found == said
    assert found not in GOOD


def test_what_had_not_begun_is_not_to_blame() -> None:
    """Unless a file of ours is in the traceback."""
    theirs = ["Traceback", '  File "/usr/lib/python3.11/site.py", line 1', "KeyboardInterrupt"]
    ours = ["Traceback", f'  File "{REPOSITORY}/train.py", line 1', "KeyboardInterrupt"]

    assert judge("train", 0.1, -signal.SIGTERM, [], USUAL) == "started"
    assert judge("train", 0.1, 1, theirs, USUAL) == "started"
    assert judge("serve", 2.0, 1, theirs, USUAL) == "started"
    assert judge("train", 2.0, 1, theirs, USUAL) not in GOOD
    assert judge("train", 0.1, 1, ours, USUAL) not in GOOD
    assert judge("serve", 2.0, 0, [], USUAL) == "stopped"
