"""HTTP bodies to picture bytes."""

import base64
import json

import pytest

from antbee.errors import RequestError
from antbee.serving import body as bodies
from antbee.serving.body import Base64Picture, LinkedPicture, read_picture
from tests.serving.bodies import LIMIT, code, code_of_many, form, read, read_many, run


@pytest.mark.parametrize(
    "content_type",
    [
        "image/*",
        "image/jpeg",
        "application/octet-stream",
        "application/x-www-form-urlencoded",
        "application/json",
        "text/plain",
        "multipart/form-data",
        "multipart/form-data; boundary=XX",
        "",
        "nonsense",
        None,
    ],
)
def test_raw_bytes_under_any_content_type(jpeg: bytes, content_type: str | None) -> None:
    """A picture is read as it is, whatever its Content-Type says."""
    headers = None if content_type is None else {"content-type": content_type}

    assert jpeg == read(jpeg, headers)


def test_chunks_are_joined(jpeg: bytes) -> None:
    """A body that arrives in pieces, with no length announced, is put together."""
    assert jpeg == read(jpeg[start : start + 1000] for start in range(0, len(jpeg), 1000))


@pytest.mark.parametrize("field", ["image", "file", "", "anything at all", "\uff50"])
def test_multipart_file_in_any_field(jpeg: bytes, field: str) -> None:
    """A file in a form is found whatever its field is called."""
    assert jpeg == read(*form((f'name="{field}"; filename="x.jpg"', jpeg)))


def test_other_fields_are_passed_over(jpeg: bytes) -> None:
    """Text fields beside the file do no harm."""
    parts = (('name="a"', b"1"), ('name="f"; filename="x"', jpeg), ('name="b"', b"\xff\xfe"))

    assert jpeg == read(*form(*parts))


def test_form_without_a_file() -> None:
    """A form with text fields only has no image."""
    assert code(*form(('name="image"', b"x.jpg"))) == "no_image"


def test_form_with_two_files(jpeg: bytes) -> None:
    """A form with two files is too many for one answer."""
    part = ('name="f"; filename="x"', jpeg)

    assert code(*form(part, part)) == "too_many_images"


def test_form_with_an_empty_file() -> None:
    """A form whose file has no bytes is as good as no body."""
    assert code(*form(('name="f"; filename="x"', b""))) == "empty_body"


@pytest.mark.parametrize(
    "body",
    [
        b"not a form",
        b"--XX\r\n",
        b"--XX\r\nnonsense\r\n\r\nx\r\n--XX--\r\n",
        b"--XX--\r\n",
        b"--YY",
    ],
)
def test_broken_form(body: bytes) -> None:
    """A body that is no form although it says so has no image."""
    assert code(body, {"content-type": "multipart/form-data; boundary=XX"}) == "no_image"


@pytest.mark.parametrize("charset", ["undefined", "punycode"])
def test_form_in_a_charset_that_decodes_nothing(charset: str) -> None:
    """A charset that cannot decode the form's names is the client's mistake."""
    body, _ = form(('name="f"; filename="x"', b"picture"))

    headers = {"content-type": f"multipart/form-data; boundary=XX; charset={charset}"}
    assert code(body, headers) == "no_image"


@pytest.mark.parametrize("charset", ["nonsense", "latin-1", "rot13"])
def test_form_in_another_charset(charset: str) -> None:
    """A charset that does not matter for the file's bytes is passed over."""
    body, _ = form(('name="f"; filename="x"', b"picture"))

    headers = {"content-type": f"multipart/form-data; boundary=XX; charset={charset}"}
    assert read(body, headers) == b"picture"


@pytest.mark.parametrize("content_type", ["application/json", "application/problem+json", None])
@pytest.mark.parametrize("prefix", ["", "data:image/jpeg;base64,"])
def test_json_base64(jpeg: bytes, content_type: str | None, prefix: str) -> None:
    """JSON carries the picture in base64 or as a data URL, even when its type is not said."""
    body = json.dumps({"data": prefix + base64.b64encode(jpeg).decode()}).encode()
    headers = None if content_type is None else {"content-type": content_type}

    assert jpeg == read(body, headers)


def test_base64_in_lines(jpeg: bytes) -> None:
    """Base64 broken into lines, as many programs print it, is read."""
    body = json.dumps({"data": base64.encodebytes(jpeg).decode()}).encode()

    assert jpeg == read(body)


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b"null",
        b'"x"',
        b"{}",
        b'{"data": 3}',
        b'{"data": null}',
        b'{"image": "x"}',
        b'{"data": "eA==", "url": "https://example.org"}',
        b'{"data": "\xff"}',
        b"[" * 100_000,
        b'{"data": ' + b"1" * 50_000 + b"}",
    ],
)
def test_json_of_another_shape(body: bytes) -> None:
    """JSON that is broken or not an object with `data` alone is invalid."""
    assert code(body, {"content-type": "application/json"}, limit=200_000) == "invalid_json"


@pytest.mark.parametrize("text", ["%%%", "abc", "a", "ÿÿÿÿ", "data:image/png;base64,%%%"])
def test_broken_base64(text: str) -> None:
    """Text that is not base64 is told apart from JSON that is broken."""
    assert code(json.dumps({"data": text}).encode()) == "invalid_base64"


@pytest.mark.parametrize("body", [b"", b'{"data": ""}', b'{"data": "data:image/png;base64,"}'])
def test_nothing_sent(body: bytes) -> None:
    """A request without any picture's bytes is empty."""
    assert code(body) == "empty_body"


def test_url_is_not_fetched() -> None:
    """An address is refused, not fetched."""
    assert code(b'{"url": "https://example.org/x.jpg"}') == "url_not_allowed"


def test_url_is_fetched_where_that_is_allowed() -> None:
    """An address is handed to whatever fetches; what it brings is reserved."""
    reserved: list[int] = []

    async def fetch(url: str) -> bytes:
        return f"what lies at {url}".encode()

    body = b'{"url": "https://example.org/x.jpg"}'
    data = run(body, None, lambda request: read_picture(request, LIMIT, reserved.append, fetch))

    assert data == b"what lies at https://example.org/x.jpg"
    assert reserved == [len(body), 0, len(data)]


@pytest.mark.parametrize("url", [b"3", b"null", b'["https://example.org"]'])
def test_url_of_another_type(url: bytes) -> None:
    """An address that is not text is a mistake in the JSON."""
    assert code(b'{"url": %s}' % url) == "invalid_json"


def test_announced_length_is_refused_unread() -> None:
    """A body whose length is announced as too large is refused before any of it arrives."""
    headers = {"content-length": str(LIMIT + 1)}

    assert code(b"", headers) == "body_too_large"


def test_unannounced_length_is_cut_off() -> None:
    """A body without a length is refused as soon as it is too large."""
    endless = [b"x" * 1000] * (LIMIT // 1000 + 1)

    assert code(endless) == "body_too_large"


def test_limit_is_inclusive() -> None:
    """A body of exactly the largest size is read."""
    assert len(read(b"x" * LIMIT)) == LIMIT


def test_many_in_json(jpeg: bytes) -> None:
    """A list is read in order, each entry as alone, and a wrong one is an error in its place."""
    text = base64.b64encode(jpeg).decode()
    entries = [{"data": text}, {"url": "https://example.org"}, {"image": "x"}]
    coded, link, wrong = read_many(json.dumps({"images": entries}).encode())

    assert isinstance(coded, Base64Picture)
    assert coded.decode() == jpeg
    assert link == LinkedPicture("https://example.org")
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
    monkeypatch.setattr(bodies, "_to_source", lambda _: pytest.fail("an entry was looked at"))

    assert code_of_many(b'{"images": [' + b"{}," * 1000 + b"{}]}") == "too_many_images"


@pytest.mark.parametrize(
    ("files", "expected"), [(0, "no_image"), (4, "too_many_images"), (1001, "too_many_images")]
)
def test_form_with_a_wrong_number_of_files(files: int, expected: str) -> None:
    """A form without any file has no image; one with more than allowed has too many."""
    part = ('name="f"; filename="x"', b"x")

    assert code_of_many(*form(('name="text"', b"x"), *[part] * files)) == expected
