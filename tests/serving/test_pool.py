"""The threads, and the requests and bodies that wait for them."""

import asyncio
import contextlib
import gc
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from antbee.errors import RequestError
from antbee.serving.pool import (
    LONGEST_REFUSAL,
    REFUSALS_PER_SECOND,
    Check,
    Pool,
    Throttle,
    Uploads,
)


def run(pool: Pool, work: Callable[[], Any]) -> Any:  # noqa: ANN401 - whatever the work returns
    """Run work with a ticket of its own."""

    async def admitted() -> Any:  # noqa: ANN401 - likewise
        with pool.ticket() as ticket:
            return await ticket.run(lambda _: work())

    return asyncio.run(admitted())


def test_work_runs_on_a_thread() -> None:
    """Work runs beside the event loop and its result comes back."""
    assert run(Pool(1, 0), lambda: threading.current_thread().name).startswith("picture")


def test_tickets_are_threads_and_queue() -> None:
    """As many requests are admitted as run and wait, and no more."""
    pool = Pool(2, 1)
    with contextlib.ExitStack() as held:
        for _ in range(3):
            held.enter_context(pool.ticket())

        with pytest.raises(RequestError) as caught, pool.ticket():
            pass

    assert caught.value.code == "overloaded"


@pytest.mark.parametrize(
    ("threads", "queue", "taken", "wanted", "expected"),
    [
        (4, 8, 0, 32, 4),  # no more than threads
        (4, 8, 0, 2, 2),  # no more than pictures
        (4, 2, 2, 32, 3),  # one is left for somebody else
        (4, 2, 5, 32, 1),  # one for sure
        (1, 0, 0, 32, 1),
    ],
)
def test_many_pictures_take_few_tickets(
    threads: int, queue: int, taken: int, wanted: int, expected: int
) -> None:
    """Many pictures get a ticket a thread at most, and beyond the first only what others leave."""
    pool = Pool(threads, queue)
    with contextlib.ExitStack() as held:
        for _ in range(taken):
            held.enter_context(pool.ticket())

        assert len(held.enter_context(pool.tickets(wanted))) == expected


def test_many_pictures_are_refused_where_there_is_no_ticket() -> None:
    """Without any ticket, many pictures are refused like one; afterwards all are free."""
    pool = Pool(1, 1)
    with pool.tickets(9), pool.ticket(), pytest.raises(RequestError) as caught, pool.tickets(9):
        pass

    assert caught.value.code == "overloaded"
    with pool.ticket(), pool.ticket():
        pass


def test_a_ticket_is_used_again_and_again() -> None:
    """Work after work runs with one ticket, also after work that failed."""
    pool, checked = Pool(1, 0), []

    def work(check: Check) -> None:
        check()
        checked.append(check)

    async def several() -> None:
        with pool.ticket() as ticket:
            with pytest.raises(ZeroDivisionError):
                await ticket.run(lambda _: 1 // 0)
            for _ in range(2):
                await ticket.run(work)

    asyncio.run(several())

    assert len(checked) == 2


def test_a_ticket_is_given_back() -> None:
    """A request that ends, well or badly, makes room for another."""
    pool = Pool(1, 0)
    for _ in range(3):
        with contextlib.suppress(ValueError), pool.ticket():
            raise ValueError


def test_work_given_up_never_starts() -> None:
    """Work that waits for a thread when its request is given up is not run later."""
    pool, ran, release = Pool(1, 8), [], threading.Event()

    async def give_up() -> None:
        with pool.ticket() as busy, pool.ticket() as late:
            running = asyncio.create_task(busy.run(lambda _: release.wait()))
            await asyncio.sleep(0.05)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await late.run(lambda _: ran.append("late"))
            release.set()
            await running

    asyncio.run(give_up())
    run(pool, lambda: None)

    assert ran == []


def test_running_work_ends_at_its_next_step() -> None:
    """Work that runs when its request is given up goes no further than its next check."""
    pool, went_on = Pool(1, 0), threading.Event()
    reached, release = threading.Event(), threading.Event()

    async def give_up() -> None:
        with contextlib.suppress(TimeoutError), pool.ticket() as ticket:
            async with asyncio.timeout(0.05):
                await ticket.run(steps)

    def steps(check: Check) -> None:
        reached.set()
        release.wait()
        check()
        went_on.set()

    asyncio.run(give_up())
    release.set()
    pool.close()

    assert reached.is_set()
    assert not went_on.is_set()


def test_a_ticket_is_taken_until_the_thread_is_free() -> None:
    """A thread that still works for a request given up is no room for another request."""
    pool, release = Pool(1, 0), threading.Event()

    async def give_up() -> None:
        with contextlib.suppress(TimeoutError), pool.ticket() as ticket:
            async with asyncio.timeout(0.05):
                await ticket.run(lambda _: release.wait())
        with pytest.raises(RequestError), pool.ticket():
            pass
        release.set()
        await asyncio.sleep(0.1)
        with pool.ticket():
            pass

    asyncio.run(give_up())


def test_waiting_is_told() -> None:
    """How long work waited for its thread is told once for each piece."""
    waits: list[float] = []
    run(Pool(1, 0, waits.append), lambda: None)

    assert len(waits) == 1
    assert 0 <= waits[0] < 60


def test_error_in_telling_is_the_works() -> None:
    """Where the waiting cannot be told, whoever waits learns it, and the ticket is free again."""

    def waited(_: float) -> None:
        raise ZeroDivisionError

    async def twice(pool: Pool) -> None:
        for _ in range(2):
            with pytest.raises(ZeroDivisionError), pool.ticket() as ticket:
                async with asyncio.timeout(2):
                    await ticket.run(lambda _: None)

    asyncio.run(twice(Pool(1, 0, waited)))


def test_work_that_stops_an_iteration_is_a_bug() -> None:
    """StopIteration, which no future takes, is told at once like any other bug of the work."""

    async def stop(pool: Pool) -> None:
        with pool.ticket() as ticket:
            async with asyncio.timeout(2):
                await ticket.run(lambda _: next(iter(())))

    with pytest.raises(RuntimeError, match="StopIteration"):
        asyncio.run(stop(Pool(1, 0)))


def test_refused_picture_is_let_go() -> None:
    """What work that failed had in its hands is freed at once, not when Python looks for cycles."""
    held: list[weakref.ref[set[int]]] = []

    async def fail(pool: Pool) -> None:
        picture = {1}
        held.append(weakref.ref(picture))
        with pytest.raises(ZeroDivisionError), pool.ticket() as ticket:
            await ticket.run(lambda _: len(picture) // 0)

    async def several() -> None:
        pool = Pool(1, 0)
        for _ in range(3):
            await fail(pool)
        await asyncio.sleep(0.05)  # the thread is done with the last

    gc.collect()
    gc.disable()
    try:
        asyncio.run(several())
        assert [one() for one in held] == [None] * 3
    finally:
        gc.enable()


def test_limit_is_for_all_together() -> None:
    """Bodies are taken up to the limit; the piece that would go beyond it is refused."""
    uploads = Uploads(100)
    with uploads.upload() as first, uploads.upload() as second:
        first(60)
        second(40)

        with pytest.raises(RequestError) as caught:
            second(1)

    assert caught.value.code == "overloaded"


def test_a_body_makes_room_when_its_request_ends() -> None:
    """What a request took is free again after it, however it ended."""
    uploads = Uploads(100)
    for size in (100, 101, 100):
        with contextlib.suppress(RequestError), uploads.upload() as reserve:
            reserve(size)

    with uploads.upload() as reserve:
        reserve(100)


def test_refusals_are_spaced_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first waits for nobody, each further one for those before it, and none for long."""
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    async def refuse() -> None:
        throttle, loop, now = Throttle(), asyncio.get_running_loop(), 1000.0
        monkeypatch.setattr(loop, "time", lambda: now)
        for _ in range(3 * REFUSALS_PER_SECOND):
            await throttle.wait()
        now += 2
        await throttle.wait()

    monkeypatch.setattr(asyncio, "sleep", sleep)
    asyncio.run(refuse())

    assert waits[:2] == pytest.approx([0, 1 / REFUSALS_PER_SECOND])
    assert waits[REFUSALS_PER_SECOND // 2] == pytest.approx(0.5)
    assert max(waits) == LONGEST_REFUSAL
    assert waits[-1] == 0
