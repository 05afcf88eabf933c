"""Broken pictures: files of every format that is read, changed at random or cut short.

The same seed and the same pictures give the same bytes. Knows nothing of HTTP.
"""

import io
import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from PIL import Image, ImageCms, ImageDraw

FORMATS: Final = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
SIDES: Final = (320, 64, 17, 1)
"""Pixels of the longer side of what is broken: small enough that thousands are quick to send."""
EDGES: Final = (
    *(b"\x00\x00\x00\x00", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x80\x00\x00\x00"),
    *(b"\xff\xff\xff\x7f", b"\x00\x00\x00\x80", b"\x00\x00\xff\xff", b"\x01\x00\x00\x00"),
)
"""Lengths and sizes at which programs go wrong, in either order of bytes."""
_HEADER: Final = 64
"""Bytes in which a file says what it is, how large and in how many colours."""
_MOST_CHANGES: Final = (1, 1, 2, 5, 20)

Options = dict[str, Any]
Mutation = Callable[[random.Random, bytearray], None]


def find_pictures(data: Path | None) -> list[Image.Image]:
    """Load three photographs of a folder's `val`, or draw three pictures where there is none."""
    paths = sorted((data / "val").glob("*/[!.]*.jp*g")) if data is not None else []
    if not paths:
        return [_draw(random.Random(seed)) for seed in range(3)]  # noqa: S311 - no secret
    return [_load(path) for path in random.Random(0).sample(paths, 3)]  # noqa: S311 - likewise


def originals(pictures: Sequence[Image.Image]) -> dict[str, list[bytes]]:
    """Encode pictures in several sizes and in every kind of each format; whole files."""
    small = [_fit(picture, side) for picture in pictures for side in SIDES]
    return {
        name: [_encode(name, *kind) for one in small for kind in _kinds(one, name)]
        for name in FORMATS
    }


def mutated(rng: random.Random, files: Sequence[bytes]) -> bytes:
    """Take one of the files and break it, in one place or in some."""
    data = bytearray(rng.choice(files))
    for _ in range(rng.choice(_MOST_CHANGES)):
        rng.choice(_MUTATIONS)(rng, data)
    if rng.random() < 1 / 8:
        other = rng.choice(files)
        return bytes(data[: rng.randrange(len(data) + 1)]) + other[rng.randrange(len(other)) :]
    return bytes(data)


def cut(files: Sequence[bytes]) -> Iterator[bytes]:
    """Cut each file at every percent of its length, from nothing to all but the last."""
    for data, percent in itertools.product(files, range(100)):
        yield data[: len(data) * percent // 100]


def _flip_bit(rng: random.Random, data: bytearray) -> None:
    if data:
        data[_place(rng, data)] ^= 1 << rng.randrange(8)


def _set_byte(rng: random.Random, data: bytearray) -> None:
    if data:
        data[_place(rng, data)] = rng.choice((0, 0x7F, 0x80, 0xFF, rng.randrange(256)))


def _delete(rng: random.Random, data: bytearray) -> None:
    start = _place(rng, data)
    del data[start : start + rng.randrange(1, 200)]


def _duplicate(rng: random.Random, data: bytearray) -> None:
    start = _place(rng, data)
    data[start:start] = data[start : start + rng.randrange(1, 200)] * rng.choice((1, 1, 50))


def _zero(rng: random.Random, data: bytearray) -> None:
    start = _place(rng, data)
    run = data[start : start + rng.randrange(1, 200)]
    data[start : start + len(run)] = bytes(len(run))


def _insert(rng: random.Random, data: bytearray) -> None:
    start = _place(rng, data)
    data[start:start] = rng.randbytes(rng.randrange(1, 200))


def _change_length(rng: random.Random, data: bytearray) -> None:
    """Overwrite the length of a chunk, a segment or a block, wherever one can be found."""
    names = (b"IDAT", b"IHDR", b"PLTE", b"tRNS", b"VP8", b"ANIM", b"ANMF", b"ALPH", b"\xff")
    name = rng.choice(names)
    found = data.find(name, rng.randrange(len(data) // 2 + 1))
    if found < 0:
        _change_field(rng, data)
        return
    # PNG has the length before the name, RIFF and JPEG after it.
    start = max(found - 4, 0) if name[1:2].isupper() and data[:1] == b"\x89" else found + len(name)
    if name == b"\xff":
        start += 1
    edge = rng.choice(EDGES)[: 2 if name == b"\xff" else 4]
    data[start : start + len(edge)] = edge


def _change_field(rng: random.Random, data: bytearray) -> None:
    """Overwrite two or four bytes of the header."""
    edge = rng.choice(EDGES)[: rng.choice((2, 4))]
    start = rng.randrange(min(len(data), _HEADER) + 1)
    data[start : start + len(edge)] = edge


_MUTATIONS: Final[tuple[Mutation, ...]] = (
    *(_flip_bit, _flip_bit, _set_byte, _set_byte, _delete, _duplicate, _zero, _insert),
    *(_change_length, _change_field),
)


def _place(rng: random.Random, data: bytearray) -> int:
    """Pick a byte: anywhere, and as often in the header, where it matters more."""
    return rng.randrange(max(1, rng.choice((len(data), min(len(data), _HEADER)))))


def _kinds(picture: Image.Image, name: str) -> list[tuple[Image.Image, Options]]:
    """A picture in the modes that a format has, and how each is saved."""
    if name == "JPEG":
        return _jpegs(picture)
    grey, palette, alpha = picture.convert("L"), picture.quantize(64), picture.convert("RGBA")
    alpha.putalpha(grey)
    animated: Options = {"save_all": True, "append_images": [picture.rotate(90)], "duration": 50}
    kinds: dict[str, list[tuple[Image.Image, Options]]] = {
        "PNG": [
            (picture, {}),
            (grey, {}),
            (palette, {}),
            (alpha, {}),
            (alpha.convert("LA"), {}),
            (picture.convert("1"), {}),
            (grey.convert("I;16"), {}),
            (picture, animated),
            (palette, {"transparency": 0}),
        ],
        "WEBP": [
            (picture, {}),
            (picture, {"lossless": True}),
            (alpha, {}),
            (picture, animated),
            (alpha, {"lossless": True}),
            (picture, {"exif": _exif(), "icc_profile": _icc()}),
        ],
        "GIF": [
            (palette, {}),
            (palette, {"transparency": 0}),
            (palette, {"interlace": 0}),
            (picture, animated),
            (palette, {"comment": b"a bee" * 20}),
        ],
        "BMP": [(picture, {}), (grey, {}), (palette, {}), (picture.convert("1"), {}), (alpha, {})],
    }
    return kinds[name]


def _jpegs(picture: Image.Image) -> list[tuple[Image.Image, Options]]:
    return [
        (picture, {}),
        (picture.convert("L"), {}),
        (picture.convert("CMYK"), {}),
        (picture, {"progressive": True}),
        (picture, {"subsampling": 0, "exif": _exif(), "icc_profile": _icc()}),
        (picture, {"restart_marker_blocks": 2, "comment": b"an ant" * 20}),
    ]


def _encode(name: str, picture: Image.Image, options: Options) -> bytes:
    file = io.BytesIO()
    picture.save(file, name, **options)
    return file.getvalue()


def _exif() -> bytes:
    tags = Image.Exif()
    tags[0x0112] = 6  # orientation: turned by a quarter
    tags[0x010F] = "a camera"
    return tags.tobytes()


def _icc() -> bytes:
    return bytes(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())


def _load(path: Path) -> Image.Image:
    with Image.open(path) as image:
        return image.convert("RGB")


def _fit(picture: Image.Image, side: int) -> Image.Image:
    scale = side / max(picture.size)
    width, height = (max(1, round(length * scale)) for length in picture.size)
    return picture.resize((width, height))


def _draw(rng: random.Random) -> Image.Image:
    """Draw circles of all colours on a gradient: nothing that compresses to almost nothing."""
    picture = Image.radial_gradient("L").resize((400, 300)).convert("RGB")
    pen = ImageDraw.Draw(picture)
    for _ in range(60):
        middle = (rng.randrange(400), rng.randrange(300))
        colour = (rng.randrange(256), rng.randrange(256), rng.randrange(256))
        pen.circle(middle, rng.randrange(4, 40), colour)
    return picture
