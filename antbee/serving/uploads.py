"""How many bytes of request bodies are held at once: those that arrive and those that wait."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from antbee.errors import RequestError


class Uploads:
    """The bodies that a process holds; used on the event loop only.

    They are counted by what has arrived of them, not by what they announce: a client that sends
    next to nothing, however slowly, keeps nobody out.

    Args:
        limit: in bytes, for all of them together.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = 0

    @contextmanager
    def upload(self) -> Iterator[Callable[[int], None]]:
        """Count one body until its request ends, with the function that takes each piece's length.

        Raises:
            RequestError: `overloaded`, from that function.
        """
        mine = 0

        def hold(size: int) -> None:
            nonlocal mine
            if self._held + size > self._limit:
                raise RequestError("overloaded", "too many uploads at once: try again in a second")
            self._held += size
            mine += size

        try:
            yield hold
        finally:
            self._held -= mine
