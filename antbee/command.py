"""The edge that every command shares: exceptions become exit codes here, and nowhere else.

Exit codes: 0 done, 1 failed with a one-line reason, 2 wrong usage (argparse), 130 interrupted.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from tqdm import tqdm

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
    """Align cells for a terminal: text to the left, numbers to the right."""
    lines = [[str(cell) for cell in row] for row in (head, *rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    right = [all(row[index][:1].isdigit() for row in lines[1:]) for index in range(len(head))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if number else cell.ljust(width)
            for cell, width, number in zip(line, widths, right, strict=True)
        )
        for line in lines
    )


class Bar(tqdm):  # type: ignore[misc]  # tqdm ships no types
    """Counts on stderr, and goes away when it is closed; silent where stderr is no terminal."""

    def __init__(self, title: str, total: int, *, done: int = 0, unit: str = "pictures") -> None:
        super().__init__(
            desc=title,
            total=total,
            initial=done,
            unit=f" {unit}",
            leave=False,
            file=sys.stderr,
            dynamic_ncols=True,
            disable=None,  # decides by whether stderr is a terminal
        )
