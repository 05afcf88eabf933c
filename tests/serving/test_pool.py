"""Threads and the requests held for them."""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from antbee.errors import RequestError
from antbee.serving.pool import Place, Pool


def run(pool: Pool, work: Callable[[], Any]) -> Any:  # noqa: ANN401 - whatever the work returns
    """Run work in a place of its own."""

    async def hold() -> Any:  # noqa: ANN401 - likewise
        with pool.place() as place:
            return await place.run(work)

    return asyncio.run(hold())


def test_work_runs_on_a_thread() -> None:
    """Work runs beside the event loop and its result comes back."""
    assert run(Pool(1, 0), lambda: threading.current_thread().name).startswith("picture")


def test_places_are_threads_and_queue() -> None:
    """As many requests are held as there are threads and places in the queue, and no more."""
    pool = Pool(2, 1)
    with contextlib.ExitStack() as held:
        for _ in range(3):
            held.enter_context(pool.place())

        with pytest.raises(RequestError) as caught, pool.place():
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
def test_many_pictures_take_few_places(
    threads: int, queue: int, taken: int, wanted: int, expected: int
) -> None:
    """Many pictures get a place a thread at most, and beyond the first only what others leave."""
    pool = Pool(threads, queue)
    with contextlib.ExitStack() as held:
        for _ in range(taken):
            held.enter_context(pool.place())

        assert len(held.enter_context(pool.places(wanted))) == expected


def test_many_pictures_are_refused_where_there_is_no_place() -> None:
    """Without any place, many pictures are refused like one; afterwards all places are free."""
    pool = Pool(1, 1)
    with pool.places(9), pool.place(), pytest.raises(RequestError) as caught, pool.places(9):
        pass

    assert caught.value.code == "overloaded"
    with pool.place(), pool.place():
        pass


def test_a_place_is_used_again_and_again() -> None:
    """Work after work runs in one place, also after work that failed."""
    pool, checked = Pool(1, 0), []

    def work(place: Place) -> None:
        place.check()
        checked.append(place)

    async def several() -> None:
        with pool.place() as place:
            with pytest.raises(ZeroDivisionError):
                await place.run(lambda: 1 // 0)
            for _ in range(2):
                await place.run(partial(work, place))

    asyncio.run(several())

    assert len(checked) == 2


def test_a_place_is_given_back() -> None:
    """A request that ends, well or badly, makes room for another."""
    pool = Pool(1, 0)
    for _ in range(3):
        with contextlib.suppress(ValueError), pool.place():
            raise ValueError


def test_work_given_up_never_starts() -> None:
    """Work that waits for a thread when its request is given up is not run later."""
    pool, ran, release = Pool(1, 8), [], threading.Event()

    async def give_up() -> None:
        with pool.place() as busy, pool.place() as late:
            running = asyncio.create_task(busy.run(release.wait))
            await asyncio.sleep(0.05)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await late.run(lambda: ran.append("late"))
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
        with contextlib.suppress(TimeoutError), pool.place() as place:
            async with asyncio.timeout(0.05):
                await place.run(lambda: steps(place))

    def steps(place: Place) -> None:
        reached.set()
        release.wait()
        place.check()
        went_on.set()

    asyncio.run(give_up())
    release.set()
    pool.close()

    assert reached.is_set()
    assert not went_on.is_set()


def test_a_place_is_held_until_the_thread_is_free() -> None:
    """A thread that still works for a request given up is no room for another request."""
    pool, release = Pool(1, 0), threading.Event()

    async def give_up() -> None:
        with contextlib.suppress(TimeoutError), pool.place() as place:
            async with asyncio.timeout(0.05):
                await place.run(release.wait)
        with pytest.raises(RequestError), pool.place():
            pass
        release.set()
        await asyncio.sleep(0.1)
        with pool.place():
            pass

    asyncio.run(give_up())
