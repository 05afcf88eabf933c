"""Files made to hurt: small ones that unpack to huge ones, two formats in one, and other formats.

Each is made when it is asked for; none is larger than a body may be. Knows nothing of HTTP.
"""

import gzip
import io
import itertools
import random
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from PIL import Image

from hostile_parts import (
    Bmp,
    animated,
    chunk,
    deflated,
    encode,
    exif_loop,
    gif_sized,
    jpeg,
    jpeg_of_scans,
    jpeg_sized,
    png_full,
    png_of,
    png_with,
    webp_sized,
    webp_with,
    with_chunks,
    with_segments,
)

MEGAPIXELS_50: Final = (10_000, 5_000)
"""The largest picture that is accepted, by default."""
HUGE: Final = (65_000, 65_000)
ZEROS: Final = 1_000_000_000
"""Bytes that a bomb unpacks to; deflate makes a thousandth of them."""

Bomb = Callable[[], bytes]


def bombs() -> Iterator[tuple[str, bytes]]:
    """Give each bomb with what it is."""
    for name, make in _BOMBS.items():
        yield name, make()


def polyglots(files: Mapping[str, bytes]) -> Iterator[tuple[str, bytes]]:
    """Give files that are two things at once.

    Args:
        files: a whole picture for each of the formats that are read.
    """
    script, page = b"/*", b"<html><script>alert(1)</script>"
    photo, png, gif = files["JPEG"], files["PNG"], files["GIF"]
    yield "JPEG and ZIP", photo + _zip()
    yield "ZIP and JPEG", _zip() + photo
    yield "JPEG with ZIP in a comment", with_segments(photo, (0xFE, _zip()))
    yield "JPEG with a page in a comment", with_segments(photo, (0xFE, page))
    yield "GIF and JavaScript", gif[:6] + script + gif[8:] + b"*/=1;alert(1)"
    yield "GIF, then JavaScript", gif + b"\n=1;alert(1)//"
    yield "PNG and HTML", png + page
    yield "PNG with HTML in its text", with_chunks(png, [chunk(b"tEXt", b"Comment\0" + page)])
    yield "HTML and PNG", page + png
    yield "WebP and JavaScript", files["WEBP"] + b"\n*/alert(1)"
    yield "BMP's header on garbage", files["BMP"][:54] + _noise(20_000)
    yield "BM and JavaScript", b"BM=1;alert(1);/*" + files["BMP"]
    for one, other in itertools.permutations(files, 2):
        yield f"{one} with {other} behind it", files[one] + files[other]
        yield f"{one}'s first bytes on {other}", files[one][:12] + files[other][12:]


def other_formats() -> Iterator[tuple[str, bytes]]:
    """Give files of formats that are not read."""
    picture = Image.linear_gradient("L").resize((64, 48)).convert("RGB")
    modes = {"XBM": "1", "MSP": "1"}
    for name in sorted(set(_WRITTEN) & set(Image.SAVE)):
        file = io.BytesIO()
        picture.convert(modes.get(name, "RGB")).save(file, name)
        yield name, file.getvalue()
    for name, head in _HEADS.items():
        yield name, head + _noise(2_000)
    yield from _TEXTS.items()
    yield "gzip", gzip.compress(encode(picture, "PNG"))
    yield "ZIP", _zip()
    yield "base64 of a PNG's first bytes", b"iVBORw0KGgo" * 100
    yield "noise", _noise(5_000)
    yield "zeros", bytes(5_000)


_WRITTEN: Final = (
    *("TIFF", "ICO", "PPM", "TGA", "PCX", "SGI", "JPEG2000", "DDS", "ICNS", "MSP", "XBM"),
    *("PDF", "EPS", "AVIF", "QOI"),
)
"""Formats that Pillow writes, where it was built with what they take."""
_HEADS: Final = {
    "PSD": b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, 64, 64, 8, 3),
    "HEIC": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
    "AVIF's header": b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf",
    "MP4": b"\0\0\0\x18ftypisom\0\0\2\0isomiso2",
    "JPEG XL": b"\xff\x0a",
    "JPEG XL, boxed": b"\0\0\0\x0cJXL \r\n\x87\n",
    "TIFF's header, big-endian": b"MM\0*\0\0\0\x08",
    "BigTIFF": b"II+\0\x08\0\0\0\x10\0\0\0\0\0\0\0",
    "WAV": b"RIFF\x24\0\0\0WAVEfmt ",
    "AVI": b"RIFF\x24\0\0\0AVI LIST",
    "FITS": b"SIMPLE  =                    T".ljust(80),
    "DICOM": bytes(128) + b"DICM",
    "FLIF": b"FLIF44",
    "WMF": b"\xd7\xcd\xc6\x9a\0\0",
    "EMF": b"\1\0\0\0" + bytes(36) + b" EMF",
    "DjVu": b"AT&TFORM\0\0\0\0DJVU",
    "an executable": b"\x7fELF\2\1\1\0",
    "a Windows executable": b"MZ\x90\0\3",
    "a Java class": b"\xca\xfe\xba\xbe\0\0\0\x34",
    "MP3": b"ID3\4\0\0\0\0\0\0",
    "MNG": b"\x8aMNG\r\n\x1a\n",
    "JNG": b"\x8bJNG\r\n\x1a\n",
    "7z": b"7z\xbc\xaf'\x1c",
    "a pickle": b"\x80\4\x95\0\0\0\0\0\0\0\0\x8c\5posix",
}
_TEXTS: Final = {
    "SVG": b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect/></svg>',
    "SVG that reads a file": b'<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY x SYSTEM "file:///etc/'
    b'passwd">]><svg xmlns="http://www.w3.org/2000/svg"><text>&x;</text></svg>',
    "EPS that runs a command": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(%pipe%id)",
    "PDF's header": b"%PDF-1.7\n1 0 obj<</Type/Catalog>>endobj\n%%EOF",
    "MVG": b'push graphic-context\nimage over 0,0 0,0 "|id"\npop graphic-context',
    "XPM": b'/* XPM */\nstatic char *x[] = {"1 1 1 1", "a c #fff", "a"};',
    "HTML": b"<!doctype html><title>no picture</title>",
    "text": b"an ant, or a bee",
    "CSV": b"label,probability\nant,0.5\n",
    "a shell script": b"#!/bin/sh\nid\n",
}


def _zip() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(zipfile.ZipInfo("ant.txt"), "an ant")
    return file.getvalue()


def _noise(count: int) -> bytes:
    return random.Random(0).randbytes(count)  # noqa: S311 - bytes, not a secret


_RUNS: Final = Bmp(MEGAPIXELS_50, 8, 1)
_BOMBS: Final[dict[str, Bomb]] = {
    "PNG of 4,225 megapixels": lambda: png_of(HUGE, 8, 2, deflated(1_000_000)),
    "PNG of 2^31 - 1 by 2^31 - 1": lambda: png_of((2**31 - 1, 2**31 - 1), 8, 2, b""),
    "PNG of 2^32 - 1 by 1": lambda: png_of((2**32 - 1, 1), 16, 6, b""),
    "PNG of 0 by 0": lambda: png_of((0, 0), 8, 2, b""),
    "PNG of 50,000,000 by 1": lambda: png_full((50_000_000, 1), 8, 0),
    "PNG of 1 by 50,000,000": lambda: png_full((1, 50_000_000), 1, 0),
    "PNG of 50 megapixels, grey": lambda: png_full(MEGAPIXELS_50, 8, 0),
    "PNG of 50 megapixels, colour": lambda: png_full(MEGAPIXELS_50, 8, 2),
    "PNG of 50 megapixels, alpha, 16 bits": lambda: png_full(MEGAPIXELS_50, 16, 6),
    "PNG of 50 megapixels, grey and alpha": lambda: png_full(MEGAPIXELS_50, 8, 4),
    "PNG of 50 megapixels, one bit": lambda: png_full(MEGAPIXELS_50, 1, 0),
    "PNG of 50 megapixels, no pixels": lambda: png_of(MEGAPIXELS_50, 8, 2, b""),
    "PNG that unpacks to a gigabyte": lambda: png_of((64, 64), 8, 2, deflated(ZEROS)),
    "PNG, zTXt of a gigabyte": lambda: png_with(chunk(b"zTXt", b"x\0\0" + deflated(ZEROS))),
    "PNG, many zTXt": lambda: png_with(
        *[chunk(b"zTXt", b"x%d\0\0" % number + deflated(1_000_000)) for number in range(500)]
    ),
    "PNG, iTXt of a gigabyte": lambda: png_with(chunk(b"iTXt", b"x\0\1\0\0\0" + deflated(ZEROS))),
    "PNG, iCCP of a gigabyte": lambda: png_with(chunk(b"iCCP", b"x\0\0" + deflated(ZEROS))),
    "PNG, tEXt of 9 MB": lambda: png_with(chunk(b"tEXt", b"x\0" + b"a" * 9_000_000)),
    "PNG, 300,000 tEXt": lambda: png_with(*[chunk(b"tEXt", b"x\0a")] * 300_000),
    "PNG, 300,000 different tEXt": lambda: png_with(
        *[chunk(b"tEXt", b"%d\0a" % number) for number in range(300_000)]
    ),
    "PNG, eXIf of 9 MB": lambda: png_with(chunk(b"eXIf", b"II*\0" + bytes(9_000_000))),
    "PNG, 500,000 empty chunks": lambda: png_with(*[chunk(b"IDAT", b"")] * 500_000),
    "PNG, 500,000 unknown chunks": lambda: png_with(*[chunk(b"abCd", b"")] * 500_000),
    "PNG, palette of 9 MB": lambda: png_with(chunk(b"PLTE", bytes(9_000_000))),
    "PNG of 2,000 frames": lambda: animated("PNG", 2_000),
    "GIF of 4,225 megapixels": lambda: gif_sized(HUGE, (1, 1)),
    "GIF whose frame is larger than its screen": lambda: gif_sized((1, 1), HUGE),
    "GIF of 50 megapixels": lambda: encode(Image.new("P", MEGAPIXELS_50), "GIF"),
    "GIF of 50 megapixels, no pixels": lambda: gif_sized(MEGAPIXELS_50, MEGAPIXELS_50),
    "GIF of 2,000 frames": lambda: animated("GIF", 2_000),
    "GIF, comment of 9 MB": lambda: encode(
        Image.new("P", (64, 64)), "GIF", comment=b"a" * 9_000_000
    ),
    "WebP of 268 megapixels": lambda: webp_sized(16_384),
    "WebP of 2^24 by 2^24": lambda: webp_sized(2**24),
    "WebP of 49 megapixels": lambda: encode(Image.new("RGB", (7_000, 7_000)), "WEBP", method=0),
    "WebP of 49 megapixels, lossless": lambda: encode(
        Image.new("RGBA", (7_000, 7_000)), "WEBP", lossless=True, method=0
    ),
    "WebP of 500 frames": lambda: animated("WEBP", 500),
    "WebP, ICC profile of 9 MB": lambda: webp_with(b"ICCP", bytes(9_000_000)),
    "WebP, EXIF of 9 MB": lambda: webp_with(b"EXIF", bytes(9_000_000)),
    "JPEG of 4,295 megapixels": lambda: jpeg_sized(65_535, 65_535),
    "JPEG of 0 by 64": lambda: jpeg_sized(0, 64),
    "JPEG of 50 megapixels": lambda: jpeg(MEGAPIXELS_50),
    "JPEG of 50 megapixels, no pixels": lambda: jpeg_sized(*MEGAPIXELS_50),
    "JPEG of 50 megapixels, CMYK": lambda: jpeg(MEGAPIXELS_50, "CMYK"),
    "JPEG of 50 megapixels, progressive": lambda: jpeg(
        MEGAPIXELS_50, progressive=True, subsampling=0
    ),
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
    "BMP of 2^31 - 1 by 2^31 - 1": lambda: Bmp((2**31 - 1, 2**31 - 1)).file(b""),
    "BMP of -1 by -1": lambda: Bmp((-1, -1)).file(bytes(4)),
    "BMP from the top down": lambda: Bmp((64, -64)).file(bytes(64 * 64 * 3)),
    "BMP as high as -2^31": lambda: Bmp((1, -(2**31))).file(bytes(4)),
    "BMP of 50 megapixels, no pixels": lambda: Bmp(MEGAPIXELS_50).file(b""),
    "BMP of 50 megapixels, one run": lambda: _RUNS.file(b"\xff\0\0\1"),
    "BMP of 50 megapixels in runs": lambda: _RUNS.file(
        (b"\xff\0" * 39 + b"\x37\0\0\0") * 5_000 + b"\0\1"
    ),
    "BMP of 4,900,000 runs": lambda: _RUNS.file(b"\1\0" * 4_900_000),
    "BMP of 2,400,000 steps": lambda: _RUNS.file(b"\0\2\0\0" * 2_400_000),
    "BMP of long steps": lambda: _RUNS.file(b"\0\2\xff\xff" * 1_000),
    "BMP of 2^32 - 1 colours": lambda: Bmp((64, 64), 8, colours=2**32 - 1).file(bytes(4096)),
    "BMP, bit fields of nothing": lambda: Bmp((64, 64), 32, 3).file(bytes(12 + 64 * 64 * 4)),
}
