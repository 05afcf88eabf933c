"""The threads that decode and infer, and how many requests may wait for them."""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

from antbee.errors import RequestError

Result = TypeVar("Result")


class Abandoned(Exception):  # noqa: N818 - nothing went wrong: nobody waits any more
    """The request that this work belongs to was given up."""


class Place:
    """A place in a `Pool`: runs one piece of work after another; can be given up at any time."""

    def __init__(self, threads: ThreadPoolExecutor) -> None:
        self._threads = threads
        self._given_up = False
        self.running: Future[Any] | None = None

    async def run(self, work: Callable[[], Result]) -> Result:
        """Run `work` on one of the threads; cancelling this gives the place up."""
        self.running = self._threads.submit(work)
        try:
            return await asyncio.wrap_future(self.running)
        except asyncio.CancelledError:
            self.give_up()
            raise

    def give_up(self) -> None:
        """Stop work that waits for a thread, and let running work end at its next `check`."""
        self._given_up = True
        if self.running is not None:
            self.running.cancel()

    def check(self) -> None:
        """Go on, if anybody still waits; work calls this between its steps.

        Raises:
            Abandoned: nobody does.
        """
        if self._given_up:
            raise Abandoned


class Pool:
    """A fixed number of threads and a bounded number of requests held for them.

    Args:
        threads: how many pieces of work run at once.
        queue: how many more requests may wait for them.
    """

    def __init__(self, threads: int, queue: int) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="picture")
        self._size = threads
        self._places = threads + queue
        self._held = 0

    @contextmanager
    def place(self) -> Iterator[Place]:
        """Hold one place for a request, or refuse it at once; used on the event loop only.

        Raises:
            RequestError: `overloaded`.
        """
        if self._held >= self._places:
            raise RequestError("overloaded", "too many requests at once: try again in a second")
        self._held += 1
        place = Place(self._threads)
        try:
            yield place
        finally:
            place.give_up()
            self._release_after(place.running)

    @contextmanager
    def places(self, most: int) -> Iterator[list[Place]]:
        """Hold places for a request with many pictures, or refuse it at once.

        One for sure, and beyond it at most one a thread, while that leaves room for somebody else.
        Whoever puts a picture at a time in each is fair: threads take work in the order in which it
        came, so a request that comes later waits for as many of these pictures as there are places,
        and not for all of them.

        Args:
            most: how many can be used; at least 1.

        Raises:
            RequestError: `overloaded`.
        """
        with ExitStack() as held:
            places = [held.enter_context(self.place())]
            while len(places) < min(most, self._size) and self._held + 1 < self._places:
                places.append(held.enter_context(self.place()))
            yield places

    def close(self) -> None:
        """Let running work end and drop what has not started."""
        self._threads.shutdown(cancel_futures=True)

    def _release_after(self, running: Future[Any] | None) -> None:
        if running is None or running.done():
            self._release()
            return
        # A thread that still works for a request given up is no room for another one.
        loop = asyncio.get_running_loop()
        running.add_done_callback(lambda _: loop.call_soon_threadsafe(self._release))

    def _release(self) -> None:
        self._held -= 1
