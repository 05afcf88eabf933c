"""Files made to hurt: broken pictures, small ones that unpack to huge ones, and what is no picture.

The same seed gives the same bytes. Put together by hand where no encoder would say such things;
none is larger than a body may be. Knows nothing of HTTP.
"""

import functools
import io
import itertools
import random
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import yaml
from PIL import Image, ImageCms

Size = tuple[int, int]

CASES: Final[dict[str, Any]] = yaml.safe_load(Path(__file__).with_name("cases.yaml").read_bytes())
SIDES: Final = (320, 64, 17, 1)
"""Pixels of the longer side of what is broken: small enough that thousands are quick to send."""
HEADER: Final = 64  # bytes in which a file says what it is, how large and in how many colours
EDGES: Final = tuple(number.to_bytes(4) for number in (0, 2**32 - 1, 2**31 - 1, 2**31, 2**24))
"""Lengths and sizes at which programs go wrong, in one order of bytes or the other."""
NAMES: Final = tuple(name.encode("latin-1") for name in CASES["names"])
"""What a length stands before or behind."""
SMALL: Final = (64, 64)
LARGE: Final = (10_000, 5_000)  # the largest picture that is accepted, by default: 50 megapixels
SQUARE: Final = (7_000, 7_000)
HUGE: Final = (65_000, 65_000)
ZEROS: Final = 1_000_000_000  # bytes that a bomb unpacks to; deflate makes a thousandth of them
MOST: Final = 9_000_000  # bytes that fit into a body, with what is around them

NOISE: Final = random.Random(0).randbytes(20_000)  # noqa: S311 - bytes, not a secret
ZIP: Final = b"PK\5\6" + bytes(18)  # an empty one
FRAME: Final = b"\xff\xc0"  # a JPEG's segment that holds its height and width, 5 bytes behind it

_PROFILE: Final = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
_EXIF: Final = Image.Exif()
_EXIF.update({0x0112: 6, 0x010F: "a camera"})  # turned by a quarter
_ABOUT: Final = {"exif": _EXIF, "icc_profile": _PROFILE[:24] + bytes(12) + _PROFILE[36:]}  # no date
_FRAMES: Final = {"save_all": True, "duration": 50}
KINDS: Final[tuple[tuple[str, str, dict[str, Any]], ...]] = (
    *(("JPEG", mode, {}) for mode in ("RGB", "L", "CMYK")),
    ("JPEG", "RGB", {"progressive": True, "subsampling": 0, **_ABOUT}),
    ("JPEG", "RGB", {"restart_marker_blocks": 2, "comment": b"an ant" * 20}),
    *(("PNG", mode, {}) for mode in ("RGB", "L", "P", "RGBA", "LA", "1", "I;16")),
    ("PNG", "P", {"transparency": 0}),
    *(("WEBP", mode, {"lossless": lossless}) for mode in ("RGB", "RGBA") for lossless in (0, 1)),
    ("WEBP", "RGB", _ABOUT),
    *(("GIF", "P", {}), ("GIF", "P", {"interlace": 0})),
    ("GIF", "P", {"transparency": 0, "comment": b"a bee" * 20}),
    *((name, "RGB", _FRAMES) for name in ("PNG", "WEBP", "GIF")),
    *(("BMP", mode, {}) for mode in ("RGB", "L", "P", "1", "RGBA")),
)
"""The formats that are read, the modes that each has, and how each is saved."""


def text(case: str | list[Any]) -> str:
    """Write out a text of `cases.yaml`."""
    return case if isinstance(case, str) else f"{case[0]}{case[1] * case[2]}{case[3]}"


def encode(picture: Image.Image, name: str, **options: object) -> bytes:
    """Write a picture as Pillow does."""
    file = io.BytesIO()
    picture.save(file, name, **options)
    return file.getvalue()


def originals() -> dict[str, list[bytes]]:
    """Draw three pictures; whole files, in several sizes and in every kind of each format."""
    files: dict[str, list[bytes]] = {}
    # Smooth random colours: nothing that compresses to almost nothing.
    cells = np.random.default_rng(0).integers(0, 256, (3, 30, 40, 3), np.uint8)
    for one, side in itertools.product(cells, SIDES):
        size = (side, max(1, side * 3 // 4))
        picture = Image.fromarray(one).resize(size, Image.Resampling.BICUBIC)
        grey, alpha = picture.convert("L"), picture.convert("RGBA")
        alpha.putalpha(grey)
        modes = {"RGBA": alpha, "LA": alpha.convert("LA"), "I;16": grey.convert("I;16")}
        modes |= {mode: picture.convert(mode) for mode in ("RGB", "L", "CMYK", "1", "P")}
        for name, mode, options in KINDS:
            more = {"append_images": [picture.rotate(90)]} if options is _FRAMES else {}
            files.setdefault(name, []).append(encode(modes[mode], name, **options, **more))
    return files


def mutated(rng: random.Random, files: Sequence[bytes]) -> bytes:
    """Take one of the files and break it, in one place or in some."""
    data = bytearray(rng.choice(files))
    for _ in range(rng.choice((1, 1, 2, 5, 20))):
        # Anywhere, and as often in the header, where it matters more.
        start = rng.randrange(max(1, rng.choice((len(data), min(len(data), HEADER)))))
        if rng.random() < 1 / 4:
            # PNG has the length before the name, RIFF and JPEG behind it.
            name = rng.choice(NAMES)
            if (found := data.find(name, rng.randrange(len(data) // 2 + 1))) >= 0:
                start = max(0, found + rng.choice((-4, len(name))))
            data[start : start + 4] = rng.choice(EDGES)[:: rng.choice((1, -1))]
            continue
        some = slice(start, start + rng.choice((1, 1, rng.randrange(1, 200))))
        old = bytes(data[some])
        flipped = bytes(byte ^ 1 << rng.randrange(8) for byte in old)
        other = rng.choice((bytes(len(old)), b"\x7f" * len(old), b"\xff" * len(old)))
        noisy = rng.randbytes(len(old))
        data[some] = rng.choice((flipped, other, noisy, noisy + old, b"", old * 2, old * 51))
    if rng.random() < 1 / 8:
        other = rng.choice(files)
        return bytes(data[: rng.randrange(len(data) + 1)]) + other[rng.randrange(len(other)) :]
    return bytes(data)


def polyglots(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Make files that are two things at once of a whole picture for each format that is read."""
    page, photo, gif = b"<html><script>alert(1)</script>", files["JPEG"], files["GIF"]
    made = {
        "JPEG and ZIP": photo + ZIP,
        "ZIP and JPEG": ZIP + photo,
        "JPEG with a page in a comment": with_segments(photo, (0xFE, page)),
        "GIF and JavaScript": gif[:6] + b"/*" + gif[8:] + b"*/=1;alert(1)",
        "PNG and HTML": files["PNG"] + page,
        "HTML and PNG": page + files["PNG"],
        "BMP's header on garbage": files["BMP"][:54] + NOISE,
        "BM and JavaScript": b"BM=1;alert(1);/*" + files["BMP"],
    }
    for one, other in itertools.permutations(files, 2):
        made[f"{one} with {other} behind it"] = files[one] + files[other]
        made[f"{one}'s first bytes on {other}"] = files[one][:12] + files[other][12:]
    return made


def other_formats() -> dict[str, bytes]:
    """Make files of formats that are not read; those of `cases.yaml` begin as theirs do."""
    picture = Image.linear_gradient("L").resize((64, 48)).convert("RGB")
    # Pillow writes some of them only where it was built with what they take.
    made = {name: encode(picture, name) for name in CASES["written_formats"] if name in Image.SAVE}
    for name, head in CASES["other_formats"].items():
        made[name] = text(head).encode("latin-1") + NOISE[:2_000]
    return made | {"ZIP": ZIP, "noise": NOISE[:5_000], "zeros": bytes(5_000)}


@functools.cache
def deflated(count: int) -> bytes:
    """Compress so many zeros."""
    packer, block = zlib.compressobj(9), bytes(1_000_000)
    whole = b"".join(packer.compress(block) for _ in range(count // len(block)))
    return whole + packer.compress(bytes(count % len(block))) + packer.flush()


def chunk(name: bytes, data: bytes = b"") -> bytes:
    """Make a chunk of a PNG."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(
    *chunks: bytes, size: Size = SMALL, bits: int = 8, colours: int = 2, data: bytes | None = None
) -> bytes:
    """Make a PNG with whole chunks before its pixels.

    `data` are the pixels, deflated, whatever `size` says; by default as many zeros as there ought
    to be. `bits` are of a sample, `colours` the colour type: 0 grey, 2 colour, 6 colour and alpha.
    """
    if data is None:
        row = (size[0] * bits * {0: 1, 2: 3, 6: 4}[colours] + 7) // 8 + 1
        data = deflated(row * size[1])
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", *size, bits, colours, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + chunk(b"IDAT", data) + chunk(b"IEND")


def plain(name: str, size: Size = SMALL, mode: str = "RGB", **options: object) -> bytes:
    """Make a whole picture of one colour."""
    return encode(Image.new(mode, size), name, **options)


def animated(name: str, frames: int) -> bytes:
    """Make a picture of many small frames."""
    first, *others = [Image.new("L", (32, 32), number % 251) for number in range(frames)]
    return encode(first, name, save_all=True, append_images=others, duration=20)


def with_segments(file: bytes, *segments: tuple[int, bytes]) -> bytes:
    """Put segments, each a marker and its data, right behind a JPEG's first marker."""
    more = [struct.pack(">BBH", 255, marker, len(data) + 2) + data for marker, data in segments]
    return file[:2] + b"".join(more) + file[2:]


def patched(file: bytes, mark: bytes, skip: int, numbers: str, *values: int) -> bytes:
    """Overwrite numbers, as `struct` writes them, so many bytes behind the first of a mark."""
    start = file.index(mark) + skip
    return file[:start] + struct.pack(numbers, *values) + file[start + struct.calcsize(numbers) :]


def bmp(form: tuple[int, int, int], data: bytes, size: Size = LARGE) -> bytes:
    """Make a BMP: its bits, compression and colours are what the header says, as is its size."""
    bits, kind, colours = form
    head = patched(plain("BMP", (1, 1), "L")[:-4], b"BM", 18, "<iiHHI", *size, 1, bits, kind)
    return patched(head, b"BM", 46, "<I", colours) + data


def jpeg_of_scans(side: int, count: int) -> bytes:
    """Make a progressive JPEG with its scans again and again: each is for the whole picture."""
    file = plain("JPEG", (side, side), progressive=True)
    start, end = file.index(b"\xff\xc4"), len(file) - 2
    scans = file[start:end]
    return file[:start] + scans * min(count, MOST // len(scans)) + file[end:]


def exif_loop() -> bytes:
    """Make a JPEG whose EXIF leads back to itself, and counts more tags than there are bytes."""
    entry = struct.pack("<HHII", 0x8769, 4, 1, 8)
    tags = b"II*\0\x08\0\0\0" + struct.pack("<H", 0xFFFF) + entry * 4000 + struct.pack("<I", 8)
    return with_segments(plain("JPEG"), (0xE1, b"Exif\0\0" + tags))


BOMBS: Final[dict[str, Callable[[], bytes]]] = {
    "PNG of 4,225 MP": lambda: png(size=HUGE, data=deflated(1_000_000)),
    "PNG of 2^31 - 1 by 2^31 - 1": lambda: png(size=(2**31 - 1, 2**31 - 1), data=b""),
    "PNG of 0 by 0": lambda: png(size=(0, 0), data=b""),
    "PNG of 50,000,000 by 1": lambda: png(size=(50_000_000, 1), colours=0),
    "PNG of 1 by 50,000,000": lambda: png(size=(1, 50_000_000), bits=1, colours=0),
    "PNG of 50 MP, alpha, 16 bits": lambda: png(size=LARGE, bits=16, colours=6),
    "PNG of 50 MP, one bit": lambda: png(size=LARGE, bits=1, colours=0),
    "PNG of 50 MP, no pixels": lambda: png(size=LARGE, data=b""),
    "PNG that unpacks to a gigabyte": lambda: png(data=deflated(ZEROS)),
    "PNG, zTXt of a gigabyte": lambda: png(chunk(b"zTXt", b"x\0\0" + deflated(ZEROS))),
    "PNG, iCCP of a gigabyte": lambda: png(chunk(b"iCCP", b"x\0\0" + deflated(ZEROS))),
    "PNG, 300,000 tEXt": lambda: png(*[chunk(b"tEXt", b"%d\0a" % n) for n in range(300_000)]),
    "PNG, eXIf of 9 MB": lambda: plain("PNG", exif=b"Exif\0\0II*\0" + bytes(MOST)),
    "PNG, 500,000 unknown chunks": lambda: png(*[chunk(b"abCd")] * 500_000),
    "PNG, palette of 9 MB": lambda: png(chunk(b"PLTE", bytes(MOST))),
    "GIF of 4,225 MP": lambda: patched(plain("GIF"), b"GIF8", 6, "<HH", *HUGE),
    "GIF, frame beyond its screen": lambda: patched(plain("GIF"), b",\0\0\0\0", 5, "<HH", *HUGE),
    "GIF of 50 MP": lambda: plain("GIF", LARGE, "P"),
    "GIF of 2,000 frames": lambda: animated("GIF", 2_000),
    "PNG of 2,000 frames": lambda: animated("PNG", 2_000),
    "WebP of 268 MP": lambda: patched(plain("WEBP"), b"\x9d\x01\x2a", 3, "<HH", 16_383, 16_383),
    "WebP of 49 MP": lambda: plain("WEBP", SQUARE, method=0),
    "WebP of 49 MP, lossless": lambda: plain("WEBP", SQUARE, "RGBA", lossless=True, method=0),
    "WebP of 500 frames": lambda: animated("WEBP", 500),
    "WebP, EXIF of 9 MB": lambda: plain("WEBP", exif=b"Exif\0\0II*\0" + bytes(MOST)),
    "JPEG of 4,295 MP": lambda: patched(plain("JPEG"), FRAME, 5, ">HH", 65_535, 65_535),
    "JPEG of 0 by 64": lambda: patched(plain("JPEG"), FRAME, 5, ">HH", 64, 0),
    "JPEG of 50 MP": lambda: plain("JPEG", LARGE, "CMYK"),
    "JPEG of 50 MP, no pixels": lambda: patched(plain("JPEG"), FRAME, 5, ">HH", *LARGE),
    "JPEG of 50 MP, progressive": lambda: plain("JPEG", LARGE, progressive=True),
    "JPEG of 1,000 scans": lambda: jpeg_of_scans(512, 1_000),
    "JPEG of 100 scans of 16 MP": lambda: jpeg_of_scans(4_096, 100),
    "JPEG, EXIF that leads to itself": exif_loop,
    "JPEG, ICC profile of 9 MB": lambda: plain("JPEG", icc_profile=bytes(MOST)),
    "JPEG, 1,000,000 comments": lambda: with_segments(plain("JPEG"), *[(0xFE, b"")] * 1_000_000),
    "JPEG, 9 MB before its picture": lambda: b"\xff\xd8" + b"\xff" * MOST + plain("JPEG")[2:],
    "BMP of 2^31 - 1 by 2^31 - 1": lambda: bmp((24, 0, 0), b"", (2**31 - 1, 2**31 - 1)),
    "BMP as high as -2^31": lambda: bmp((24, 0, 0), bytes(4), (1, -(2**31))),
    "BMP of 50 MP, no pixels": lambda: bmp((24, 0, 0), b""),
    "BMP of 50 MP, one run": lambda: bmp((8, 1, 0), b"\xff\0\0\1"),
    "BMP of 4,500,000 runs": lambda: bmp((8, 1, 0), b"\1\0" * (MOST // 2)),
    "BMP of 50 MP in runs": lambda: bmp((8, 1, 0), (b"\xff\0" * 39 + b"\x37\0\0\0") * 5_000),
    "BMP of 240,000 steps": lambda: bmp((8, 1, 0), b"\0\2\0\0" * 240_000),
    "BMP of 2^32 - 1 colours": lambda: bmp((8, 0, 2**32 - 1), bytes(4096), SMALL),
    "BMP, bit fields of nothing": lambda: bmp((32, 3, 0), bytes(12 + 64 * 64 * 4), SMALL),
}
"""Made when they are sent: some are large, and take a second."""
