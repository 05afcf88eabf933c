"""Requests that no picture comes out of, or a broken one: everything that is sent, in order."""

import base64
import itertools
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from hostile_files import bombs, other_formats, polyglots
from hostile_pictures import cut, mutated

CUT_FILES: Final = 50
MEGABYTE: Final = 1_000_000
LONGEST: Final = 10
"""Megabytes that a body may have, by default."""
BOUNDARY: Final = "XX"
FORM: Final = f"multipart/form-data; boundary={BOUNDARY}"
JSON: Final = "application/json"
RAW: Final = (None, "image/*", "image/jpeg", "application/octet-stream", "text/plain")
PARTS: Final = (
    *("mutated", "cut", "bombs", "polyglots", "formats"),
    *("lengths", "types", "json", "forms", "bodies"),
)
PATHS: Final = ("/predict", "/v1/predict", "/explain")


@dataclass(frozen=True)
class Request:
    """One request.

    Attributes:
        kind: the line of the table that it counts in.
        what: tells it from the others of its kind.
        body: its bytes.
        content_type: None for none.
        path: where it is sent.
        repeat: how often the body is sent, one after the other.
        chunked: whether it is sent without saying how long it is.
    """

    kind: str
    what: str
    body: bytes
    content_type: str | None = None
    path: str = "/predict"
    repeat: int = 1
    chunked: bool = False


def all_requests(
    files: Mapping[str, Sequence[bytes]], count: int, seed: int
) -> dict[str, Iterator[Request]]:
    """Make all requests, each when it is asked for, by the names of `PARTS`.

    Args:
        files: whole pictures of each format that is read.
        count: of mutated files; of cut ones, forms and JSON in proportion.
        seed: of what is random.
    """
    share = count / 10_000
    whole = {name: several[0] for name, several in files.items()}
    good = whole["JPEG"]
    parts = (
        _mutated(files, count, seed),
        _cut(files, max(1, round(CUT_FILES * share)), seed, good),
        _files("bomb", bombs(), good),
        _files("polyglot", polyglots(whole), good),
        _files("format not allowed", other_formats(), good),
        _lengths(good),
        _wrong_types(good),
        _json(good),
        _forms(good),
        _mutated_bodies(good, max(3, round(1_000 * share)), seed),
    )
    return dict(zip(PARTS, parts, strict=True))


def form(*files: bytes) -> bytes:
    """Write a form with files."""
    about = b'Content-Disposition: form-data; name="image"; filename="a.jpg"'
    parts = [b"--XX\r\n" + about + b"\r\nContent-Type: image/jpeg\r\n\r\n" + one for one in files]
    return b"\r\n".join([*parts, b"--XX--\r\n"])


def coded(data: bytes) -> dict[str, str]:
    """Write a picture as JSON has it."""
    return {"data": base64.b64encode(data).decode()}


def _mutated(files: Mapping[str, Sequence[bytes]], count: int, seed: int) -> Iterator[Request]:
    for name, several in files.items():
        for number in range(count // len(files)):
            rng = random.Random(f"{seed}/{name}/{number}")  # noqa: S311 - no secret
            data = mutated(rng, several)
            yield _sent(f"mutated {name}", f"{number}", data, number, several[0])


def _cut(
    files: Mapping[str, Sequence[bytes]], count: int, seed: int, good: bytes
) -> Iterator[Request]:
    everything = [one for several in files.values() for one in several]
    chosen = random.Random(seed).sample(everything, count)  # noqa: S311 - no secret
    for number, data in enumerate(cut(chosen)):
        # In each hundred one more than in the last: every percent goes everywhere in time.
        yield _sent("cut", f"{number // 100} at {number % 100}%", data, number * 101 // 100, good)


def _sent(kind: str, what: str, data: bytes, number: int, good: bytes) -> Request:
    """Send a file as clients do: mostly as it is, and in every tenth request in each other way."""
    match number % 10:
        case 0:
            return Request(kind, what, data, "image/jpeg", "/explain")
        case 1:
            several = {"images": [coded(data), coded(good)]}
            return Request(kind, what, json.dumps(several).encode(), JSON, "/v1/predict")
        case 2:
            return Request(kind, what, form(good, data), FORM, "/v1/predict")
        case 3:
            return Request(kind, what, json.dumps(coded(data)).encode(), JSON)
        case 4:
            return Request(kind, what, form(data), FORM)
    return Request(kind, what, data, RAW[number % len(RAW)])


def _files(kind: str, files: Iterator[tuple[str, bytes]], good: bytes) -> Iterator[Request]:
    for what, data in files:
        yield Request(kind, what, data, "image/jpeg")
        yield Request(kind, what, data, None, "/explain")
        yield Request(kind, what, form(data, good), FORM, "/v1/predict")


def _lengths(good: bytes) -> Iterator[Request]:
    for path, kind, chunked in itertools.product(PATHS, (*RAW, JSON, FORM), (False, True)):
        yield Request("empty", f"{kind}", b"", kind, path, chunked=chunked)
    bodies = {None: good, "image/png": bytes(1), JSON: b'{"data": "', FORM: form(good)[:-6]}
    sizes = (LONGEST, LONGEST + 1, 2 * LONGEST, 8 * LONGEST)
    for path, size, chunked in itertools.product(PATHS, sizes, (False, True)):
        for kind, start in bodies.items():
            block = start.ljust(MEGABYTE, b"A")
            yield Request("huge", f"{kind} {size} MB", block, kind, path, size, chunked)


def _wrong_types(good: bytes) -> Iterator[Request]:
    several = json.dumps({"images": [coded(good)]}).encode()
    bodies = (
        *(good, form(good), json.dumps(coded(good)).encode(), several, b"image=" + good[:300]),
        *(b"an ant", b"{", b"[", b"null", b"\0", b"--XX", b"--XX--\r\n", b"\xff\xd8\xff"),
    )
    for path, kind, body in itertools.product(PATHS, _TYPES, bodies):
        yield Request("wrong type", f"{kind} {body[:12]!r}", body, kind, path)
    for query in _QUERIES:
        yield Request("query", query[:40], good, "image/jpeg", f"/explain?{query}")


def _json(good: bytes) -> Iterator[Request]:
    texts = [json.dumps(value).encode() for value in _values(good)]
    for path, kind in itertools.product(PATHS, (JSON, None)):
        for body in (*texts, *_NOT_JSON, *(text.decode().encode("utf-16") for text in texts[:4])):
            yield Request("JSON", repr(body[:40]), body, kind, path)


def _values(good: bytes) -> Iterator[Any]:
    picture = coded(good)
    odd: tuple[Any, ...] = (None, True, 0, -1.5, "", "x", [], {}, [[]], [picture], {"x": picture})
    yield from odd
    for name in ("data", "url", "images", "image", "Data", "\0", "__proto__"):
        yield from ({name: value} for value in (*odd, picture, picture["data"]))
    yield from ({"data": text} for text in _base64(picture["data"]))
    yield from ({"url": url} for url in _URLS)
    yield {**picture, "url": "https://example.com/a.jpg"}
    yield {**picture, "images": [picture]}
    yield {"images": [*odd, picture]}
    for count in (32, 33, 1_000, 1_000_000):
        yield {"images": [None] * count}
    yield {"images": [{"url": "https://127.0.0.1/"}] * 32}


def _base64(text: str) -> Iterator[str]:
    yield from (
        "=",
        "====",
        "A",
        "AAA",
        "AAAA",
        "%%%%",
        "é",
        "\ud800",
        "\0",
        " ",
        "data:",
        "data:,",
    )
    yield from (text[:-1], text[:-3], f"{text}=", f"={text}", f"{text}\0", f"{text}{text}")
    yield from (text.replace("/", "_").replace("+", "-"), f"\n{text[:99]}\n{text[99:]}\n")
    yield from (f"data:image/png;base64,{text}", f"data:text/html,{text}", f"DATA:,{text}")
    yield from (base64.b85encode(base64.b64decode(text)).decode(), "A" * 9_000_000)


def _forms(good: bytes) -> Iterator[Request]:
    whole = form(good)
    for path in PATHS:
        for kind in _FORM_TYPES:
            yield Request("form", kind[:60], whole, kind, path)
        for body in _form_bodies(good, whole):
            yield Request("form", repr(body[:60]), body, FORM, path)


def _form_bodies(good: bytes, whole: bytes) -> Iterator[bytes]:
    part = whole[: -len(b"--XX--\r\n")]
    yield from (part, whole[:-4], whole[:-2], whole[4:], b"\r\n" * 9 + whole, whole + whole)
    yield from (whole.replace(b"\r\n", b"\n"), whole.replace(b"\r\n", b"\r"), whole.lower())
    yield from (
        form(),
        form(b""),
        form(b"", b""),
        form(good, good),
        b"--XX",
        b"--XX--",
        b"--XX\r\n",
    )
    yield from (part * 33 + b"--XX--\r\n", form(*[b"x"] * 999), form(*[b"x"] * 1_001))
    for header in _PART_HEADERS:
        yield b"--XX\r\n" + header + b"\r\n\r\n" + good + b"\r\n--XX--\r\n"
    field = b'--XX\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n'
    yield from (field + b"--XX--\r\n", field * 1_000 + whole, field * 20_000 + b"--XX--\r\n")
    yield b'--XX\r\nContent-Disposition: form-data; name="a"\r\n\r\n' + bytes(9_000_000) + whole


def _mutated_bodies(good: bytes, count: int, seed: int) -> Iterator[Request]:
    forms = [form(good), form(good, good), form(b"x")]
    small = coded(good[:100])
    texts = [json.dumps(one).encode() for one in (small, {"images": [small] * 3}, {"url": "x"})]
    for kind, content_type, bodies in (("form", FORM, forms), ("JSON", JSON, texts)):
        for number in range(count):
            rng = random.Random(f"{seed}/{kind}/{number}")  # noqa: S311 - no secret
            path = PATHS[number % len(PATHS)]
            body = mutated(rng, bodies)
            yield Request(f"mutated {kind}", f"{number}", body, content_type, path)


_TYPES: Final = (
    *(None, "image/png", "image/svg+xml", "image/tiff", "text/html", JSON, "application/ld+json"),
    *("application/json; charset=utf-16", "application/json; charset=nonsense", FORM),
    *("multipart/form-data", "multipart/mixed; boundary=XX", "application/x-www-form-urlencoded"),
    *("application/vnd.bentoml+pickle", "application/zip", "nonsense", "/", ";", "a" * 4_000),
)
_QUERIES: Final = (
    *("label=", "label=nothing", "label=%00", "label=%ff%fe", "label=a&label=b", "label", "&&&"),
    *("label[]=a", "Label=a", "label=%F0%9F%90%9D", "label=%0d%0aX-A:%20b", "%", "label=%zz"),
    *("label=" + "a" * 8_000, "a=b&" * 1_000, "label=../../etc/passwd", "label=<script>"),
)
_NOT_JSON: Final = (
    *(b"{", b"}", b"{}{}", b"{'data': 'x'}", b'{"data": }', b'{"data": "x"', b'{"data": "x"} x'),
    *(b'{"data": NaN}', b'{"data": 1e999}', b'{"data": ' + b"9" * 100_000 + b"}", b"{//x\n}"),
    *(b'{"data": "x", "data": "y"}', b'\xef\xbb\xbf{"data": "x"}', b'{"data": "\xff"}', b'{"\\u'),
    *(b"[" * 100_000, b'{"a":' * 100_000, b'{"images": ' + b"[" * 100_000, b'{"data": "\\ud800"}'),
    *(b"{" + b" " * 5_000_000 + b"}", b'{"images": [' + b"{}," * 1_000_000 + b"{}]}", b"\0{}"),
)
_URLS: Final = (
    *("https://127.0.0.1/", "http://169.254.169.254/latest/meta-data/", "file:///etc/passwd"),
    *("https://example.com/a.jpg", "ftp://x", "gopher://x", "//x", "https://[::1]/", "\0", "é"),
    *("https://user@example.com/", "https://example.com:22/", "data:image/png;base64,AAAA"),
    *("https://" + "a" * 10_000, "https://example.com/" + "a" * 100_000, "https://\ud800.com/"),
)
_FORM_TYPES: Final = (
    *(
        "multipart/form-data; boundary=",
        'multipart/form-data; boundary="',
        FORM.upper(),
        FORM + "Y",
    ),
    *('multipart/form-data; boundary="XX"', f"{FORM}; boundary=YY", f"{FORM}; charset=utf-16"),
    *(f"{FORM}; charset=nonsense", "multipart/form-data; boundary=X X", "multipart/form-data;XX"),
    *("multipart/form-data; boundary=" + "X" * 4_000, "multipart/form-data; boundary=\xe9"),
    *("multipart/form-data; x=boundary=XX", "multipart/form-data; boundary=--XX", f"{FORM};" * 200),
    *("multipart/form-data; boundary*=utf-8''XX", "multipart/form-data, multipart/form-data"),
)
_PART_HEADERS: Final = (
    *(b"", b":", b"x", b": x", b"Content-Disposition", b"Content-Disposition:", b"\0: \0"),
    *(b"Content-Disposition: form-data", b"Content-Disposition: attachment; filename=a"),
    *(b'Content-Disposition: form-data; name="', b"Content-Disposition: form-data; filename=a"),
    b'Content-Disposition: form-data; name="a"; filename=""',
    b"Content-Disposition: form-data; name=a; filename*=utf-8''%ff%00%zz",
    b"Content-Disposition: form-data; name*=nonsense''a; filename=a",
    b'Content-Disposition: form-data; name="\xff\xfe"; filename="\xff\xfe"',
    b'Content-Disposition: form-data; name="a\0b"; filename="../../etc/passwd\0.jpg"',
    b'Content-Disposition: form-data; name="a"; filename="a"\r\nContent-Length: 5',
    b'Content-Disposition: form-data; name="a"; filename="a"\r\nContent-Transfer-Encoding: base64',
    b'Content-Disposition: form-data; name="a"; filename="a"\r\nContent-Encoding: gzip',
    b'Content-Disposition: form-data; name="a"; filename="a"\r\nContent-Type: ' + b"a" * 100_000,
    b'Content-Disposition: form-data; name="a"; filename="' + b"a" * 1_000_000 + b'"',
    b"\r\n".join([b"X-A: b"] * 20_000),
)
