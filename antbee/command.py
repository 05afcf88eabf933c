"""The edge that every command shares: exceptions and signals become exit codes here alone.

Exit codes: 0 done, 1 failed with a one-line reason, 2 wrong usage (argparse), 130 interrupted.

A script imports this module before anything else and calls `end_on_signals` if it is the program.
So this module imports next to nothing: until that call Python's own handlers are in charge, and
they raise KeyboardInterrupt in the middle of an import.
"""

import os
import signal
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Final, NoReturn

from antbee.errors import AntBeeError, OutputError

if TYPE_CHECKING:
    from tqdm import tqdm

DONE: Final = 0
FAILED: Final = 1
INTERRUPTED: Final = 130

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


def end_on_signals() -> None:
    """Let SIGINT and SIGTERM end this process at once, in one line, until `run` takes them over.

    Before `run` there is nothing to tidy up, and so nothing needs to be raised.
    """
    for number in SIGNALS:
        signal.signal(number, leave)


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Within this context, do as `end_on_signals`: for imports that another program asked for.

    What that program has decided to do with a signal, it does still.
    """
    theirs = {number: signal.getsignal(number) for number in SIGNALS}
    mine = [one for one in SIGNALS if theirs[one] in (signal.SIG_DFL, signal.default_int_handler)]
    try:
        for number in mine:
            signal.signal(number, leave)
        yield
    finally:
        for number in mine:
            signal.signal(number, theirs[number])


def leave(*_: object) -> NoReturn:
    """End the process where it is; a signal's handler may do that anywhere, even in an import."""
    try:
        os.write(2, b"interrupted\n")  # print may be the very function that was interrupted
    finally:
        os._exit(INTERRUPTED)


class Signals:
    """SIGINT and SIGTERM while `run` works: one raises KeyboardInterrupt, a second ends it at once.

    Nothing is raised inside an import, at whatever depth. It would leave half of a library in
    `sys.modules`, and many a library catches all that its imports raise, to do without a part. Such
    a signal waits until the import is done; and where a destructor's end swallows the exception, it
    is raised again.

    Attributes:
        requested: whether a signal has come.
        over: whether the work has ended; what comes then is too late.
        report_lost: what Python does with an exception that nobody can get.
    """

    def __init__(self) -> None:
        self.requested = False
        self.over = False
        self.report_lost = sys.unraisablehook

    def handle(self, _number: int, frame: FrameType | None) -> None:
        """Take a signal."""
        if self.over:
            return
        if self.requested:
            leave()
        self.requested = True
        importer = None
        while frame is not None:
            if frame.f_code.co_filename.startswith("<frozen importlib"):
                importer = frame.f_back
            frame = frame.f_back
        if importer is None:
            raise KeyboardInterrupt
        self._raise_later(importer)

    def handle_lost(self, lost: "sys.UnraisableHookArgs") -> None:
        """Take an exception that nobody can get, as the one that a destructor raised."""
        if lost.exc_type is KeyboardInterrupt:
            self._raise_later(sys._getframe(1))  # noqa: SLF001 - the code that destroyed it
        else:
            self.report_lost(lost)

    def _raise_later(self, where: FrameType) -> None:
        """Raise where a function goes on after the call that it is in: Python traces its lines."""
        where.f_trace = self._raise
        sys.settrace(lambda *_: None)

    def _raise(self, *_: object) -> None:
        if not self.over:
            raise KeyboardInterrupt


def run(work: Callable[[], int], signals: Signals | None = None) -> int:
    """Run `work` and return the exit code; a user's mistake is one line on stderr.

    Whatever comes of the work after a signal, be it that a library swallowed KeyboardInterrupt or
    made another exception of it, it was interrupted.

    Args:
        work: returns an exit code; runs on the main thread, as signals do.
        signals: what SIGINT and SIGTERM do meanwhile.
    """
    if isinstance(sys.stdout, TextIOWrapper):  # what it cannot encode is spelt out
        sys.stdout.reconfigure(errors="backslashreplace")
    signals = signals or Signals()
    before = [signal.getsignal(number) for number in SIGNALS]
    tracer = sys.gettrace()
    code = INTERRUPTED
    try:
        try:
            sys.unraisablehook = signals.handle_lost
            for number in SIGNALS:
                signal.signal(number, signals.handle)
            code = work()
        finally:
            signals.over = True
    except KeyboardInterrupt:
        signals.requested = True
    except AntBeeError as error:
        code = FAILED
        if not signals.requested:
            say(f"error: {error}")
    except BaseException:
        if not signals.requested:
            raise
    finally:
        sys.settrace(tracer)
        for number, handler in zip(SIGNALS, before, strict=True):
            # A script that is done only has its interpreter to end: too late to be interrupted.
            signal.signal(number, signal.SIG_IGN if handler is leave else handler)
        sys.unraisablehook = signals.report_lost
    if signals.requested:
        say("interrupted")
        return INTERRUPTED
    return code


@contextmanager
def exit_on_error() -> Iterator[None]:
    """For code that another program runs, such as BentoML: a user's mistake ends that program.

    So does a file that cannot be read.
    """
    try:
        yield
    except (AntBeeError, OSError) as error:
        say(f"error: {error}")
        raise SystemExit(FAILED) from error


def say(line: str) -> None:
    """Print a line for the person at the terminal. Data goes to stdout, everything else here.

    Nothing in a name that is part of it can move the terminal's cursor.
    """
    # In one call, unlike print: a signal comes before a line or after it.
    sys.stderr.write("\n".join(map(printable, line.split("\n"))) + "\n")
    sys.stderr.flush()


def answer(line: object) -> None:
    """Print what the command was asked for on stdout, at once.

    Raises:
        OutputError: nobody reads it any more, or it goes to a disk that is full.
    """
    try:
        print(line, flush=True)
    except OSError as error:
        discard_stdout()
        raise OutputError(f"stdout cannot be written: {error.strerror}") from error


def discard_stdout() -> None:
    """Let go of what could not be written, at which the interpreter would fail as it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def printable(text: Path | str) -> str:
    """Spell a path or label so that nothing in it can move a terminal's cursor, or fails to print.

    A file's name need not be text: its odd bytes come as surrogates, and are spelt out.
    """
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in str(text)
    )


def positive(text: str) -> int:
    """Read an argument that is a whole number from 1 on.

    Raises:
        ArgumentTypeError: it is none, which argparse says.
    """
    if not (text.isascii() and text.isdecimal() and int(text)):
        from argparse import ArgumentTypeError  # noqa: PLC0415 - see the module's description

        raise ArgumentTypeError(f"{text} is not a whole number from 1 on")
    return int(text)


def table(head: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    """Align columns for a terminal: the first to the left, the others, which count, to the right.

    Raises:
        ValueError: a row is shorter or longer than the head.
    """
    lines = [[str(cell) for cell in row] for row in (head, *rows)]
    widths = [max(map(_columns, column)) for column in zip(*lines, strict=True)]
    padded = [
        [" " * (width - _columns(cell)) for cell, width in zip(row, widths, strict=True)]
        for row in lines
    ]
    return "\n".join(
        "  ".join([row[0] + room[0], *map(str.__add__, room[1:], row[1:])])
        for row, room in zip(lines, padded, strict=True)
    )


def _columns(text: str) -> int:
    """How wide a terminal shows a text: CJK takes two columns a letter, an accent of its own none.

    Unicode Standard Annex 11, "East Asian Width".
    """
    return sum(
        0 if unicodedata.combining(letter) else 1 + (unicodedata.east_asian_width(letter) in "WF")
        for letter in text
    )


def progress_bar(
    title: str, total: int, *, done: int = 0, hidden: bool = False
) -> "tqdm[NoReturn]":
    """Open tqdm's progress bar on stderr, which goes away at the end; nothing where no terminal is.

    Args:
        title: stands in front of it.
        total: how many pictures there are.
        done: how many were done before.
        hidden: whether it would be in the way of something.
    """
    from tqdm import tqdm  # noqa: PLC0415 - see the module's description

    return tqdm(
        desc=title,
        total=total,
        initial=done,
        unit=" pictures",
        leave=False,
        file=sys.stderr,
        dynamic_ncols=True,
        # None: unless stderr is a terminal. The variable is tqdm's own.
        disable=hidden or "TQDM_DISABLE" in os.environ or None,
    )
