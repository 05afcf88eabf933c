"""What is sent to a server, and that it is the same each time."""

from hostile.files import originals
from hostile.requests import all_requests

FILES = originals()


def test_everything_is_the_same_each_time() -> None:
    """The same seed makes the same requests, another one others."""
    first, again, other = (
        [request for name in ("mutated", "cut") for request in all_requests(FILES, 30, seed)[name]]
        for seed in (0, 0, 1)
    )

    assert first == again
    assert first != other


def test_a_file_is_cut_at_every_percent() -> None:
    """The pieces go from nothing to 99 in a hundred."""
    sent = list(all_requests({name: [bytes(200)] for name in FILES}, 1, 0)["cut"])
    whole = [len(one.body) for one in sent if one.content_type == "image/jpeg"]

    assert len(sent) == 100
    assert whole == [percent * 2 for percent in range(100) if percent % 10 in (0, 7)]
