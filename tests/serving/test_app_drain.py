"""Answers that come before the end of an upload."""

import asyncio
import contextlib
from collections.abc import Iterable

import pytest
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from antbee.serving.app import Drain


def part(size: int, *, more: bool) -> Message:
    """Make a part of an upload."""
    return {"type": "http.request", "body": bytes(size), "more_body": more}


UPLOAD = [part(40, more=True), part(40, more=True), part(20, more=False)]


async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer without reading."""
    await PlainTextResponse("no")(scope, receive, send)


async def read_first(scope: Scope, receive: Receive, send: Send) -> None:
    """Read all, then answer."""
    while (await receive()).get("more_body"):
        pass
    await PlainTextResponse("yes")(scope, receive, send)


def exchange(
    app: ASGIApp, upload: Iterable[Message], headers: list[tuple[bytes, bytes]] | None = None
) -> list[str]:
    """Serve one upload; return what happened, in order."""
    events: list[str] = []
    parts = iter(upload)

    async def receive() -> Message:
        message = next(parts, None)
        if message is None:
            await asyncio.sleep(60)
            raise AssertionError
        events.append(f"read {len(message.get('body', b''))}")
        return message

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            events.append(f"{'part' if message.get('more_body') else 'end'} {message['body']!r}")

    scope = {"type": "http", "method": "POST", "headers": headers or []}
    asyncio.run(Drain(app, 100)(scope, receive, send))
    return events


def test_refusal_is_sent_at_once_and_the_upload_read() -> None:
    """The client has its answer before the rest is read, and the exchange ends after it."""
    expected = ["part b'no'", "read 40", "read 40", "read 20", "end b''"]

    assert expected == exchange(refuse, UPLOAD)


def test_answer_after_the_upload_passes_through() -> None:
    """Where everything was read, nothing changes."""
    assert exchange(read_first, UPLOAD) == ["read 40", "read 40", "read 20", "end b'yes'"]


def test_endless_upload_is_cut_off() -> None:
    """No more is thrown away than the limit."""
    events = exchange(refuse, [part(60, more=True)] * 9)

    assert events == ["part b'no'", "read 60", "read 60", "end b''"]


def test_client_that_left_is_not_waited_for() -> None:
    """A disconnect ends the exchange."""
    assert exchange(refuse, [{"type": "http.disconnect"}])[-1] == "end b''"


def test_client_that_stops_sending_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """An upload that stands still ends the exchange after a while."""
    monkeypatch.setattr("antbee.serving.app.DRAIN_SECONDS", 0.05)

    assert exchange(refuse, [part(10, more=True)]) == ["part b'no'", "read 10", "end b''"]


def test_client_that_asks_first_is_not_read_from() -> None:
    """A client that expects to be told to go on sends nothing after a refusal."""
    assert exchange(refuse, [], [(b"expect", b"100-continue")]) == ["end b'no'"]


def test_client_that_was_told_to_go_on_is_read_to_its_end() -> None:
    """Whoever asked first, and is refused in the middle of the upload, is like any other then."""

    async def refuse_late(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await refuse(scope, receive, send)

    events = exchange(refuse_late, UPLOAD, [(b"expect", b"100-continue")])

    assert events == ["read 40", "part b'no'", "read 40", "read 20", "end b''"]


def test_time_out_that_a_part_hides_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server may take the cancellation for itself where a part comes at the same moment."""
    monkeypatch.setattr("antbee.serving.app.DRAIN_SECONDS", 0.05)
    parts = 0

    async def receive() -> Message:
        nonlocal parts
        parts += 1
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(0.2)
        return part(1, more=parts < 5)

    async def send(message: Message) -> None:
        """Take the answer."""

    scope = {"type": "http", "method": "POST", "headers": []}
    asyncio.run(Drain(refuse, 100)(scope, receive, send))

    assert parts == 1
