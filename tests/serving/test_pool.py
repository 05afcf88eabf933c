"""Threads and the requests held for them."""

import asyncio
import contextlib
import threading

import pytest

from antbee.errors import RequestError
from antbee.serving.pool import Pool


def test_work_runs_on_a_thread() -> None:
    """Work runs beside the event loop and its result comes back."""
    name = asyncio.run(Pool(1, 0).run(lambda: threading.current_thread().name))

    assert name.startswith("picture")


def test_places_are_threads_and_queue() -> None:
    """As many requests are held as there are threads and places in the queue, and no more."""
    pool = Pool(2, 1)
    with contextlib.ExitStack() as held:
        for _ in range(3):
            held.enter_context(pool.place())

        with pytest.raises(RequestError) as caught, pool.place():
            pass

    assert caught.value.code == "overloaded"


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
        busy = asyncio.create_task(pool.run(release.wait))
        await asyncio.sleep(0.05)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await pool.run(lambda: ran.append("late"))
        release.set()
        await busy
        await pool.run(lambda: None)

    asyncio.run(give_up())

    assert ran == []
