"""Keeping what fits."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from antbee.training.shelf import Shelf


def test_what_fits_is_made_once() -> None:
    """What was made once comes back as the same thing."""
    shelf: Shelf[bytes] = Shelf(10)
    first = shelf.get("a", lambda: bytes(6), len)

    again = shelf.get("a", lambda: pytest.fail("made twice"), len)

    assert again is first
    assert "a" in shelf


def test_what_does_not_fit_is_not_kept() -> None:
    """A full shelf keeps what it has, hands on what is too large, and takes what still fits."""
    shelf: Shelf[bytes] = Shelf(10)

    for key, size in (("a", 6), ("b", 5), ("c", 4), ("d", 1)):
        assert len(shelf.get(key, partial(bytes, size), len)) == size

    assert [key in shelf for key in "abcd"] == [True, False, True, False]


def test_threads_do_not_fill_it_twice() -> None:
    """The same thing made by several threads at once takes its room once."""
    shelf: Shelf[bytes] = Shelf(10)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: shelf.get("a", lambda: bytes(5), len), range(100)))

    shelf.get("b", lambda: bytes(5), len)

    assert "b" in shelf
