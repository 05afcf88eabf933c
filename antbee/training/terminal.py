"""Ctrl-C and SIGTERM while training: a stop after the batch, so that the run can go on later."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

from antbee.command import Signals, leave

_NOTICE: Final = b"\nstopping after this batch; Ctrl-C again stops at once\n"


class Stop(Signals):
    """Whether a stop was asked for, and what to do about it."""

    def __init__(self) -> None:
        super().__init__()
        self._deferred = False
        self._insist = "TORCHELASTIC_RUN_ID" not in os.environ

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Within this context the first signal waits for `check`, and a second ends the process."""
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = False

    def check(self) -> None:
        """Raise KeyboardInterrupt if a stop was asked for, even where a library caught it."""
        if self.requested:
            raise KeyboardInterrupt

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Take a signal."""
        if not self._deferred:
            super().handle(number, frame)
        elif not self.requested:
            self.requested = True
            os.write(2, _NOTICE)  # print may be the very function that was interrupted
        elif self._insist:  # torchrun sends a second one by itself
            # Nothing to tidy up: files are renamed into place, and the rest is memory.
            leave()
