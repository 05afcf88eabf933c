"""The threads that decode and infer, and how much may wait for them: requests and their bodies."""

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from antbee.errors import RequestError

Result = TypeVar("Result")
REFUSALS_PER_SECOND: Final = 100
"""How many refusals a process answers in a second; each takes a twentieth of a picture's time."""
LONGEST_REFUSAL: Final = 1.0
"""Seconds that a refusal waits at most: as long as the client is then asked to wait."""

Check = Callable[[], None]
"""Work calls it between its steps; what it raises ends the work."""


class Abandoned(Exception):  # noqa: N818 - nothing went wrong: nobody waits any more
    """The request that this work belongs to was given up."""


@dataclass
class Ticket:
    """Admits a request to a `Pool`: runs one piece of work after another, until it is given up.

    Args:
        threads: run the work.
        waited: told, on the thread, how many seconds a piece of work waited for it.

    Attributes:
        left: called once work that went on after the ticket was given up has ended.
    """

    threads: ThreadPoolExecutor
    waited: Callable[[float], None]
    given_up: bool = False
    running: Future[None] | None = None
    result: asyncio.Future[Any] | None = None
    left: Callable[[], None] = lambda: None

    async def run(self, work: Callable[[Check], Result]) -> Result:
        """Run `work` on one of the threads; cancelling this gives the ticket up."""
        loop = asyncio.get_running_loop()
        self.result = result = loop.create_future()
        # A trace goes on in the thread.
        begin = copy_context().run
        self.running = self.threads.submit(begin, self._begin, work, loop, time.perf_counter())
        try:
            return await result  # type: ignore[no-any-return]  # that of `work`
        except asyncio.CancelledError:
            self.give_up()
            raise
        finally:
            # What is raised has this frame, and what called it the picture's bytes: an error that
            # refers to itself keeps them until Python looks for such, and that may be late.
            self.result = None
            del result

    def _begin(
        self, work: Callable[[Check], object], loop: asyncio.AbstractEventLoop, submitted: float
    ) -> None:
        """Do the work on a thread, and hand over what comes of it at the loop's next turn.

        asyncio's own way from a thread's future to a loop's takes three times as long.
        """
        value: object = None
        raised: BaseException | None = None
        try:
            self.waited(time.perf_counter() - submitted)
            value = work(self.check)
        except StopIteration as error:  # which no future takes, and no coroutine raises
            raised = RuntimeError("work ended with StopIteration")
            raised.__cause__ = error
        except BaseException as error:  # noqa: BLE001 - raised where the result is waited for
            raised = error
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(self._end, value, raised)
        del raised  # which has this frame

    def _end(self, value: object, raised: BaseException | None) -> None:
        """Be done with a piece of work, on the loop."""
        self.running = None
        if self.given_up:
            self.left()
        if self.result is None or self.result.done():  # nobody waits for it any more
            return
        if raised is None:
            self.result.set_result(value)
        else:
            self.result.set_exception(raised)

    def give_up(self) -> None:
        """Stop work that waits for a thread, and let running work end at its next `check`."""
        self.given_up = True
        if self.running is not None and self.running.cancel():
            self.running = None
            if self.result is not None:
                self.result.cancel()

    def check(self) -> None:
        """Go on, if anybody still waits.

        Raises:
            Abandoned: nobody does.
        """
        if self.given_up:
            raise Abandoned


class Pool:
    """A fixed number of threads and a bounded number of requests that are admitted to them.

    Args:
        threads: how many pieces of work run at once.
        queue: how many more requests may wait for them.
        waited: told, on the thread, how many seconds each piece of work waited.
    """

    def __init__(
        self, threads: int, queue: int, waited: Callable[[float], None] = lambda _: None
    ) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="picture")
        self._size = threads
        self._capacity = threads + queue
        self._waited = waited
        self._admitted = 0

    @contextmanager
    def ticket(self) -> Iterator[Ticket]:
        """Admit a request, or refuse it at once; used on the event loop only.

        Raises:
            RequestError: `overloaded`.
        """
        if self._admitted >= self._capacity:
            raise RequestError("overloaded", "too many requests at once: try again in a second")
        self._admitted += 1
        ticket = Ticket(self._threads, self._waited)
        try:
            yield ticket
        finally:
            ticket.give_up()
            if ticket.running is None:
                self._release()
            else:
                # A thread that still works for a request given up is no room for another one.
                ticket.left = self._release

    @contextmanager
    def tickets(self, most: int) -> Iterator[list[Ticket]]:
        """Admit a request with many pictures, or refuse it at once.

        It gets one ticket for sure, and beyond it at most one a thread, while that leaves room for
        somebody else. Whoever runs a picture at a time with each is fair: threads take work in the
        order in which it came, so a request that comes later waits for as many of these pictures as
        there are tickets, and not for all of them.

        Args:
            most: how many can be used; at least 1.

        Raises:
            RequestError: `overloaded`.
        """
        with ExitStack() as admitted:
            tickets = [admitted.enter_context(self.ticket())]
            while len(tickets) < min(most, self._size) and self._admitted + 1 < self._capacity:
                tickets.append(admitted.enter_context(self.ticket()))
            yield tickets

    def close(self) -> None:
        """Let running work end and drop what has not started."""
        self._threads.shutdown(cancel_futures=True)

    def _release(self) -> None:
        self._admitted -= 1


class Uploads:
    """The bodies that a process has in memory; used on the event loop only.

    They are counted by what has arrived of them, not by what they announce: a client that sends
    next to nothing, however slowly, keeps nobody out.

    Args:
        limit: in bytes, for all of them together.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._reserved = 0

    @contextmanager
    def upload(self) -> Iterator[Callable[[int], None]]:
        """Count one body until its request ends, with the function that takes each piece's length.

        Raises:
            RequestError: `overloaded`, from that function.
        """
        mine = 0

        def reserve(size: int) -> None:
            nonlocal mine
            if self._reserved + size > self._limit:
                raise RequestError("overloaded", "too many uploads at once: try again in a second")
            self._reserved += size
            mine += size

        try:
            yield reserve
        finally:
            self._reserved -= mine


class Throttle:
    """Spaces refusals out; used on the event loop only.

    A client that asks again as soon as it is refused would otherwise be refused thousands of times
    a second, and the event loop never have time for answers, nor the threads for the interpreter.
    Where few are refused, none waits.
    """

    def __init__(self) -> None:
        self._next = 0.0

    async def wait(self) -> None:
        """Return when the next refusal may go out, `LONGEST_REFUSAL` from now at the latest."""
        now = asyncio.get_running_loop().time()
        mine = min(max(now, self._next), now + LONGEST_REFUSAL)
        self._next = mine + 1 / REFUSALS_PER_SECOND
        await asyncio.sleep(mine - now)
