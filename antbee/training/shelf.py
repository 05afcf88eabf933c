"""What is worth keeping in memory: as much as fits, and no more."""

from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, TypeVar

T = TypeVar("T")


class Shelf(Generic[T]):
    """Keeps what was made until it is full; what did not fit is made anew each time.

    Nothing is ever taken out: training asks for everything once an epoch, and whatever makes room
    would be asked for before what took its place.

    Args:
        room: in bytes.
    """

    def __init__(self, room: int) -> None:
        self._room = room
        self._kept: dict[Hashable, T] = {}
        self._lock = Lock()

    def __contains__(self, key: Hashable) -> bool:
        return key in self._kept

    def get(self, key: Hashable, make: Callable[[], T], size: Callable[[T], int]) -> T:
        """Return what is kept under the key, or make it; `size` tells how many bytes it takes."""
        if key in self._kept:
            return self._kept[key]
        made = make()
        with self._lock:
            if key not in self._kept and size(made) <= self._room:
                self._room -= size(made)
                self._kept[key] = made
        return made
