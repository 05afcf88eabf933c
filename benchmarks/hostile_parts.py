"""Files of pictures put together by hand, so that they can say what no encoder would.

Where no pixels are given they are zeros, which deflate to a thousandth.
"""

import functools
import io
import struct
import zlib
from dataclasses import dataclass

from PIL import Image

Size = tuple[int, int]
_SMALL: Size = (64, 64)


def png_of(size: Size, bits: int, colours: int, data: bytes, *more: bytes) -> bytes:
    """Make a PNG.

    Args:
        size: width and height, whatever `data` holds.
        bits: of a sample.
        colours: the colour type: 0 grey, 2 colour, 4 and 6 the same with alpha.
        data: the pixels, deflated.
        more: chunks before them.
    """
    header = struct.pack(">IIBBBBB", *size, bits, colours, 0, 0, 0)
    body = [chunk(b"IHDR", header), *more, chunk(b"IDAT", data), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


def png_full(size: Size, bits: int, colours: int) -> bytes:
    """Make a whole PNG; see `png_of`."""
    channels = {0: 1, 2: 3, 4: 2, 6: 4}[colours]
    row = (size[0] * bits * channels + 7) // 8 + 1
    return png_of(size, bits, colours, deflated(row * size[1]))


def png_with(*more: bytes) -> bytes:
    """Make a small whole PNG with chunks before its pixels."""
    return png_of(_SMALL, 8, 2, deflated(64 * (64 * 3 + 1)), *more)


def chunk(name: bytes, data: bytes) -> bytes:
    """Make a chunk of a PNG."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def with_chunks(png: bytes, chunks: list[bytes]) -> bytes:
    """Put chunks between a PNG's header and what follows it."""
    return png[:33] + b"".join(chunks) + png[33:]


@functools.cache
def deflated(count: int) -> bytes:
    """Compress so many zeros."""
    packer, block = zlib.compressobj(9), bytes(1_000_000)
    whole = b"".join(packer.compress(block) for _ in range(count // len(block)))
    return whole + packer.compress(bytes(count % len(block))) + packer.flush()


def _segment(marker: int, data: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data


def with_segments(file: bytes, *segments: tuple[int, bytes]) -> bytes:
    """Put segments right behind a JPEG's first marker."""
    return file[:2] + b"".join(_segment(*one) for one in segments) + file[2:]


def jpeg(size: Size = _SMALL, mode: str = "RGB", **options: object) -> bytes:
    """Make a whole JPEG."""
    return encode(Image.new(mode, size), "JPEG", **options)


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


def animated(name: str, frames: int) -> bytes:
    """Make a picture of many small frames."""
    first, *others = [Image.new("L", (32, 32), number % 251) for number in range(frames)]
    return encode(first, name, save_all=True, append_images=others, duration=20)


def gif_sized(screen: Size, frame: Size) -> bytes:
    """Make a GIF whose screen and frame have these sizes, with a few bytes of pixels."""
    head = b"GIF89a" + struct.pack("<HHBBB", *screen, 0x80, 0, 0) + bytes(6)
    return head + b"," + struct.pack("<HHHHB", 0, 0, *frame, 0) + b"\x02\x02\x4c\x01\x00;"


@dataclass(frozen=True)
class Bmp:
    """What a BMP says of itself.

    Attributes:
        size: width and height; a negative height is a picture from the top down.
        bits: of a pixel.
        kind: 0 plain, 1 run lengths of 8 bits, 3 bit fields.
        colours: how many the palette has; 0 for all.
    """

    size: Size
    bits: int = 24
    kind: int = 0
    colours: int = 0

    def file(self, data: bytes) -> bytes:
        """Make the file with these bytes as its pixels."""
        about = (*self.size, 1, self.bits, self.kind, 0, 0, 0, self.colours, 0)
        header = struct.pack("<IiiHHIIiiII", 40, *about)
        palette = bytes(1024 if self.bits == 8 else 0)  # noqa: PLR2004 - 256 colours of 4 bytes
        start = 14 + len(header) + len(palette)
        head = struct.pack("<2sIHHI", b"BM", start + len(data), 0, 0, start)
        return head + header + palette + data


def webp_with(name: bytes, data: bytes) -> bytes:
    """Make a WebP with a chunk of its extended form behind the picture."""
    file = encode(Image.new("RGB", (64, 64)), "WEBP", exif=b"Exif\0\0MM\0*", lossless=True)
    file += name + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)
    return file[:4] + struct.pack("<I", len(file) - 8) + file[8:]


def webp_sized(side: int) -> bytes:
    """Make a WebP that says another size of itself."""
    file = bytearray(webp_with(b"XXXX", b""))
    file[24:30] = struct.pack("<I", side - 1)[:3] * 2
    return bytes(file)


def encode(picture: Image.Image, name: str, **options: object) -> bytes:
    """Write a picture as Pillow does."""
    file = io.BytesIO()
    picture.save(file, name, **options)
    return file.getvalue()
