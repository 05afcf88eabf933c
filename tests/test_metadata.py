"""Pictures whose pixels are all there, whatever is wrong beside them."""

import struct
import time
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image

from antbee import metadata
from antbee.errors import ImageError
from antbee.images import decode_image
from antbee.metadata import SCAN, has_all_scans, segments, set_metadata_aside
from tests.conftest import encode, noise

PICTURE = noise(100, 80)
PNG, JPEG = encode(PICTURE, "PNG"), encode(PICTURE)
TURNED = Image.Exif()
TURNED[0x0112] = 6


def chunk(kind: bytes, body: bytes, checksum: int | None = None) -> bytes:
    """Make a PNG's chunk; its checksum is right unless another is given."""
    checksum = zlib.crc32(kind + body) if checksum is None else checksum
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checksum)


def segment(code: int, body: bytes) -> bytes:
    """Make a JPEG's segment."""
    return struct.pack(">BBH", 0xFF, code, len(body) + 2) + body


def riff(body: bytes, size: int) -> bytes:
    """Make a WebP file that says it has so many bytes."""
    return b"RIFF" + struct.pack("<I", size) + b"WEBP" + body


def assert_whole(data: bytes, whole: bytes) -> None:
    """Hold a file to the pixels of another."""
    assert np.array_equal(np.asarray(decode_image(data)), np.asarray(decode_image(whole)))


ZIPPED = zlib.compress(b"workflow" * 500_000)


@pytest.mark.parametrize(
    "odd",
    [
        chunk(b"zTXt", b"prompt\0\0" + ZIPPED),
        chunk(b"iTXt", b"prompt\0\1\0\0\0" + ZIPPED),
        chunk(b"iCCP", b"profile\0\0" + ZIPPED),
        chunk(b"zTXt", b"prompt\0\7"),
        *(
            chunk(kind, b"\0" * 32, checksum=7)
            for kind in (b"tEXt", b"iCCP", b"eXIf", b"gAMA", b"tRNS", b"acTL", b"prVt")
        ),
        *(
            chunk(kind, b"\1")
            for kind in (b"iCCP", b"pHYs", b"gAMA", b"cHRM", b"acTL", b"fcTL", b"tRNS", b"eXIf")
        ),
    ],
)
def test_a_png_is_its_pixels(odd: bytes) -> None:
    """Text, profiles and the like may be large, cut, or wrong by their checksum, at either end."""
    assert_whole(PNG[:33] + odd + PNG[33:], PNG)
    assert_whole(PNG[:-12] + odd + PNG[-12:], PNG)


@pytest.mark.parametrize(
    "odd",
    [
        segment(0xE0, b"JFIF\0\1"),
        segment(0xE1, b"Exif\0\0MM\0*\0\0\0\x08\0\x05"),
        segment(0xE2, b"ICC_PROFILE\0"),
        segment(0xE2, b"MPF\0II*\0"),
        segment(0xED, b"Photoshop 3.0\x008BIM\x04\x04"),
        segment(0xEE, b"Adobe"),
        segment(0xFE, b""),
        b"\xff\xe5\0\1",
    ],
)
def test_a_jpeg_is_its_pixels(odd: bytes) -> None:
    """Application segments may be shorter than what they begin with."""
    assert_whole(JPEG[:2] + odd + JPEG[2:], JPEG)


def test_a_webp_is_its_pixels() -> None:
    """Metadata may be cut off, broken or announced and missing, and the file's length wrong."""
    webp = encode(PICTURE, "WEBP", lossless=True, exif=TURNED, xmp=b"<x/>" * 50)
    exif, whole = webp.index(b"EXIF"), encode(PICTURE.transpose(Image.Transpose.ROTATE_270), "PNG")

    assert_whole(webp[:-30], whole)
    assert_whole(webp[:4] + bytes(4) + webp[8:], whole)
    assert_whole(webp[:exif], PNG)
    assert_whole(webp[: exif + 8] + b"\xff" * 20 + webp[exif + 28 :], PNG)


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP"])
def test_how_a_camera_was_held_is_kept(format_: str) -> None:
    """Of all metadata, the orientation alone is asked for."""
    data = encode(PICTURE, format_, exif=TURNED)
    file, exif = set_metadata_aside(data)

    assert TURNED.tobytes()[6:] in exif
    assert b"MM\0*" not in file
    assert decode_image(data).size == (80, 100)


def test_what_colours_mean_is_kept() -> None:
    """Transparency, and a JPEG's own transformation of colours, are no metadata."""
    grey = encode(Image.new("L", (4, 4), 9), "PNG", transparency=9)
    assert decode_image(grey).getpixel((0, 0)) == (255, 255, 255)

    cyan = encode(Image.new("CMYK", (16, 16), (255, 0, 0, 0)), "JPEG")
    assert set_metadata_aside(cyan)[0] == cyan


def test_other_pictures_are_named() -> None:
    """A phone's HEIC, and what else people have, is called what it is."""
    for data, name in ((b"\0\0\0\x18ftypheic", "HEIC"), (b"II*\0\x08\0\0\0", "TIFF")):
        with pytest.raises(ImageError, match=f"this is a {name} picture") as caught:
            decode_image(data)
        assert caught.value.code == "unsupported_image"


def test_nothing_is_unpacked() -> None:
    """Text and a profile that would take a hundred megabytes take nothing."""
    bomb = zlib.compress(bytes(50_000_000))
    odd = chunk(b"zTXt", b"x\0\0" + bomb) + chunk(b"iCCP", b"x\0\0" + bomb)

    tracemalloc.start()
    try:
        decode_image(PNG[:33] + odd + PNG[33:])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 2_000_000


@pytest.mark.parametrize(
    "file",
    [
        PNG[:33] + chunk(b"IDAT", b"") * 10_000 + PNG[33:],
        JPEG[:2] + segment(0xFE, b"") * 10_000 + JPEG[2:],
        JPEG[:2] + segment(0xDB, b"") * 10_000 + JPEG[2:],
        b"RIFF\0\0\0\0WEBP" + b"ALPH\0\0\0\0" * 10_001,
    ],
    ids=("PNG", "comments", "tables", "WebP"),
)
def test_more_pieces_than_any_picture_has_are_refused(
    file: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is cut into as many pieces as there is room for is corrupt, and takes no more memory."""
    monkeypatch.setattr(metadata, "MOST_PIECES", 10_000)
    tracemalloc.start()
    try:
        with pytest.raises(ImageError) as caught:
            decode_image(file)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert caught.value.code == "corrupt_image"
    assert isinstance(caught.value.__cause__, ValueError)
    assert peak < 3 * len(file)


def test_an_exif_block_in_pieces_is_put_together_once() -> None:
    """As many segments as are looked at do not take a time that grows with their square."""
    pieces = segment(0xE1, b"Exif\0\0" + bytes(800)) * 10_000
    began = time.process_time()
    _, exif = set_metadata_aside(JPEG[:2] + pieces + JPEG[2:])

    assert len(exif) == 8_000_000
    assert time.process_time() - began < 0.5


def test_a_reserved_marker_hides_nothing() -> None:
    """The decoder takes no length from it, so that what follows counts: a scan, for one."""
    scan = segment(0xDA, b"\1\1\0\0\x3f\0")
    data = b"\xff\xd8" + b"".join(
        bytes((0xFF, code, 0, 2 + len(scan))) + scan for code in (0x02, 0x4F, 0xBF)
    )

    assert [code for code, _, _ in segments(data)] == [SCAN] * 3


def test_no_picture_has_more_than_four_components() -> None:
    """A frame that says it has more is not gone into, though its scans would bring them all."""
    for count in (4, 5):
        components = b"".join(bytes((one, 0x11, 0)) for one in range(count))
        frame = segment(0xC0, bytes((8, 0, 8, 0, 8, count)) + components)
        brought = b"".join(bytes((one, 0)) for one in range(count))
        scan = segment(0xDA, bytes((count,)) + brought + b"\0\x3f\0")

        assert has_all_scans(b"\xff\xd8" + frame + scan) == (count == 4)


@pytest.mark.parametrize(
    "options",
    [{}, {"progressive": True}, {"restart_marker_blocks": 5}, {"quality": 95, "subsampling": 0}],
)
def test_a_jpeg_without_its_end_is_whole(options: dict[str, object]) -> None:
    """Of a JPEG's last bytes those of the marker may be missing, and none before it."""
    data = encode(PICTURE, "JPEG", **options)

    assert_whole(data[:-1], data)
    assert_whole(data[:-2], data)
    assert_whole(data[:-2] + bytes(30), data)
    for missing in range(3, len(data) - 20, 37):
        with pytest.raises(ImageError) as caught:
            decode_image(data[:-missing])
        assert caught.value.code == "corrupt_image"


def test_a_jpeg_without_its_last_scans_is_corrupt() -> None:
    """A progressive JPEG that ends between two of its scans lacks what they would bring."""
    data = encode(PICTURE, "JPEG", progressive=True)
    at = [place for place in range(len(data)) if data.startswith(b"\xff\xda", place)]

    assert len(at) > 5
    for place in at[1:]:
        with pytest.raises(ImageError, match="cut short"):
            decode_image(data[:place])
