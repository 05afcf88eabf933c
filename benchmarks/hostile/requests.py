"""Requests that no picture comes out of, or a broken one: everything that is sent, in order."""

import base64
import itertools
import json
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from hostile.files import BOMBS, CASES, mutated, other_formats, polyglots, text

MEGABYTE: Final = 1_000_000
LONGEST: Final = 10  # megabytes that a body may have, by default
FORM: Final = "multipart/form-data; boundary=XX"
JSON: Final = "application/json"
RAW: Final = (None, "image/*", "image/jpeg", "application/octet-stream", "text/plain")
PATHS: Final = ("/predict", "/v1/predict", "/explain")
END: Final = b"--XX--\r\n"
FIELD: Final = b'--XX\r\nContent-Disposition: form-data; name="a"\r\n\r\n'
PARTS: Final = (
    *("mutated", "cut", "bombs", "polyglots", "formats"),
    *("lengths", "types", "queries", "json", "forms"),
)


@dataclass(frozen=True)
class Request:
    """One request."""

    kind: str  # the line of the table that it counts in
    what: str  # tells it from the others of its kind
    body: bytes
    content_type: str | None = None
    path: str = "/predict"
    repeat: int = 1  # how often the body is sent, one after the other
    chunked: bool = False  # whether it is sent without saying how long it is


def all_requests(
    files: Mapping[str, Sequence[bytes]], count: int, seed: int
) -> dict[str, Iterator[Request]]:
    """Make all requests, part by part; what is large or random only when it is asked for.

    Args:
        files: whole pictures of each format that is read.
        count: of mutated files; of cut ones, forms and JSON in proportion.
        seed: of what is random.
    """
    whole = {name: several[0] for name, several in files.items()}
    good = whole["JPEG"]
    types = (None, *map(text, CASES["content_types"]))
    queries = map(text, CASES["queries"])
    several = json.dumps({"images": [coded(good)]}).encode()
    bodies = (good, form(good), several, b"image=" + good[:300], b"an ant", b"{", b"null", b"\0")
    forms = _typed("form", map(text, CASES["form_types"]), [form(good)])
    parts = (
        _mutated(files, count, seed),
        _cut(files, max(1, count // 200), seed),
        _files("bomb", ((what, make()) for what, make in BOMBS.items()), good),
        _files("polyglot", polyglots(whole).items(), good),
        _files("format not allowed", other_formats().items(), good),
        _lengths(good),
        _typed("wrong type", types, bodies),
        (Request("query", q[:40], good, "image/jpeg", f"/explain?{q}") for q in queries),
        _typed("JSON", (JSON, None), _json(good)),
        itertools.chain(forms, _typed("form", [FORM], _forms(good))),
    )
    return dict(zip(PARTS, parts, strict=True))


def form(*files: bytes) -> bytes:
    """Write a form with files."""
    about = b'Content-Disposition: form-data; name="image"; filename="a.jpg"'
    parts = [b"--XX\r\n" + about + b"\r\nContent-Type: image/jpeg\r\n\r\n" + one for one in files]
    return b"\r\n".join([*parts, END])


def coded(data: bytes) -> dict[str, str]:
    """Write a picture as JSON has it."""
    return {"data": base64.b64encode(data).decode()}


def _mutated(files: Mapping[str, Sequence[bytes]], count: int, seed: int) -> Iterator[Request]:
    good = files["JPEG"][0]
    small = coded(good[:100])
    values = (small, {"images": [small] * 3}, {"url": "x"})
    forms = [form(good), form(good, good), form(b"x")]
    bodies = {FORM: forms, JSON: [json.dumps(value).encode() for value in values]}
    for name, several in {**files, **bodies}.items():
        kind = f"mutated {name.partition(';')[0]}"
        for number in range(count // (10 if name in bodies else len(files))):
            data = mutated(random.Random(f"{seed}/{name}/{number}"), several)  # noqa: S311 - no secret
            if name in bodies:
                yield Request(kind, f"{number}", data, name, PATHS[number % len(PATHS)])
            else:
                yield _sent(kind, f"{number}", data, number, good)


def _cut(files: Mapping[str, Sequence[bytes]], count: int, seed: int) -> Iterator[Request]:
    """Cut some files at every percent of their length, from nothing to all but the last."""
    everything = [one for several in files.values() for one in several]
    chosen = random.Random(seed).sample(everything, count)  # noqa: S311 - no secret
    for (number, data), percent in itertools.product(enumerate(chosen), range(100)):
        piece = data[: len(data) * percent // 100]
        # For each file one further: every percent goes everywhere in time.
        yield _sent("cut", f"{number} at {percent}%", piece, number + percent, files["JPEG"][0])


def _sent(kind: str, what: str, data: bytes, number: int, good: bytes) -> Request:
    """Send a file as clients do: half of them as they are, and each tenth in each other way."""
    ways = (
        (data, "image/jpeg", "/explain"),
        (json.dumps({"images": [coded(data), coded(good)]}).encode(), JSON, "/v1/predict"),
        (form(good, data), FORM, "/v1/predict"),
        (json.dumps(coded(data)).encode(), JSON, "/predict"),
        (form(data), FORM, "/predict"),
        *((data, content_type, "/predict") for content_type in RAW),
    )
    return Request(kind, what, *ways[number % len(ways)])


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


def _typed(kind: str, types: Iterable[str | None], bodies: Iterable[bytes]) -> Iterator[Request]:
    """Send each body as each type everywhere."""
    for path, content_type, body in itertools.product(PATHS, types, bodies):
        yield Request(kind, f"{body[:40]!r}", body, content_type, path)


def _json(good: bytes) -> list[bytes]:
    picture = coded(good)["data"]
    odd = [*CASES["json_values"], {"data": "PICTURE"}, "PICTURE"]
    codes = (picture[:-1], picture[:-3], picture.replace("/", "_").replace("+", "-"))
    values = (
        *odd,
        *({name: value} for name in CASES["json_names"] for value in odd),
        *({"data": code} for code in (*map(text, CASES["json_data"]), *codes)),
        *({"url": text(url)} for url in CASES["json_urls"]),
    )
    written = [json.dumps(value).encode() for value in values]
    written += [text(case).encode("latin-1") for case in CASES["json_texts"]]
    written += [one.decode().encode("utf-16") for one in written[:4]]
    return [one.replace(b"PICTURE", picture.encode()) for one in written]


def _forms(good: bytes) -> tuple[bytes, ...]:
    whole = form(good)
    part = whole.removesuffix(END)
    heads = [text(head).encode("latin-1") for head in CASES["part_headers"]]
    return (
        *(part, whole[:-4], whole[:-2], whole[4:], b"\r\n" * 9 + whole, whole + whole),
        *(whole.replace(b"\r\n", b"\n"), whole.replace(b"\r\n", b"\r"), whole.lower()),
        *(form(), form(b""), form(b"", b""), b"--XX", b"--XX--", b"--XX\r\n"),
        *(part * 33 + END, form(*[b"x"] * 999), form(*[b"x"] * 1_001)),
        *(b"--XX\r\n" + head + b"\r\n\r\n" + good + b"\r\n" + END for head in heads),
        *(FIELD + b"b\r\n" + END, (FIELD + b"b\r\n") * 1_000 + whole),
        *((FIELD + b"b\r\n") * 20_000 + END, FIELD + bytes(9_000_000) + whole),
    )
