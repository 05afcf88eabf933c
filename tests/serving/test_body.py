"""HTTP bodies to picture bytes."""

import asyncio
import base64
import contextlib
import json
import tracemalloc
from urllib.parse import quote

import pytest
from starlette.requests import Request
from starlette.types import Message

from antbee.errors import RequestError
from antbee.serving import body as bodies
from antbee.serving.body import Base64Picture, LinkedPicture, read_body, read_picture
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


@pytest.mark.parametrize(
    "text", [b"x.jpg", b"", b"a text of some words", b"upload", "größe".encode()]
)
def test_form_without_a_file(text: bytes) -> None:
    """A form with texts only that are no pictures has no image."""
    assert code(*form(('name="image"', text))) == "no_image"
    assert code(*form(('name="a"', b"2"), ('name="b"', text))) == "no_image"


@pytest.mark.parametrize(
    "head",
    [
        'name="image"',
        "",
        'name="image"\r\nContent-Type: image/jpeg',
        'name="image"\r\nContent-Type: application/octet-stream',
        "name=\"image\"; filename*=UTF-8''%C3%BC.jpg",
        'name="image"; filename=""',
        "name=image; filename=x.jpg",
        'name="image"; FileName="x.jpg"\r\nX-Something: else',
    ],
)
def test_part_that_is_a_picture_is_a_file(jpeg: bytes, head: str) -> None:
    """What a part is counts for more than whether it has the name of a file, or any."""
    assert read(*form((head, jpeg))) == jpeg
    assert read(*form(('name="a"', b"1"), (head, jpeg), ('name="b"', b"2"))) == jpeg


@pytest.mark.parametrize(
    "head", ['name="a"; filename="a.tif"', 'name="a"\r\nContent-Type: image/tiff']
)
def test_file_that_is_no_picture_of_ours_is_read_too(head: str) -> None:
    """A file in a format that is not read is told so, not that there is none."""
    assert read(*form((head, b"II*\0 and more"), ('name="b"', b"1"))) == b"II*\0 and more"


def test_unselected_file_is_nothing(jpeg: bytes) -> None:
    """A browser sends an empty file without a name for each file input that nothing was put in."""
    unselected = 'name="b"; filename=""\r\nContent-Type: application/octet-stream'
    picture = ('name="a"; filename="a.jpg"', jpeg)

    assert read(*form((unselected, b""), picture)) == jpeg
    assert read(*form(picture, ('name="b"; filename="empty.jpg"', b""))) == jpeg
    assert [one.source for one in read_many(*form(picture, (unselected, b"")))] == [jpeg]
    assert code(*form((unselected, b""))) == "no_image"


@pytest.mark.parametrize(
    "way", ["{}", "data:image/jpeg;base64,{}", "data:;a=b;BASE64,{}", " {}\r\n"]
)
def test_picture_in_a_text(jpeg: bytes, way: str) -> None:
    """Base64 and data URLs are read in a form's text, in JSON and as the body itself."""
    coded = way.format(base64.b64encode(jpeg).decode())
    lines = way.format(base64.encodebytes(jpeg).decode())
    urlencoded = {"content-type": "application/x-www-form-urlencoded"}
    for text in (coded, lines):
        assert read(*form(('name="image"', text.encode()))) == jpeg
        assert read(*form(('name="image"; filename="x.b64"', text.encode()))) == jpeg
        assert read(*form(('name="a"', b"1"), ("", text.encode()), ('name="b"', b"2"))) == jpeg
        assert read(json.dumps(text).encode()) == jpeg
        assert read(json.dumps({"data": text}).encode()) == jpeg
        assert read(text.encode(), {"content-type": "text/plain"}) == jpeg
        for field in (quote(text), quote(text, safe=""), quote(text, safe="+")):
            assert read(f"image={field}".encode(), urlencoded) == jpeg
            assert read(f"a=1&image={field}&b=%20".encode(), urlencoded) == jpeg
            assert read(f"{12 * '%C3%98'}=1&image={field}".encode(), urlencoded) == jpeg
    # Clients forget to encode the plus.
    assert read(f"image={coded.strip()}".encode(), urlencoded) == jpeg


def test_data_url_of_bytes(jpeg: bytes) -> None:
    """A data URL that is not in base64 is percent-encoded."""
    assert read(json.dumps({"data": f"data:image/jpeg,{quote(jpeg)}"}).encode()) == jpeg


@pytest.mark.parametrize("text", ["https://example.org/x.jpg?a=b+c&d=ü", "http://x", "ftp://a/b"])
def test_address_in_a_text(text: str) -> None:
    """An address means the same in a form's text, as BentoML's client sends it, as in JSON."""
    found = LinkedPicture(text)
    urlencoded = {"content-type": "application/x-www-form-urlencoded"}
    field = f"images={quote(text, safe='')}".encode()

    assert [one.source for one in read_many(*form(('name="a"', text.encode())))] == [found]
    assert [one.source for one in read_many(field, urlencoded)] == [found]
    assert [one.source for one in read_many(json.dumps({"images": [text]}).encode())] == [found]
    assert code(field, urlencoded) == "url_not_allowed"


@pytest.mark.parametrize(
    ("text", "expected"),
    [(b"aGVsbG8=", b"hello"), (b"SUkqAA==", b"II*\0"), (b"/9j/" + b"A" * 60 + b"%", None)],
)
def test_lone_text_is_told_from_no_picture(text: bytes, expected: bytes | None) -> None:
    """Base64 of something else, or broken, is that and not a form without a picture."""
    if expected is None:
        assert code(*form(('name="image"', text))) == "invalid_base64"
    else:
        assert read(*form(('name="image"', text))) == expected


def test_two_texts_are_too_many(jpeg: bytes) -> None:
    """Two pictures in texts are as many as two files; /v1/predict takes them in order."""
    parts = [(f'name="{n}"', base64.b64encode(jpeg[:-n] if n else jpeg)) for n in (0, 2)]

    assert code(*form(*parts)) == "too_many_images"
    sources = [one.source for one in read_many(*form(*parts))]
    assert [one.decode() for one in sources if isinstance(one, Base64Picture)] == [jpeg, jpeg[:-2]]


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        ('name="a"; filename="ant 1.jpg"', "ant 1.jpg"),
        ('name="a"; filename="größe.jpg"', "größe.jpg"),
        ('name="a"; filename="a%22b.jpg"', 'a"b.jpg'),
        ('name="a"; filename="a\\"b;.jpg"', 'a"b;.jpg'),
        ("name=a; filename=ant.jpg; x=y", "ant.jpg"),
        ("name=a; filename=\"u.jpg\"; filename*=UTF-8''%C3%BC.jpg", "ü.jpg"),
        ("name=a; filename*=UTF-8''%C3%BC.jpg; filename=\"u.jpg\"", "ü.jpg"),
        ('name="a"', ""),
    ],
)
def test_files_keep_their_names(jpeg: bytes, disposition: str, name: str) -> None:
    """A table of many pictures calls each as the client does."""
    assert [one.name for one in read_many(*form((disposition, jpeg)))] == [name]


def test_form_with_two_files(jpeg: bytes) -> None:
    """A form with two files is too many for one answer."""
    part = ('name="f"; filename="x"', jpeg)

    assert code(*form(part, part)) == "too_many_images"


def test_form_with_an_empty_file() -> None:
    """A form whose file has no bytes is as good as no body."""
    assert code(*form(('name="f"; filename="x"', b""))) == "empty_body"


@pytest.mark.parametrize("content_type", ["multipart/form-data", "multipart/form-data; boundary="])
def test_form_without_a_boundary(jpeg: bytes, content_type: str) -> None:
    """Whoever set the form's type by hand is told what is missing, not that it is no picture."""
    body, _ = form(('name="f"; filename="x"', jpeg))
    for headers in ({"content-type": content_type}, {"content-type": "image/jpeg"}, None):
        with pytest.raises(RequestError, match="boundary is missing") as caught:
            read(body, headers)
        assert caught.value.code == "no_image"


@pytest.mark.parametrize("kind", ["form-data", "mixed", "related", "Form-Data"])
@pytest.mark.parametrize("boundary", ["XX", '"XX"', "XX; charset=utf-8"])
def test_boundary_is_read(jpeg: bytes, kind: str, boundary: str) -> None:
    """Any kind of multipart is split at its boundary, quoted or not."""
    body, _ = form(('name="f"; filename="x"', jpeg))
    headers = {"content-type": f"multipart/{kind}; a=b;Boundary={boundary}"}

    assert read(b"a preamble\r\n" + body + b"--XX\r\nan epilogue", headers) == jpeg


@pytest.mark.parametrize("parts", [2_002, 100_000])
def test_form_with_very_many_parts(parts: int) -> None:
    """Parts are counted before anything is made of them."""
    body = b"--XX\r\n" * parts
    urlencoded = {"content-type": "application/x-www-form-urlencoded"}

    assert code(body, form()[1], limit=10**6) == "too_many_images"
    assert code(b"a=b&" * parts, urlencoded, limit=10**6) == "too_many_images"


@pytest.mark.parametrize(
    "coding",
    [
        "gzip",
        "x-gzip",
        "br",
        "deflate",
        "zstd",
        "compress",
        "identity, gzip",
        "GZIP",
        "aws-chunked",
    ],
)
def test_compressed_body_is_named(coding: str) -> None:
    """A body in any coding is refused for that, with the coding's name."""
    name = coding.rpartition(" ")[2].lower()
    for body in (b"\x1f\x8b\x08 and more", b'{"data": "x"}', form(("", b"x"))[0]):
        headers = form()[1] | {"content-encoding": coding}
        with pytest.raises(RequestError, match=name) as caught:
            read(body, headers)
        assert caught.value.code == "unsupported_encoding"
        assert code_of_many(body, headers) == "unsupported_encoding"


@pytest.mark.parametrize("coding", ["identity", "", "utf-8", " Identity , identity", "binary"])
def test_coding_that_is_none(jpeg: bytes, coding: str) -> None:
    """What is not compressed is read, whatever a client calls that."""
    body, headers = form(('name="f"; filename="x"', jpeg))

    assert read(body, headers | {"content-encoding": coding}) == jpeg
    assert read(jpeg, {"content-encoding": "gzip"}) == jpeg


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


@pytest.mark.parametrize("charset", ["nonsense", "latin-1", "rot13", "undefined", "punycode"])
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


@pytest.mark.parametrize(
    "charset", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]
)
def test_json_in_any_unicode(jpeg: bytes, charset: str) -> None:
    """JSON in every encoding that it may have is known for what it is, with or without a mark."""
    text = json.dumps({"data": base64.b64encode(jpeg).decode()})

    assert read(text.encode(charset)) == jpeg


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


@pytest.mark.parametrize(
    "text", ["%%%", "a", "abcde", "ÿÿÿÿ", "=a", "a=b", "data:image/png;base64,%%%", "data:,é"]
)
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


@pytest.mark.parametrize("length", [str(LIMIT + 1), "9" * 5000, f"00{LIMIT + 1}"])
def test_announced_length_is_refused_unread(length: str) -> None:
    """A body whose length is announced as too large is refused before any of it arrives."""
    assert code(b"", {"content-length": length}) == "body_too_large"


@pytest.mark.parametrize(
    "length", ["0" * 5000 + "9", "-1", "+9", "1_0", "\xb2", " 9", "9, 9", "9.0"]
)
def test_length_that_says_nothing_is_passed_over(jpeg: bytes, length: str) -> None:
    """A length that is no number, or one with thousands of zeros, is no fault of ours."""
    assert read(jpeg, {"content-length": length}) == jpeg


def test_unannounced_length_is_cut_off() -> None:
    """A body without a length is refused as soon as it is too large."""
    endless = [b"x" * 1000] * (LIMIT // 1000 + 1)

    assert code(endless) == "body_too_large"


@pytest.mark.parametrize("text", ["[%s[]]", '{"images": [%s[]]}'], ids=["list", "images"])
def test_json_of_very_many_values(text: str) -> None:
    """A text of a million values is refused before a list of each is made."""
    body = (text % ("[]," * bodies.MOST_VALUES * 2)).encode()
    tracemalloc.start()
    with pytest.raises(RequestError) as caught:
        bodies.parse_json(body, "")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert caught.value.code == "too_many_images"
    assert peak < 100_000


def test_small_chunks_take_no_more_than_their_bytes() -> None:
    """A body that comes two bytes at a time fills little more memory than one that comes whole."""
    left = LIMIT // 2

    async def receive() -> Message:
        nonlocal left
        left -= 1
        return {"type": "http.request", "body": bytes(2), "more_body": left > 0}

    request = Request({"type": "http", "method": "POST", "headers": []}, receive)
    tracemalloc.start()
    body = asyncio.run(read_body(request, LIMIT, lambda _: None))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert len(body) == LIMIT
    assert peak < 10 * LIMIT


def test_limit_is_inclusive() -> None:
    """A body of exactly the largest size is read."""
    assert len(read(b"x" * LIMIT)) == LIMIT


def test_many_in_json(jpeg: bytes) -> None:
    """A list is read in order, each entry as alone, and a wrong one is an error in its place."""
    text = base64.b64encode(jpeg).decode()
    entries = [{"data": text}, {"url": "https://example.org"}, {"image": "x"}]
    coded, link, wrong = (one.source for one in read_many(json.dumps({"images": entries}).encode()))

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
    sent = read_many(*form(*files, ('name="b"; filename="3"', b"third")))
    first, empty, last = (one.source for one in sent)

    assert [one.name for one in sent] == ["1", "2", "3"]
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


def test_time_out_that_a_chunk_hides_ends_the_upload() -> None:
    """A server may take the cancellation for itself where a chunk comes at the same moment."""

    async def receive() -> Message:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(0.2)
        return {"type": "http.request", "body": b"x", "more_body": False}

    async def read() -> None:
        request = Request({"type": "http", "method": "POST", "headers": []}, receive)
        async with asyncio.timeout(0.05):
            await read_body(request, 100, lambda _: None)

    with pytest.raises(TimeoutError):
        asyncio.run(read())
