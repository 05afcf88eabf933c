"""The edge that every command shares: exceptions become exit codes here, and nowhere else.

Exit codes: 0 done, 1 failed with a one-line reason, 2 wrong usage (argparse), 130 interrupted.
"""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
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


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Align columns under a head: the first to the left, the numbers after it to the right."""
    lines = [head, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        f"{line[0]:{widths[0]}}  "
        + "  ".join(f"{cell:>{width}}" for cell, width in zip(line[1:], widths[1:], strict=True))
        for line in lines
    )
