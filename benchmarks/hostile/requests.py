"""Requests that no picture comes out of, or a broken one: everything that is sent, in order."""

import base64
import itertools
import json
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from hostile.cases import CASES, texts
from hostile.files import BOMBS, other_formats, polyglots
from hostile.pictures import cut, mutated

MEGABYTE: Final = 1_000_000
LONGEST: Final = 10
"""Megabytes that a body may have, by default."""
FORM: Final = "multipart/form-data; boundary=XX"
JSON: Final = "application/json"
RAW: Final = (None, "image/*", "image/jpeg", "application/octet-stream", "text/plain")
PATHS: Final = ("/predict", "/v1/predict", "/explain")
PARTS: Final = (
    *("mutated", "cut", "bombs", "polyglots", "formats"),
    *("lengths", "types", "json", "forms", "bodies"),
)


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
    """Make all requests, each when it is asked for, part by part.

    Args:
        files: whole pictures of each format that is read.
        count: of mutated files; of cut ones, forms and JSON in proportion.
        seed: of what is random.
    """
    whole = {name: several[0] for name, several in files.items()}
    good = whole["JPEG"]
    parts = (
        _mutated(files, count, seed),
        _cut(files, max(1, count // 200), seed, good),
        _files("bomb", ((what, make()) for what, make in BOMBS.items()), good),
        _files("polyglot", polyglots(whole), good),
        _files("format not allowed", other_formats(), good),
        _lengths(good),
        _types(good),
        _json(good),
        _forms(good),
        _bodies(good, max(3, count // 10), seed),
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


def _files(kind: str, files: Iterable[tuple[str, bytes]], good: bytes) -> Iterator[Request]:
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


def _types(good: bytes) -> Iterator[Request]:
    several = json.dumps({"images": [coded(good)]}).encode()
    bodies = (
        *(good, form(good), json.dumps(coded(good)).encode(), several, b"image=" + good[:300]),
        *(b"an ant", b"{", b"[", b"null", b"\0", b"--XX", b"--XX--\r\n", b"\xff\xd8\xff"),
    )
    kinds = (None, *texts("content_types"))
    for path, kind, body in itertools.product(PATHS, kinds, bodies):
        yield Request("wrong type", f"{kind} {body[:12]!r}", body, kind, path)
    for query in texts("queries"):
        yield Request("query", query[:40], good, "image/jpeg", f"/explain?{query}")


def _json(good: bytes) -> Iterator[Request]:
    picture = coded(good)["data"]
    odd = CASES["json_values"]
    codes = (
        *(picture[:-1], picture[:-3], picture.replace("/", "_").replace("+", "-")),
        *(f"\n{picture[:99]}\n{picture[99:]}\n", base64.b85encode(good).decode()),
    )
    values = (
        *odd,
        *(
            {name: value}
            for name in texts("json_names")
            for value in (*odd, *({"data": "PICTURE"}, "PICTURE"))
        ),
        *({"data": code} for code in (*texts("json_data"), *codes)),
        *({"url": url} for url in texts("json_urls")),
    )
    written = [json.dumps(value).encode() for value in values]
    written += [text.encode("latin-1") for text in texts("json_texts")]
    written += [text.decode().encode("utf-16") for text in written[:4]]
    for path, kind, text in itertools.product(PATHS, (JSON, None), written):
        body = text.replace(b"PICTURE", picture.encode())
        yield Request("JSON", repr(body[:40]), body, kind, path)


def _forms(good: bytes) -> Iterator[Request]:
    whole, end = form(good), b"--XX--\r\n"
    part = whole.removesuffix(end)
    field = b'--XX\r\nContent-Disposition: form-data; name="a"\r\n\r\n'
    heads = [head.encode("latin-1") for head in texts("part_headers")]
    bodies = (
        *(part, whole[:-4], whole[:-2], whole[4:], b"\r\n" * 9 + whole, whole + whole),
        *(whole.replace(b"\r\n", b"\n"), whole.replace(b"\r\n", b"\r"), whole.lower()),
        *(form(), form(b""), form(b"", b""), form(good, good), b"--XX", b"--XX--", b"--XX\r\n"),
        *(part * 33 + end, form(*[b"x"] * 999), form(*[b"x"] * 1_001)),
        *(b"--XX\r\n" + head + b"\r\n\r\n" + good + b"\r\n" + end for head in heads),
        *(field + b"b\r\n" + end, (field + b"b\r\n") * 1_000 + whole),
        *((field + b"b\r\n") * 20_000 + end, field + bytes(9_000_000) + whole),
    )
    for path in PATHS:
        for kind in texts("form_types"):
            yield Request("form", kind[:60], whole, kind, path)
        for body in bodies:
            yield Request("form", repr(body[:60]), body, FORM, path)


def _bodies(good: bytes, count: int, seed: int) -> Iterator[Request]:
    forms = [form(good), form(good, good), form(b"x")]
    small = coded(good[:100])
    texts = [json.dumps(one).encode() for one in (small, {"images": [small] * 3}, {"url": "x"})]
    for kind, content_type, bodies in (("form", FORM, forms), ("JSON", JSON, texts)):
        for number in range(count):
            rng = random.Random(f"{seed}/{kind}/{number}")  # noqa: S311 - no secret
            path = PATHS[number % len(PATHS)]
            body = mutated(rng, bodies)
            yield Request(f"mutated {kind}", f"{number}", body, content_type, path)
