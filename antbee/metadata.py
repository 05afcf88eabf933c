"""A picture's file without its metadata, so that none of it decides about pixels.

Pillow unpacks and checks what lies beside the pixels, and gives the whole picture up where any of
it is too large, too short or has a wrong checksum; a browser passes it over. Nothing is unpacked
here. What is no PNG, JPEG or WebP, and what is broken, stays for the decoder to judge, but for a
file in more pieces than any picture has: looking at each takes its time.
"""

import re
import zlib
from collections.abc import Iterator
from typing import Final

SCAN: Final = 0xDA
"""A JPEG's markers (ITU-T T.81, table B.1): the start of a scan,"""
END: Final = 0xD9
"""and the end of the picture."""
END_MARKER: Final = bytes((0xFF, END))
_APP0, _APP1, _APP14, _APP15, _COMMENT = 0xE0, 0xE1, 0xEE, 0xEF, 0xFE
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE: Final = frozenset((0xC2, 0xC6, 0xCA, 0xCE))
_COEFFICIENTS: Final = 64
_COEFFICIENT_BITS: Final = bytes((155 + 101 * number) % 255 for number in range(255))
_MARKER: Final = re.compile(rb"\xff[\xc0-\xcf\xd9-\xfe]")
"""A JPEG's markers, but for those without a segment (ITU-T T.81, section B.1.1.3) and the reserved
ones, 0x02 to 0xBF, which libjpeg passes over without asking for a length."""
_MOST_COMPONENTS: Final = 4
"""Of a JPEG that Pillow opens: grey has one, colours three, and those of print four."""
MOST_PIECES: Final = 100_000
"""Chunks or segments of a file, of which a large picture may have some thousand."""
_EXIF: Final = b"Exif\0\0"
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_PNG_PIXELS: Final = frozenset((b"IHDR", b"PLTE", b"IDAT", b"IEND"))
_PNG_ALPHAS: Final = {0: (2, 2), 2: (6, 6), 3: (1, 256)}
"""By colour type, the least and the most bytes that say what is transparent (PNG, 11.3.2.1)."""
_WEBP_PIXELS: Final = frozenset((b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF"))
_WEBP_METADATA: Final = 0x20 | 0x08 | 0x04
"""A WebP header's flags for a colour profile, EXIF and XMP."""


def set_metadata_aside(data: bytes) -> tuple[bytes, bytes]:
    """Keep what a picture's pixels are made of.

    Returns:
        The file, and its EXIF block, in which cameras write how they were held; empty without one.

    Raises:
        ValueError: it is in more than `MOST_PIECES`.
    """
    if data.startswith(_PNG):
        return _split_png(memoryview(data))
    if data.startswith(b"\xff\xd8\xff"):
        return _split_jpeg(data)
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return _split_webp(memoryview(data))
    return data, b""


def _split_png(data: memoryview) -> tuple[bytes, bytes]:
    kept, exif, at, kind = bytearray(data[:8]), b"", 8, b""
    for _ in _pieces():
        if kind == b"IEND" or at + 8 > len(data):
            break
        kind = bytes(data[at + 4 : at + 8])
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        if not kind.isalpha():
            kept += data[at:]
            break
        if kind in _PNG_PIXELS:
            kept += data[at:end]
        elif kind in (b"tRNS", b"eXIf") and end <= len(data):
            body, checksum = data[at + 8 : end - 4], int.from_bytes(data[end - 4 : end], "big")
            least, most = _PNG_ALPHAS.get(data[25], (0, 0))
            if zlib.crc32(body, zlib.crc32(kind)) != checksum:
                pass  # a browser, too, does without
            elif kind == b"eXIf":
                exif = bytes(body)
            elif least <= len(body) <= most:
                kept += data[at:end]
        at = end
    return bytes(kept), exif


def _split_jpeg(data: bytes) -> tuple[bytes, bytes]:
    kept, exif, rest = bytearray(data[:2]), bytearray(), len(data)
    for code, start, end in segments(data):
        if code in (SCAN, END):
            rest = start
            break
        body = data[start + 4 : end]
        # Two of the metadata say how colours are stored, if they are as long as the decoder wants.
        if (
            not (_APP0 <= code <= _APP15 or code == _COMMENT)
            or (code == _APP0 and body.startswith(b"JFIF\0") and len(body) >= 14)  # noqa: PLR2004
            or (code == _APP14 and body.startswith(b"Adobe") and len(body) >= 12)  # noqa: PLR2004
        ):
            kept += data[start:end]
        elif code == _APP1 and body.startswith(_EXIF):
            exif += body[len(_EXIF) :]
    if len(kept) == rest:  # nothing was left out, and most files need no copy
        return data, bytes(exif)
    return b"".join((kept, memoryview(data)[rest:])), bytes(exif)


def _split_webp(data: memoryview) -> tuple[bytes, bytes]:
    kept, exif, at = bytearray(), b"", 12
    for _ in _pieces():
        if at + 8 > len(data):
            break
        kind, length = bytes(data[at : at + 4]), int.from_bytes(data[at + 4 : at + 8], "little")
        end = at + 8 + length
        chunk = data[at : end + length % 2]
        if kind == b"VP8X" and length:
            kept += chunk
            kept[8 - len(chunk)] &= ~_WEBP_METADATA
        elif kind == b"EXIF":
            exif = bytes(data[at + 8 : end])
        elif kind in _WEBP_PIXELS:
            kept += chunk
            if length % 2 and end == len(data):  # the file ends without the byte that fills up
                kept += b"\0"
        at = end + length % 2
    return b"".join((b"RIFF", (len(kept) + 4).to_bytes(4, "little"), b"WEBP", kept)), exif


def _pieces() -> Iterator[None]:
    for _ in range(MOST_PIECES):
        yield
    raise ValueError(f"a picture in more than {MOST_PIECES} pieces")


def segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Walk through a JPEG: each marker's second byte, and where its segment starts and ends.

    Raises:
        ValueError: there are more than `MOST_PIECES`.
    """
    at = 2
    for _ in _pieces():
        if (marker := _MARKER.search(data, at)) is None:
            break
        at = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2], "big")
        yield marker[0][1], marker.start(), at


def lacks_end(data: bytes) -> bool:
    """Tell whether a JPEG without metadata has no marker that ends it, as many a camera's."""
    return data.startswith(b"\xff\xd8") and data.rfind(END_MARKER) < data.find(b"\xff\xda")


def another_end(data: bytes) -> bytes:
    """Make up what may follow a JPEG that lacks its end: coefficients, and restart markers in turn.

    Where pixels are missing they come out unlike those that the decoder makes up by itself.
    """
    scan = data.rfind(b"\xff\xda")
    places = [data.rfind(bytes((0xFF, 0xD0 + number)), scan) for number in range(8)]
    following = places.index(max(places)) + 1 if max(places) > 0 else 0
    restarts = (bytes((0xFF, 0xD0 + (following + number) % 8)) for number in range(8))
    # After a byte of ones comes a zero, or it would begin a marker.
    begin = b"\0" if data.endswith(b"\xff") else b""
    return begin + b"".join(_COEFFICIENT_BITS + marker for marker in restarts) + END_MARKER


def has_all_scans(data: bytes) -> bool:
    """Tell whether a JPEG's scans bring every coefficient of every component, to its last bit."""
    missing: dict[int, set[int]] = {}
    progressive = False
    for code, start, end in segments(data):
        body = data[start + 4 : end]
        if code in _FRAMES:
            if body[5] > _MOST_COMPONENTS:
                return False
            progressive = code in _PROGRESSIVE
            missing = {body[6 + 3 * one]: set(range(_COEFFICIENTS)) for one in range(body[5])}
        elif code == SCAN:
            count = body[0]
            first, last, bits = body[1 + 2 * count : 4 + 2 * count]
            brought = range(first, last + 1) if progressive else range(_COEFFICIENTS)
            if not (progressive and bits & 15):  # else the last bits come in a later scan
                for component in body[1 : 1 + 2 * count : 2]:
                    missing[component].difference_update(brought)
    return bool(missing) and not any(missing.values())
