"""Ctrl-C and SIGTERM: KeyboardInterrupt at once, or a stop at the next batch while training."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

from antbee.command import INTERRUPTED

_STDERR: Final = 2
_NOTICE: Final = b"\nstopping after this batch; Ctrl-C again stops at once\n"


class Stop:
    """Whether a stop was asked for, and what to do about it.

    Args:
        insist: whether a second signal ends the process at once; torchrun sends one by itself.
    """

    def __init__(self, *, insist: bool = True) -> None:
        self.requested = False
        self._insist = insist
        self._deferred = False

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Within this context the first signal waits for `check`, and a second may not wait."""
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = False

    def check(self) -> None:
        """Raise KeyboardInterrupt if a stop was asked for, even where a library caught it."""
        if self.requested:
            raise KeyboardInterrupt

    def handle(self, _number: int, _frame: FrameType | None) -> None:
        """Take a signal."""
        again, self.requested = self.requested, True
        if not self._deferred:
            raise KeyboardInterrupt
        if again and not self._insist:
            return
        if again:
            # Nothing to tidy up: files are renamed into place, and the rest is memory.
            os._exit(INTERRUPTED)
        os.write(_STDERR, _NOTICE)  # print may be the very function that was interrupted


@contextmanager
def catch_signals() -> Iterator[Stop]:
    """Within this context SIGINT and SIGTERM go to the `Stop` that it yields."""
    stop = Stop(insist="TORCHELASTIC_RUN_ID" not in os.environ)
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, stop.handle) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
