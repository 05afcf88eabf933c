"""Files made to hurt: small ones that unpack to huge ones, two formats in one, and other formats.

Put together by hand where no encoder would say such things. Each is made when it is asked for;
none is larger than a body may be. Knows nothing of HTTP.
"""

import functools
import gzip
import io
import itertools
import random
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from PIL import Image

from hostile.cases import named

Size = tuple[int, int]

SMALL: Final = (64, 64)
LARGE: Final = (10_000, 5_000)
"""The largest picture that is accepted, by default: 50 megapixels."""
HUGE: Final = (65_000, 65_000)
SQUARE: Final = (7_000, 7_000)
ZEROS: Final = 1_000_000_000
"""Bytes that a bomb unpacks to; deflate makes a thousandth of them."""


def encode(picture: Image.Image, name: str, **options: object) -> bytes:
    """Write a picture as Pillow does."""
    file = io.BytesIO()
    picture.save(file, name, **options)
    return file.getvalue()


def animated(name: str, frames: int) -> bytes:
    """Make a picture of many small frames."""
    first, *others = [Image.new("L", (32, 32), number % 251) for number in range(frames)]
    return encode(first, name, save_all=True, append_images=others, duration=20)


@functools.cache
def deflated(count: int) -> bytes:
    """Compress so many zeros."""
    packer, block = zlib.compressobj(9), bytes(1_000_000)
    whole = b"".join(packer.compress(block) for _ in range(count // len(block)))
    return whole + packer.compress(bytes(count % len(block))) + packer.flush()


def chunk(name: bytes, data: bytes) -> bytes:
    """Make a chunk of a PNG."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(
    *chunks: bytes, size: Size = SMALL, bits: int = 8, colours: int = 2, data: bytes | None = None
) -> bytes:
    """Make a PNG.

    Args:
        chunks: before its pixels.
        size: width and height, whatever `data` holds.
        bits: of a sample.
        colours: the colour type: 0 grey, 2 colour, 4 and 6 the same with alpha.
        data: the pixels, deflated; by default as many zeros as there ought to be.
    """
    if data is None:
        row = (size[0] * bits * {0: 1, 2: 3, 4: 2, 6: 4}[colours] + 7) // 8 + 1
        data = deflated(row * size[1])
    header = struct.pack(">IIBBBBB", *size, bits, colours, 0, 0, 0)
    body = [chunk(b"IHDR", header), *chunks, chunk(b"IDAT", data), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


def jpeg(size: Size = SMALL, mode: str = "RGB", **options: object) -> bytes:
    """Make a whole JPEG."""
    return encode(Image.new(mode, size), "JPEG", **options)


def with_segments(file: bytes, *segments: tuple[int, bytes]) -> bytes:
    """Put segments, each a marker and its data, right behind a JPEG's first marker."""
    more = [struct.pack(">BBH", 255, marker, len(data) + 2) + data for marker, data in segments]
    return file[:2] + b"".join(more) + file[2:]


def jpeg_sized(height: int, width: int) -> bytes:
    """Make a small JPEG that says another size of itself."""
    file = jpeg()
    start = file.index(b"\xff\xc0") + 5
    return file[:start] + struct.pack(">HH", height, width) + file[start + 4 :]


def jpeg_of_scans(side: int, count: int) -> bytes:
    """Make a progressive JPEG with its scans again and again: each is for the whole picture."""
    file = jpeg((side, side), progressive=True)
    start, end = file.index(b"\xff\xc4"), len(file) - 2
    scans = file[start:end]
    return file[:start] + scans * min(count, 9_000_000 // len(scans)) + file[end:]


def exif_loop() -> bytes:
    """Make a JPEG whose EXIF leads back to itself, and counts more tags than there are bytes."""
    entry = struct.pack("<HHII", 0x8769, 4, 1, 8)
    tags = b"II*\0\x08\0\0\0" + struct.pack("<H", 0xFFFF) + entry * 4000 + struct.pack("<I", 8)
    return with_segments(jpeg(), (0xE1, b"Exif\0\0" + tags))


def gif(screen: Size, frame: Size) -> bytes:
    """Make a GIF whose screen and frame have these sizes, with a few bytes of pixels."""
    head = b"GIF89a" + struct.pack("<HHBBB", *screen, 0x80, 0, 0) + bytes(6)
    return head + b"," + struct.pack("<HHHHB", 0, 0, *frame, 0) + b"\x02\x02\x4c\x01\x00;"


def webp(name: bytes = b"XXXX", data: bytes = b"", side: int = 64) -> bytes:
    """Make a WebP with a chunk of its extended form behind the picture, and of whatever size."""
    file = encode(Image.new("RGB", SMALL), "WEBP", exif=b"Exif\0\0MM\0*", lossless=True)
    file += name + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)
    said = struct.pack("<I", side - 1)[:3] * 2
    return file[:4] + struct.pack("<I", len(file) - 8) + file[8:24] + said + file[30:]


def bmp(data: bytes, size: Size = SMALL, bits: int = 24, kind: int = 0, colours: int = 0) -> bytes:
    """Make a BMP.

    Args:
        data: the pixels.
        size: width and height; a negative height is a picture from the top down.
        bits: of a pixel.
        kind: 0 plain, 1 run lengths of 8 bits, 3 bit fields.
        colours: how many the palette has; 0 for all.
    """
    header = struct.pack("<IiiHHIIiiII", 40, *size, 1, bits, kind, 0, 0, 0, colours, 0)
    palette = bytes(1024 if bits == 8 else 0)  # noqa: PLR2004 - 256 colours of 4 bytes
    start = 14 + len(header) + len(palette)
    return struct.pack("<2sIHHI", b"BM", start + len(data), 0, 0, start) + header + palette + data


def runs(data: bytes) -> bytes:
    """Make a BMP of 50 megapixels that is run-length encoded."""
    return bmp(data, LARGE, 8, 1)


def zipped() -> bytes:
    """Make a ZIP."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(zipfile.ZipInfo("ant.txt"), "an ant")
    return file.getvalue()


def noise(count: int) -> bytes:
    """Make so many random bytes, always the same."""
    return random.Random(0).randbytes(count)  # noqa: S311 - bytes, not a secret


def polyglots(files: Mapping[str, bytes]) -> Iterator[tuple[str, bytes]]:
    """Give files that are two things at once.

    Args:
        files: a whole picture for each of the formats that are read.
    """
    script, page = b"/*", b"<html><script>alert(1)</script>"
    photo, png, gif = files["JPEG"], files["PNG"], files["GIF"]
    yield "JPEG and ZIP", photo + zipped()
    yield "ZIP and JPEG", zipped() + photo
    yield "JPEG with ZIP in a comment", with_segments(photo, (0xFE, zipped()))
    yield "JPEG with a page in a comment", with_segments(photo, (0xFE, page))
    yield "GIF and JavaScript", gif[:6] + script + gif[8:] + b"*/=1;alert(1)"
    yield "GIF, then JavaScript", gif + b"\n=1;alert(1)//"
    yield "PNG and HTML", png + page
    yield "PNG with HTML in its text", png[:33] + chunk(b"tEXt", b"Comment\0" + page) + png[33:]
    yield "HTML and PNG", page + png
    yield "WebP and JavaScript", files["WEBP"] + b"\n*/alert(1)"
    yield "BMP's header on garbage", files["BMP"][:54] + noise(20_000)
    yield "BM and JavaScript", b"BM=1;alert(1);/*" + files["BMP"]
    for one, other in itertools.permutations(files, 2):
        yield f"{one} with {other} behind it", files[one] + files[other]
        yield f"{one}'s first bytes on {other}", files[one][:12] + files[other][12:]


def other_formats() -> Iterator[tuple[str, bytes]]:
    """Give files of formats that are not read."""
    picture = Image.linear_gradient("L").resize((64, 48)).convert("RGB")
    for name in sorted(WRITTEN & Image.SAVE.keys()):
        yield name, encode(picture.convert("1") if name in ("XBM", "MSP") else picture, name)
    for name, head in named("first_bytes").items():
        yield name, head + noise(2_000)
    yield from named("whole_files").items()
    yield "gzip", gzip.compress(encode(picture, "PNG"), mtime=0)
    yield "ZIP", zipped()
    yield "noise", noise(5_000)


WRITTEN: Final = {
    *("TIFF", "ICO", "PPM", "TGA", "PCX", "SGI", "JPEG2000", "DDS", "ICNS", "MSP", "XBM"),
    *("PDF", "EPS", "AVIF", "QOI"),
}
"""Formats that Pillow writes, where it was built with what they take."""
BOMBS: Final[dict[str, Callable[[], bytes]]] = {
    "PNG of 4,225 megapixels": lambda: png(size=HUGE, data=deflated(1_000_000)),
    "PNG of 2^31 - 1 by 2^31 - 1": lambda: png(size=(2**31 - 1, 2**31 - 1), data=b""),
    "PNG of 2^32 - 1 by 1": lambda: png(size=(2**32 - 1, 1), bits=16, colours=6, data=b""),
    "PNG of 0 by 0": lambda: png(size=(0, 0), data=b""),
    "PNG of 50,000,000 by 1": lambda: png(size=(50_000_000, 1), colours=0),
    "PNG of 1 by 50,000,000": lambda: png(size=(1, 50_000_000), bits=1, colours=0),
    "PNG of 50 megapixels, grey": lambda: png(size=LARGE, colours=0),
    "PNG of 50 megapixels, colour": lambda: png(size=LARGE),
    "PNG of 50 megapixels, alpha, 16 bits": lambda: png(size=LARGE, bits=16, colours=6),
    "PNG of 50 megapixels, grey and alpha": lambda: png(size=LARGE, colours=4),
    "PNG of 50 megapixels, one bit": lambda: png(size=LARGE, bits=1, colours=0),
    "PNG of 50 megapixels, no pixels": lambda: png(size=LARGE, data=b""),
    "PNG that unpacks to a gigabyte": lambda: png(data=deflated(ZEROS)),
    "PNG, zTXt of a gigabyte": lambda: png(chunk(b"zTXt", b"x\0\0" + deflated(ZEROS))),
    "PNG, many zTXt": lambda: png(
        *[chunk(b"zTXt", b"x%d\0\0" % number + deflated(1_000_000)) for number in range(500)]
    ),
    "PNG, iTXt of a gigabyte": lambda: png(chunk(b"iTXt", b"x\0\1\0\0\0" + deflated(ZEROS))),
    "PNG, iCCP of a gigabyte": lambda: png(chunk(b"iCCP", b"x\0\0" + deflated(ZEROS))),
    "PNG, tEXt of 9 MB": lambda: png(chunk(b"tEXt", b"x\0" + b"a" * 9_000_000)),
    "PNG, 300,000 tEXt": lambda: png(*[chunk(b"tEXt", b"x\0a")] * 300_000),
    "PNG, 300,000 different tEXt": lambda: png(
        *[chunk(b"tEXt", b"%d\0a" % number) for number in range(300_000)]
    ),
    "PNG, eXIf of 9 MB": lambda: png(chunk(b"eXIf", b"II*\0" + bytes(9_000_000))),
    "PNG, 500,000 empty chunks": lambda: png(*[chunk(b"IDAT", b"")] * 500_000),
    "PNG, 500,000 unknown chunks": lambda: png(*[chunk(b"abCd", b"")] * 500_000),
    "PNG, palette of 9 MB": lambda: png(chunk(b"PLTE", bytes(9_000_000))),
    "PNG of 2,000 frames": lambda: animated("PNG", 2_000),
    "GIF of 4,225 megapixels": lambda: gif(HUGE, (1, 1)),
    "GIF whose frame is larger than its screen": lambda: gif((1, 1), HUGE),
    "GIF of 50 megapixels": lambda: encode(Image.new("P", LARGE), "GIF"),
    "GIF of 50 megapixels, no pixels": lambda: gif(LARGE, LARGE),
    "GIF of 2,000 frames": lambda: animated("GIF", 2_000),
    "GIF, comment of 9 MB": lambda: encode(Image.new("P", SMALL), "GIF", comment=b"a" * 9_000_000),
    "WebP of 268 megapixels": lambda: webp(side=16_384),
    "WebP of 2^24 by 2^24": lambda: webp(side=2**24),
    "WebP of 49 megapixels": lambda: encode(Image.new("RGB", SQUARE), "WEBP", method=0),
    "WebP of 49 megapixels, lossless": lambda: encode(
        Image.new("RGBA", SQUARE), "WEBP", lossless=True, method=0
    ),
    "WebP of 500 frames": lambda: animated("WEBP", 500),
    "WebP, ICC profile of 9 MB": lambda: webp(b"ICCP", bytes(9_000_000)),
    "WebP, EXIF of 9 MB": lambda: webp(b"EXIF", bytes(9_000_000)),
    "JPEG of 4,295 megapixels": lambda: jpeg_sized(65_535, 65_535),
    "JPEG of 0 by 64": lambda: jpeg_sized(0, 64),
    "JPEG of 50 megapixels": lambda: jpeg(LARGE),
    "JPEG of 50 megapixels, no pixels": lambda: jpeg_sized(*LARGE),
    "JPEG of 50 megapixels, CMYK": lambda: jpeg(LARGE, "CMYK"),
    "JPEG of 50 megapixels, progressive": lambda: jpeg(LARGE, progressive=True, subsampling=0),
    "JPEG of 1 by 50,000": lambda: jpeg((1, 50_000)),
    "JPEG of 1,000 scans": lambda: jpeg_of_scans(512, 1_000),
    "JPEG of 100 scans of 16 megapixels": lambda: jpeg_of_scans(4_096, 100),
    "JPEG, EXIF that leads to itself": exif_loop,
    "JPEG, 100 EXIF segments": lambda: with_segments(
        jpeg(), *[(0xE1, b"Exif\0\0" + bytes(65_000))] * 100
    ),
    "JPEG, ICC profile of 9 MB": lambda: with_segments(
        jpeg(),
        *[(0xE2, b"ICC_PROFILE\0" + bytes((part, 140)) + bytes(65_000)) for part in range(1, 141)],
    ),
    "JPEG, 1,000,000 comments": lambda: with_segments(jpeg(), *[(0xFE, b"")] * 1_000_000),
    "JPEG, 9 MB before its picture": lambda: b"\xff\xd8" + b"\xff" * 9_000_000 + jpeg()[2:],
    "BMP of 2^31 - 1 by 2^31 - 1": lambda: bmp(b"", (2**31 - 1, 2**31 - 1)),
    "BMP of -1 by -1": lambda: bmp(bytes(4), (-1, -1)),
    "BMP from the top down": lambda: bmp(bytes(64 * 64 * 3), (64, -64)),
    "BMP as high as -2^31": lambda: bmp(bytes(4), (1, -(2**31))),
    "BMP of 50 megapixels, no pixels": lambda: bmp(b"", LARGE),
    "BMP of 50 megapixels, one run": lambda: runs(b"\xff\0\0\1"),
    "BMP of 50 megapixels in runs": lambda: runs(
        (b"\xff\0" * 39 + b"\x37\0\0\0") * 5_000 + b"\0\1"
    ),
    "BMP of 4,900,000 runs": lambda: runs(b"\1\0" * 4_900_000),
    "BMP of 2,400,000 steps": lambda: runs(b"\0\2\0\0" * 2_400_000),
    "BMP of long steps": lambda: runs(b"\0\2\xff\xff" * 1_000),
    "BMP of 2^32 - 1 colours": lambda: bmp(bytes(4096), bits=8, colours=2**32 - 1),
    "BMP, bit fields of nothing": lambda: bmp(bytes(12 + 64 * 64 * 4), bits=32, kind=3),
}
"""Made when they are sent: some are large, and take a second."""
