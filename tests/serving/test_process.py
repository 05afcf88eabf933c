"""What the parent of `bentoml serve`'s workers does with signals."""

import asyncio
import signal
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from bentoml._internal.utils.circus import Arbiter, create_standalone_arbiter
from circus.sighandler import SysHandler

from antbee.serving.process import hear_signals


@pytest.fixture(autouse=True)
def _hearing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hear signals, and no longer than in this test."""
    monkeypatch.setattr(SysHandler, "quit", SysHandler.quit)
    hear_signals()


@pytest.fixture
def arbiter() -> Iterator[Arbiter]:
    """Make what BentoML makes for its workers, without any."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    made = create_standalone_arbiter([])
    yield made
    asyncio.set_event_loop(None)
    loop.close()


@pytest.mark.filterwarnings("ignore:add_callback_from_signal:DeprecationWarning")  # circus' own
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_that_comes_while_circus_is_busy_is_acted_on(
    arbiter: Any,  # noqa: ANN401 - circus ships no types
    number: signal.Signals,
) -> None:
    """It stops once it is free; without us it would go on for ever."""
    refused: list[Any] = []
    send_error = arbiter.ctrl.send_error

    def free(*args: Any, **named: Any) -> None:  # noqa: ANN401 - likewise
        refused.append(args[3])
        arbiter._exclusive_running_command = None
        send_error(*args, **named)

    def signalled_while_busy(_: object) -> None:
        arbiter._exclusive_running_command = "manage_watchers"
        signal.raise_signal(number)
        arbiter.loop.call_later(5, arbiter.loop.stop)  # not for ever, here

    arbiter.ctrl.send_error = free
    arbiter.start(signalled_while_busy)

    assert refused == ["arbiter is already running manage_watchers command"]
    assert arbiter._stopping


def test_second_server_of_a_program_changes_nothing_more() -> None:
    """Whoever hears signals does so once."""
    heard = SysHandler.quit
    hear_signals()

    assert heard is SysHandler.quit


def test_circus_that_cannot_be_asked_whether_it_stops_is_asked_once() -> None:
    """What it makes of a signal is left to it."""
    added: list[Any] = []
    loop = SimpleNamespace(add_callback=added.append, add_callback_from_signal=lambda *_: None)
    handler = SimpleNamespace(controller=SimpleNamespace(loop=loop, arbiter=None, dispatch=None))
    SysHandler.quit(handler)
    (look,) = added
    look()  # a loop like this one knows no `call_later`
