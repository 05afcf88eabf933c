"""The bytes of request bodies that are held at once."""

import contextlib

import pytest

from antbee.errors import RequestError
from antbee.serving.uploads import Uploads


def test_limit_is_for_all_together() -> None:
    """Bodies are held up to the limit; the piece that would go beyond it is refused."""
    uploads = Uploads(100)
    with uploads.upload() as first, uploads.upload() as second:
        first(60)
        second(40)

        with pytest.raises(RequestError) as caught:
            second(1)

    assert caught.value.code == "overloaded"


def test_a_body_makes_room_when_its_request_ends() -> None:
    """What a request held is free again after it, however it ended."""
    uploads = Uploads(100)
    for size in (100, 101, 100):
        with contextlib.suppress(RequestError), uploads.upload() as hold:
            hold(size)

    with uploads.upload() as hold:
        hold(100)
