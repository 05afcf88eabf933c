"""Ctrl-C and SIGTERM while training."""

import os
import signal

import pytest

from antbee.command import run
from antbee.training import terminal
from antbee.training.terminal import Stop


def interrupt(number: signal.Signals = signal.SIGINT) -> None:
    """Send this process a signal."""
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_waits_for_the_end_of_the_batch(
    capfd: pytest.CaptureFixture[str], number: signal.Signals
) -> None:
    """While training, a signal is only noted, and said; the next check ends the work."""
    stop = Stop()
    reached = []

    def train() -> int:
        with stop.deferred():
            stop.check()
            interrupt(number)
            reached.append("the end of the batch")
            stop.check()
        return 0

    assert run(train, stop) == 130
    assert reached == ["the end of the batch"]
    notice = "\nstopping after this batch; Ctrl-C again stops at once\n"
    assert capfd.readouterr().err == f"{notice}interrupted\n"


@pytest.mark.parametrize(("torchrun", "times"), [(False, 1), (True, 0)])
def test_a_second_signal_ends_at_once(
    monkeypatch: pytest.MonkeyPatch, torchrun: bool, times: int
) -> None:
    """Who insists does not wait; torchrun sends a second signal by itself, and means nothing."""
    left: list[int] = []
    monkeypatch.setattr(terminal, "leave", lambda: left.append(1))
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    if torchrun:
        monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    stop = Stop()

    def train() -> int:
        with stop.deferred():
            interrupt()
            interrupt(signal.SIGTERM)
        return 0

    assert run(train, stop) == 130
    assert len(left) == times


def test_outside_of_training_a_signal_is_not_deferred() -> None:
    """What comes before the first batch ends at once."""
    stop = Stop()

    def prepare() -> int:
        interrupt()
        return 0

    assert run(prepare, stop) == 130


def test_a_stop_is_remembered_where_a_library_swallowed_it() -> None:
    """`check` raises again."""
    stop = Stop()

    def train() -> int:
        try:
            interrupt()
        except KeyboardInterrupt:
            with pytest.raises(KeyboardInterrupt):
                stop.check()
        return 0

    assert run(train, stop) == 130
