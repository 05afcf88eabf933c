"""The edge that every command shares: exceptions become exit codes here, and nowhere else.

Exit codes: 0 done, 1 failed with a one-line reason, 2 wrong usage (argparse), 130 interrupted.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from antbee.errors import AntBeeError

DONE = 0
FAILED = 1
INTERRUPTED = 130


def run(work: Callable[[], int]) -> int:
    """Run `work` and return the exit code; a user's mistake is one line on stderr."""
    try:
        return work()
    except AntBeeError as error:
        say(f"error: {error}")
        return FAILED
    except KeyboardInterrupt:
        say("interrupted")
        return INTERRUPTED


@contextmanager
def exit_on_error() -> Iterator[None]:
    """For code that another program runs, such as BentoML: a user's mistake ends that program."""
    try:
        yield
    except AntBeeError as error:
        say(f"error: {error}")
        raise SystemExit(FAILED) from error


def say(line: str) -> None:
    """Print a line for the person at the terminal. Data goes to stdout, everything else here."""
    print(line, file=sys.stderr, flush=True)


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Align a table for a terminal: numbers to the right, everything else to the left."""
    right = [
        all(isinstance(one, int | float) for one in column) for column in zip(*rows, strict=True)
    ]
    cells = [list(map(str, row)) for row in (head, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if number else cell.ljust(width)
            for cell, width, number in zip(row, widths, right, strict=True)
        ).rstrip()
        for row in cells
    )
