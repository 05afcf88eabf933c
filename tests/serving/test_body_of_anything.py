"""HTTP bodies that nobody thought of."""

import base64
from contextlib import suppress
from urllib.parse import quote_plus

from hypothesis import given, settings
from hypothesis import strategies as st

from antbee.errors import RequestError
from antbee.serving.body import Base64Picture
from tests.serving.bodies import form, read, read_many

# The same ones each time, however slow the machine is.
some = settings(max_examples=30, deadline=None, derandomize=True, database=None)


@some
@given(st.dictionaries(st.sampled_from("abc"), st.binary(max_size=60), max_size=3))
def test_any_parts_come_back_whole(contents: dict[str, bytes]) -> None:
    """Whatever bytes files are made of, line ends and near-boundaries among them."""
    files = {name: b"\r\n--Y" + content + b"\r\n-" for name, content in contents.items()}
    body, headers = form(*[(f'name="f"; filename="{name}"', one) for name, one in files.items()])
    if files:
        assert {one.name: one.source for one in read_many(body, headers)} == files


@some
@given(
    st.binary(max_size=400),
    st.sampled_from(
        [
            "",
            "multipart/form-data; boundary=XX",
            "application/x-www-form-urlencoded",
            "application/json",
            "text/plain",
        ]
    ),
)
def test_anything_is_read_or_refused(body: bytes, content_type: str) -> None:
    """No bytes raise anything else than an error for the client."""
    for prefix in (b"", b"--XX\r\n", b"image=", b'{"data": "', b"data:,", b'"data:,%', b"https://"):
        for reader in (read, read_many):
            with suppress(RequestError):
                assert reader(prefix + body, {"content-type": content_type})


@some
@given(st.text(max_size=99))
def test_any_text_is_base64_or_not(text: str) -> None:
    """Every string that JSON can hold is decoded or refused."""
    for prefix in ("", "data:", "data:,", "data:;base64,"):
        with suppress(RequestError):
            assert Base64Picture(prefix + text).decode()


@some
@given(st.binary(min_size=1, max_size=200), st.booleans(), st.booleans())
def test_base64_of_any_kind(data: bytes, safe: bool, padded: bool) -> None:
    """Either alphabet is read, padded or not, percent-encoded or not."""
    coded = (base64.urlsafe_b64encode if safe else base64.b64encode)(data).decode()
    text = coded if padded else coded.rstrip("=")

    assert Base64Picture(text).decode() == data
    assert Base64Picture(quote_plus(text)).decode() == data
    assert Base64Picture("".join(f"%{ord(digit):02x}" for digit in text)).decode() == data
