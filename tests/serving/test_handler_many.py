"""HTTP bodies of many pictures to what was sent."""

import base64
import json

import pytest

from antbee.errors import RequestError
from antbee.serving import handler
from antbee.serving.handler import Coded, Link
from tests.serving.bodies import LIMIT, code_of_many, form, read_many


def test_many_in_json(jpeg: bytes) -> None:
    """A list is read in order, each entry as alone, and a wrong one is an error in its place."""
    text = base64.b64encode(jpeg).decode()
    entries = [{"data": text}, {"url": "https://example.org"}, {"image": "x"}]
    coded, link, wrong = read_many(json.dumps({"images": entries}).encode())

    assert isinstance(coded, Coded)
    assert coded.data() == jpeg
    assert link == Link("https://example.org")
    assert isinstance(wrong, RequestError)
    assert wrong.code == "invalid_json"


def test_many_in_a_form(jpeg: bytes) -> None:
    """All files of a form are read in order, whatever their fields; an empty one is an error."""
    files = [
        ('name="a"; filename="1"', jpeg),
        ('name="text"', b"x"),
        ('name="a"; filename="2"', b""),
    ]
    first, empty, last = read_many(*form(*files, ('name="b"; filename="3"', b"third")))

    assert (first, last) == (jpeg, b"third")
    assert isinstance(empty, RequestError)
    assert empty.code == "empty_body"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", "empty_body"),
        (b"{", "invalid_json"),
        (b"[]", "invalid_json"),
        (b"\xff\xd8\xff\xe0", "invalid_json"),
        (b'{"data": "eA=="}', "invalid_json"),
        (b'{"images": {}}', "invalid_json"),
        (b'{"images": [], "more": 1}', "invalid_json"),
        (b'{"images": []}', "no_image"),
        (b'{"images": [1, 2, 3, 4]}', "too_many_images"),
        (b"x" * (LIMIT + 1), "body_too_large"),
    ],
)
def test_many_that_cannot_be_told_apart(body: bytes, expected: str) -> None:
    """What is wrong with the request as a whole is one error."""
    assert code_of_many(body) == expected


def test_too_many_are_counted_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a list that is too long nothing is made: a body may hold millions of wrong entries."""
    monkeypatch.setattr(handler, "_sent", lambda _: pytest.fail("an entry was looked at"))

    assert code_of_many(b'{"images": [' + b"{}," * 1000 + b"{}]}") == "too_many_images"


@pytest.mark.parametrize(
    ("files", "expected"), [(0, "no_image"), (4, "too_many_images"), (1001, "too_many_images")]
)
def test_form_with_a_wrong_number_of_files(files: int, expected: str) -> None:
    """A form without any file has no image; one with more than allowed has too many."""
    part = ('name="f"; filename="x"', b"x")

    assert code_of_many(*form(('name="text"', b"x"), *[part] * files)) == expected
