"""The threads that decode and infer, and how many requests may wait for them."""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from antbee.errors import RequestError

Result = TypeVar("Result")


class Pool:
    """A fixed number of threads and a bounded number of requests held for them.

    Args:
        threads: how many pieces of work run at once.
        queue: how many more requests may be held, whether uploading or waiting.
    """

    def __init__(self, threads: int, queue: int) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="picture")
        self._places = threads + queue
        self._held = 0

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold one place for a request, or refuse it at once; used on the event loop only.

        Raises:
            RequestError: `overloaded`.
        """
        if self._held >= self._places:
            raise RequestError("overloaded", "too many requests at once: try again in a second")
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1

    async def run(self, work: Callable[[], Result]) -> Result:
        """Run `work` on one of the threads; work that nobody waits for any more never starts."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def close(self) -> None:
        """Let running work end and drop what has not started."""
        self._threads.shutdown(cancel_futures=True)
