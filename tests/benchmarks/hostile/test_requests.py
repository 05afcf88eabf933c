"""What those who wish a server ill send: broken pictures, and files of every other kind."""

import random

from antbee.images import decode_image
from hostile.files import other_formats, polyglots
from hostile.pictures import cut, find_pictures, mutated, originals
from hostile.requests import all_requests

FILES = originals(find_pictures(None))


def test_what_is_broken_was_whole() -> None:
    """Every file that is mutated or cut is a picture that is read."""
    assert all(decode_image(data) for several in FILES.values() for data in several)


def test_everything_is_the_same_each_time() -> None:
    """The same seed makes the same requests, another one others."""
    names = ("mutated", "cut", "bodies")
    first, again, other = (
        [request for name in names for request in all_requests(FILES, 30, seed)[name]]
        for seed in (0, 0, 1)
    )

    assert first == again
    assert first != other


def test_a_mutation_changes_the_file() -> None:
    """Hardly any mutated file is what it was."""
    files = FILES["PNG"]
    generator = random.Random(0)  # noqa: S311 - no secret
    changed = [mutated(generator, files) not in files for _ in range(100)]

    assert sum(changed) > 90


def test_a_file_is_cut_at_every_percent() -> None:
    """The pieces go from nothing to 99 in a hundred."""
    pieces = list(cut([bytes(200)]))

    assert [len(piece) for piece in pieces] == list(range(0, 200, 2))


def test_there_are_many_of_each_kind() -> None:
    """Formats that are not allowed, and files that are two things, come by name."""
    whole = {name: several[0] for name, several in FILES.items()}

    assert {"TIFF", "SVG", "PSD", "PDF", "EPS", "HEIC", "ICO"} <= dict(other_formats()).keys()
    assert {"JPEG and ZIP", "GIF and JavaScript", "PNG and HTML"} <= dict(polyglots(whole)).keys()
