"""Work done ahead by threads, handed out in order."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import TypeVar

from antbee.machine import cores

T = TypeVar("T")
R = TypeVar("R")


def open_pool() -> ThreadPoolExecutor:
    """One thread for each core that this process may use.

    Threads, not processes: decoding and resizing run outside the interpreter's lock.
    """
    return ThreadPoolExecutor(cores(), thread_name_prefix="pictures")


def work_ahead(
    pool: Executor, work: Callable[[T], R], items: Iterable[T], ahead: int
) -> Generator[R, None, None]:
    """Yield `work(item)` for each item, in order, with at most `ahead` results waiting.

    Closing the iterator early cancels what has not begun.
    """
    waiting: deque[Future[R]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
