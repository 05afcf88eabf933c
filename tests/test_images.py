"""Bytes to pictures to the network's input."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from antbee import images
from antbee.errors import ImageError
from antbee.images import (
    IMAGENET,
    Preprocessing,
    central_square,
    decode_image,
    looks_like_image,
    read_array,
    to_array,
)
from tests.conftest import encode, noise

RED = (220, 30, 20)


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "GIF", "BMP"])
def test_each_format_is_decoded_to_rgb(format_: str) -> None:
    """A JPEG, PNG, WebP, GIF or BMP becomes an RGB picture of its own size and colours."""
    data = encode(Image.new("RGB", (40, 30), RED), format_)

    image = decode_image(data)

    assert (image.mode, image.size) == ("RGB", (40, 30))
    assert np.abs(np.asarray(image, int) - RED).max() <= 8


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied(orientation: int) -> None:
    """A picture that a camera stored on its side or mirrored comes out upright."""
    upright = noise(48, 32)
    stored = upright.transpose(_STORED[orientation]) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation

    image = decode_image(encode(stored, "PNG", exif=exif))

    assert np.array_equal(np.asarray(upright), np.asarray(image))


_STORED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def test_broken_metadata_leaves_the_picture_readable() -> None:
    """EXIF data that makes no sense is ignored."""
    data = encode(noise(40, 30), "JPEG", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\x7fgarbage")

    assert decode_image(data).size == (40, 30)


def test_transparency_shows_a_white_page() -> None:
    """What is transparent looks white, what is half transparent is mixed with white."""
    picture = Image.new("RGBA", (2, 1))
    picture.putpixel((0, 0), (10, 20, 30, 0))
    picture.putpixel((1, 0), (0, 0, 0, 128))

    image = decode_image(encode(picture, "PNG"))

    assert image.getpixel((0, 0)) == (255, 255, 255)
    assert image.getpixel((1, 0)) == (127, 127, 127)


def test_transparent_palette_shows_a_white_page() -> None:
    """A palette's transparent colour looks white."""
    picture = Image.new("P", (1, 1), 0)
    picture.putpalette([200, 0, 0])

    image = decode_image(encode(picture, "GIF", transparency=0))

    assert image.getpixel((0, 0)) == (255, 255, 255)


def test_16_bit_grey_keeps_its_shades() -> None:
    """A 16-bit grey picture is scaled to 8 bits, not clipped to white."""
    shades = np.array([[0, 0x4000, 0x8000, 0xFFFF]], np.uint16)

    image = decode_image(encode(Image.fromarray(shades), "PNG"))

    assert [image.getpixel((x, 0)) for x in range(4)] == [(s, s, s) for s in (0, 64, 128, 255)]


def test_cmyk_looks_as_printed() -> None:
    """A CMYK JPEG becomes the colours that its inks print."""
    data = encode(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG")

    red, green, blue = np.asarray(decode_image(data))[8, 8]

    assert red > 240
    assert max(green, blue) < 16


def test_first_frame_of_an_animation() -> None:
    """An animated picture is its first frame."""
    frames = [Image.new("RGB", (20, 20), colour) for colour in (RED, "blue")]

    image = decode_image(encode(frames[0], "GIF", save_all=True, append_images=frames[1:]))

    assert image.getpixel((10, 10)) == RED


@pytest.mark.parametrize(
    "data",
    [b"hello", b"%PDF-1.7 ...", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"RIFF\0\0\0\0WAVE"],
)
def test_other_files_are_unsupported(data: bytes) -> None:
    """A file that is no picture of ours is unsupported, not corrupt."""
    assert _error(data).code == "unsupported_image"


def test_unread_formats_are_unsupported() -> None:
    """A format that Pillow could read but we do not accept is unsupported."""
    assert _error(encode(noise(20, 20), "TIFF")).code == "unsupported_image"


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "GIF", "BMP"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.95])
def test_cut_short_is_corrupt(format_: str, share: float) -> None:
    """A picture cut anywhere after its signature is corrupt."""
    data = encode(noise(200, 150), format_)
    cut = data[: max(16, int(len(data) * share))]

    assert _error(cut).code == "corrupt_image"


def test_too_many_pixels_are_refused_undecoded() -> None:
    """A picture's size is checked before its pixels are decoded."""
    huge = encode(Image.new("RGB", (64, 64)), "BMP").replace(
        struct.pack("<II", 64, 64), struct.pack("<II", 60_000, 60_000)
    )

    assert _error(huge).code == "image_too_large"


@pytest.mark.parametrize("size", [(70_000, 1), (1, 70_000)])
def test_too_long_sides_are_refused(size: tuple[int, int]) -> None:
    """A picture of few pixels, but of more rows or columns than any camera has, is too large."""
    assert _error(encode(Image.new("1", size), "PNG")).code == "image_too_large"


@pytest.mark.parametrize(("count", "refused"), [(90, False), (100, True), (20_000, True)])
def test_too_many_scans_are_refused(count: int, refused: bool) -> None:
    """A JPEG that goes over its pixels again and again is refused before it is decoded."""
    data = encode(noise(64, 64), progressive=True)
    scans = data[_tables_of_last_scan(data) : -2]
    again = data[:-2] + scans * count + data[-2:]

    if refused:
        assert "scans" in str(_error(again))
    else:
        assert decode_image(again).size == (64, 64)


def test_what_lies_behind_a_jpeg_has_no_scans() -> None:
    """A phone's photo with a film behind it is read, whatever the film's bytes look like."""
    film = b"\xff\xda\x00\x08" * 1000

    assert decode_image(encode(noise(64, 64)) + film).size == (64, 64)


def _tables_of_last_scan(data: bytes) -> int:
    return data.rindex(b"\xff\xc4", 0, data.rindex(b"\xff\xda"))


@pytest.mark.parametrize(("rows", "refused"), [(8, False), (9, True)])
def test_too_many_runs_are_refused(rows: int, refused: bool) -> None:
    """A BMP in run lengths is decoded slowly, so it may not be as long as others."""
    header = struct.pack("<IiiHHIIiiII", 40, 60_000, rows, 1, 8, 1, 0, 0, 0, 0, 0)
    head = struct.pack("<2sIHHI", b"BM", 0, 0, 0, 14 + len(header) + 1024)
    data = head + header + bytes(1024) + (b"\1\7" * 60_000 + b"\0\0") * rows

    if refused:
        assert _error(data).code == "image_too_large"
    else:
        assert decode_image(data).size == (60_000, rows)


def test_limit_is_inclusive() -> None:
    """A picture of exactly the largest size is accepted, one pixel more is not."""
    data = encode(noise(40, 30), "PNG")

    assert decode_image(data, max_pixels=1200).size == (40, 30)
    with pytest.raises(ImageError, match="40 by 30"):
        decode_image(data, max_pixels=1199)


def test_webp_may_have_half_as_many_pixels() -> None:
    """A WebP, which takes twice the memory of other formats, is refused from half their size on."""
    data = encode(noise(40, 30), "WEBP")

    assert decode_image(data, max_pixels=2400).size == (40, 30)
    with pytest.raises(ImageError, match="of a WebP") as caught:
        decode_image(data, max_pixels=2399)
    assert caught.value.code == "image_too_large"


@pytest.mark.parametrize(
    ("mode", "options"),
    [
        *[(mode, {}) for mode in ("1", "L", "LA", "P", "RGBA", "CMYK", "I;16")],
        *[("P", {"transparency": 3}), ("L", {"transparency": 90}), ("RGB", {"transparency": RED})],
        *[(mode, {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0"})
          for mode in ("RGBA", "CMYK")],
    ],
)  # fmt: skip
def test_strips_make_the_same_picture(
    monkeypatch: pytest.MonkeyPatch, mode: str, options: dict[str, object]
) -> None:
    """A large picture, which is converted in strips, looks as it does converted at once."""
    picture = noise(48, 32)
    picture.paste(RED, (9, 9, 20, 20))
    picture = picture.convert("L").convert(mode) if mode == "I;16" else picture.convert(mode)
    if mode in ("LA", "RGBA"):
        picture.putalpha(noise(48, 32, seed=1).convert("L"))
    data = encode(picture, "JPEG" if mode == "CMYK" else "PNG", **options)
    whole = decode_image(data)
    monkeypatch.setattr(images, "LARGE", 48 * 5)
    assert np.array_equal(np.asarray(decode_image(data)), np.asarray(whole))


def test_input_is_the_normalised_central_square() -> None:
    """The network's input is float32 [3, 224, 224] and has ImageNet's mean taken off."""
    array = to_array(Image.new("RGB", (300, 200), (124, 116, 104)))

    assert (array.shape, array.dtype.name) == ((3, 224, 224), "float32")
    assert np.abs(array).max() < 0.01


def test_input_equals_resize_then_crop() -> None:
    """One resampling gives what resizing to 256 and then cropping 224 gives."""
    image = noise(512, 384)
    resized = image.resize((341, 256), Image.Resampling.BILINEAR)
    cropped = np.asarray(resized.crop((58, 16, 282, 240)), float) / 255

    array = to_array(image).transpose(1, 2, 0) * (0.229, 0.224, 0.225) + (0.485, 0.456, 0.406)

    assert np.abs(array - cropped).max() < 0.02


@pytest.mark.parametrize("size", [96, 160, 224, 448])
def test_every_size_shows_the_same_part(size: int) -> None:
    """Whatever the input's size, the shorter side is to it as 256 to 224, to the nearest pixel."""
    preprocessing = Preprocessing.of_size(size)

    part, usual = (central_square((400, 300), one) for one in (preprocessing, IMAGENET))
    assert to_array(noise(400, 300), preprocessing).shape == (3, size, size)
    assert np.abs(np.subtract(part, usual)).max() < 1
    assert Preprocessing.of_size(224) == IMAGENET


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (3, 2)])
def test_any_shape_gives_an_input(size: tuple[int, int]) -> None:
    """Tiny and very narrow pictures give an input too."""
    assert np.isfinite(to_array(decode_image(encode(noise(*size), "PNG")))).all()


def test_signatures_are_recognised(jpeg: bytes) -> None:
    """The first bytes tell a picture from JSON."""
    assert looks_like_image(jpeg)
    assert not looks_like_image(b'{"data": ""}')


def test_a_phone_s_multi_picture_jpeg_is_read() -> None:
    """A JPEG that carries a second picture (MPO) is its first."""
    buffer = io.BytesIO()
    first, second = Image.new("RGB", (20, 20), RED), Image.new("RGB", (20, 20), "blue")
    first.save(buffer, "MPO", save_all=True, append_images=[second])

    red, _, blue = np.asarray(decode_image(buffer.getvalue()))[10, 10]

    assert red > 200
    assert blue < 60


def _error(data: bytes) -> ImageError:
    with pytest.raises(ImageError) as caught:
        decode_image(data)
    return caught.value


def _photo(width: int, height: int) -> Image.Image:
    """Draw something with detail at every scale below a few pixels, as a lens leaves it."""
    return noise(width // 8, height // 8).resize((width, height), Image.Resampling.BICUBIC)


def test_large_jpeg_is_decoded_at_reduced_scale() -> None:
    """A JPEG far larger than the network needs is decoded smaller, and looks the same to it."""
    data = encode(_photo(2400, 1600), "JPEG", quality=90)

    small = decode_image(data, shorter_side=256)

    assert small.size == (1200, 800)
    difference = np.abs(read_array(data) - to_array(decode_image(data)))
    assert difference.mean() < 0.02


@pytest.mark.parametrize(("size", "format_"), [((1000, 520), "JPEG"), ((2400, 1600), "PNG")])
def test_others_keep_every_pixel(size: tuple[int, int], format_: str) -> None:
    """A JPEG near the size that is needed, and any other format, is decoded whole."""
    data = encode(_photo(*size), format_)

    assert decode_image(data, shorter_side=256).size == size
    assert np.array_equal(read_array(data), to_array(decode_image(data)))


def test_reduced_scale_keeps_orientation_and_faults() -> None:
    """A photo decoded at reduced scale is turned upright; one cut short is still corrupt."""
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encode(_photo(2400, 1600), "JPEG", exif=exif)

    assert decode_image(data, shorter_side=256).size == (800, 1200)
    with pytest.raises(ImageError) as caught:
        read_array(data[: len(data) // 2])
    assert caught.value.code == "corrupt_image"


@pytest.mark.parametrize(
    ("width", "format_", "options", "large"),
    [
        (900, "PNG", {}, False),
        (1600, "PNG", {}, True),
        (1600, "JPEG", {}, False),
        (1600, "JPEG", {"progressive": True}, True),
    ],
)
def test_what_takes_much_memory_is_announced(
    width: int, format_: str, options: dict[str, object], large: bool
) -> None:
    """What takes much memory is announced; a JPEG decoded at a part of its size does not."""
    announced: list[bool] = []
    data = encode(noise(width, width), format_, **options)

    read_array(data, before_large=lambda: announced.append(True))

    assert announced == [True] * large
