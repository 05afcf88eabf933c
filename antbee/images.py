"""Bytes to a checked RGB picture to the network's input. Pillow and NumPy only.

`read_array` is the one way in: training's validation, the packing gate and the server all call it,
so what was measured is what is served.
"""

import hashlib
import io
import math
import re
import stat
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from antbee.errors import AntBeeError, DataError, ImageError
from antbee.metadata import (
    END,
    END_MARKER,
    SCAN,
    another_end,
    has_all_scans,
    lacks_end,
    segments,
    set_metadata_aside,
)

MAX_MEGAPIXELS: Final = 50

_SIGNATURES: Final = {
    "JPEG": re.compile(rb"\xff\xd8\xff"),
    "PNG": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "WEBP": re.compile(rb"RIFF....WEBP", re.DOTALL),
    "GIF": re.compile(rb"GIF8[79]a"),
    "BMP": re.compile(rb"BM"),
}
"""The formats that are read, by Pillow's names, and how a file of each begins."""
_OTHERS: Final = {
    "HEIC": re.compile(rb"....ftyp(hei[cxms]|hev[cxms]|mif1|msf1)", re.DOTALL),
    "AVIF": re.compile(rb"....ftypavi[fs]", re.DOTALL),
    "TIFF": re.compile(rb"II\*\0|MM\0\*"),
}
"""Pictures that people have, and that are not read."""
_HEAD: Final = 16
"""Bytes that tell a format."""
_RUN_LENGTHS: Final = (1, 2)
"""What a BMP's header calls run lengths: BI_RLE8 and BI_RLE4."""
_UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What undoes each value of the EXIF orientation tag (EXIF 2.32, section 4.6.4, tag 274)."""


@dataclass(frozen=True)
class Preprocessing:
    """How a picture becomes the network's input; stored in every packed model.

    The defaults are those of torchvision's ImageNet weights for ResNet: shorter side to 256,
    the central 224 by 224, channels scaled by ImageNet's mean and standard deviation.
    """

    resize: int = 256
    crop: int = 224
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    @classmethod
    def of_size(cls, size: int) -> "Preprocessing":
        """For a network that sees `size` by `size` pixels: the same part of a picture, scaled."""
        default = cls()
        return replace(default, resize=round(size * default.resize / default.crop), crop=size)


IMAGENET: Final = Preprocessing()
MAX_PIXELS: Final = MAX_MEGAPIXELS * 1_000_000
MAX_BYTES: Final = 10 * MAX_PIXELS
"""No picture that is read has a larger file: eight bytes a pixel at most, and something around."""
LARGE: Final = 1_000_000
"""Pixels from which on a picture takes so much memory that several at once must be thought about:
while it is decoded, up to 9 bytes for each, and 17 in a WebP file."""
HUGE: Final = 25_000_000
"""Pixels from which on a picture must be decoded at reduced scale wherever it can be."""
WEBP_WEIGHT: Final = 2
"""How many pixels of other formats a WebP's takes the memory of: its decoder keeps two canvases of
four bytes a pixel and hands over a third, whatever the picture is to become."""
MAX_SIDE: Final = 65_535
"""Pixels of a side, as many as JPEG and GIF can say. A row takes memory of its own, so a picture
one pixel wide would take several times what its pixels do."""
MAX_SCANS: Final = 100
"""Scans of a JPEG, of which encoders write about ten; Skia draws the line here, too. Each goes
through the whole picture, and fits in 50 bytes: a file may keep a core busy for many minutes."""
MAX_RUN_BYTES: Final = 1_000_000
"""Bytes of a BMP in run lengths, which only drawings come in. Pillow decodes these in Python: ten
megabytes take seconds, in which the other threads hardly come to anything."""
REDUCING_GAP: Final = 2
"""How many times larger than needed a JPEG decoded at reduced scale stays; Pillow's own choice for
thumbnails. The decoder averages whole blocks, and the filter after it needs pixels to weigh."""


def configure_pillow() -> None:
    """Let this process read strangers' pictures; each program calls it once.

    The size is checked here, before any pixel is decoded, against a limit that is a setting;
    Pillow's own limit would warn or raise at a different one. And Pillow warns of oddities in words
    taken from the file: Python keeps every distinct warning for ever, so a stranger's files could
    fill the log and the memory.
    """
    Image.MAX_IMAGE_PIXELS = None
    warnings.filterwarnings("ignore", module=r"PIL\.")


def read_array(
    data: bytes,
    preprocessing: Preprocessing = IMAGENET,
    *,
    max_pixels: int = MAX_PIXELS,
    before_large: Callable[[], object] = lambda: None,
) -> NDArray[np.float32]:
    """Turn a picture's file into the network's input, float32 [3, crop, crop].

    The arguments are those of `decode_image`, and so is what it raises.
    """
    side = preprocessing.resize
    image = decode_image(data, max_pixels=max_pixels, shorter_side=side, before_large=before_large)
    return to_array(image, preprocessing)


def decode_image(
    data: bytes,
    *,
    max_pixels: int = MAX_PIXELS,
    shorter_side: int | None = None,
    before_large: Callable[[], object] = lambda: None,
) -> Image.Image:
    """Decode one picture: RGB, upright, as a person would see it on a white page.

    Args:
        data: a JPEG, PNG, WebP, GIF (its first frame) or BMP file.
        max_pixels: the largest width times height; checked before anything is decoded.
        shorter_side: what the picture will be resized to. A JPEG more than twice as large may be
            decoded at a half, a quarter or an eighth of its size, which halves the time that a
            12-megapixel photo takes; None for all its pixels.
        before_large: called before a picture of more than `LARGE` pixels is decoded.

    Raises:
        ImageError: `unsupported_image`, `corrupt_image` or `image_too_large`.
    """
    try:
        file, exif = set_metadata_aside(data)
        unended = lacks_end(file)
        image: Image.Image = _open(file + END_MARKER if unended else file)
        _refuse_costly(image, file, max_pixels)
        pixels = image.width * image.height
        if exif:
            image.info["exif"] = exif
        _draft(image, shorter_side)
        # A progressive JPEG is kept whole until its last pass, however small it is to become.
        if (pixels if "progressive" in image.info else image.width * image.height) > LARGE:
            before_large()
        if unended:
            _load_unended(image, file, shorter_side)
        else:
            image.load()
        # Each step lets go of the picture before it, which takes as much memory as its own.
        orientation = None
        with suppress(Exception):  # broken metadata does not make a picture unreadable
            orientation = image.getexif().get(ExifTags.Base.Orientation)
        if isinstance(orientation, int) and orientation in _UPRIGHT:
            image = image.transpose(_UPRIGHT[orientation])
        return _as_seen(image)
    except (ImageError, MemoryError):
        raise
    except Exception as error:
        if looks_like_image(data):
            message = "the picture is broken or cut short: send the complete file"
            raise ImageError("corrupt_image", message) from error
        raise ImageError("unsupported_image", _describe_other(data)) from error


def _as_seen(image: Image.Image) -> Image.Image:
    """Convert a picture of any mode to RGB, on a white page.

    A large one is converted in strips, so that what the steps in between take is small.
    """
    if image.mode == "RGB" and not image.has_transparency_data:
        return image
    rows = max(1, LARGE // image.width)
    if image.height <= rows:
        return _convert(image)
    page = Image.new("RGB", image.size)
    for top in range(0, image.height, rows):
        strip = image.crop((0, top, image.width, min(top + rows, image.height)))
        page.paste(_convert(strip), (0, top))
    return page


def _convert(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits a pixel: Pillow's own conversion clips at 255
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode != "RGBA" and image.has_transparency_data:
        image = image.convert("RGBA")
    if image.mode == "RGBA":
        # Pasting needs far less memory than compositing two pictures with alpha into a third.
        page = Image.new("RGB", image.size, "white")
        page.paste(image, mask=image.getchannel("A"))
        return page
    return image.convert("RGB")


def to_array(image: Image.Image, preprocessing: Preprocessing = IMAGENET) -> NDArray[np.float32]:
    """Turn an RGB picture into the network's input, float32 [3, crop, crop].

    Resizing and cropping are one step: the central square is resampled straight from the source
    (bilinear, antialiased), which equals resizing the shorter side and then cropping, without
    computing the pixels that the crop would throw away.
    """
    square = image.resize(
        (preprocessing.crop, preprocessing.crop),
        Image.Resampling.BILINEAR,
        box=central_square(image.size, preprocessing),
    )
    return normalize(square, preprocessing)


def normalize(image: Image.Image, preprocessing: Preprocessing = IMAGENET) -> NDArray[np.float32]:
    """Scale an RGB picture's channels by their mean and deviation, float32 [3, height, width]."""
    mean, std = (np.asarray(row, np.float32) for row in (preprocessing.mean, preprocessing.std))
    # Channels first while they are bytes, then in place: a quarter of the time of the other order.
    pixels = np.asarray(image).transpose(2, 0, 1).astype(np.float32, order="C")
    pixels *= (1 / (255 * std))[:, np.newaxis, np.newaxis]
    pixels -= (mean / std)[:, np.newaxis, np.newaxis]
    return pixels


def central_square(
    size: tuple[int, int], preprocessing: Preprocessing = IMAGENET
) -> tuple[float, float, float, float]:
    """The part of a picture that the network sees: left, top, right and bottom, in pixels."""
    side = min(size) * preprocessing.crop / preprocessing.resize
    left, top = (size[0] - side) / 2, (size[1] - side) / 2
    return left, top, left + side, top + side


def looks_like_image(data: bytes) -> bool:
    """Tell whether the first bytes are those of a format that `decode_image` reads."""
    return any(signature.match(data) for signature in _SIGNATURES.values())


def is_picture(path: Path) -> bool:
    """Tell by size and first bytes whether a file may be a picture that is read.

    Raises:
        OSError: it cannot be opened.
    """
    try:
        read_picture(path, at_most=_HEAD)
    except AntBeeError:
        return False
    return True


def read_picture(path: Path, at_most: int = -1) -> bytes:
    """Read a file, if it may be a picture.

    A pipe, which might never end, is not opened; of what is no picture no more is read than tells.

    Raises:
        OSError: it cannot be opened.
        DataError: it is no ordinary file, or larger than any picture.
        ImageError: `unsupported_image`.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise DataError("it is not a file")
    check_size(status.st_size)
    with path.open("rb") as file:
        check_head(file.read(_HEAD))
        file.seek(0)
        return file.read(at_most)


def check_size(size: int) -> None:
    """Refuse a file of more bytes than any picture has.

    Raises:
        DataError: so it is.
    """
    if size > MAX_BYTES:
        raise DataError(f"it is larger than {MAX_BYTES / 1e6:g} MB")


def check_head(data: bytes) -> None:
    """Refuse a file by its first bytes.

    Raises:
        ImageError: `unsupported_image`.
    """
    if not looks_like_image(data[:_HEAD]):
        raise ImageError("unsupported_image", _describe_other(data[:_HEAD]))


def _describe_other(data: bytes) -> str:
    for name, signature in _OTHERS.items():
        if signature.match(data):
            return (
                f"this is a {name} picture, which is not read (`magick mogrify -format jpg FILE` "
                "of ImageMagick converts it): send a JPEG or PNG"
            )
    return "this is not a JPEG, PNG, WebP, GIF or BMP picture: send one of those"


def _refuse_costly(image: Image.Image, data: bytes, max_pixels: int) -> None:
    """Refuse what would take too much memory or time, before any pixel of it is decoded.

    Raises:
        ImageError: `image_too_large` or `corrupt_image`.
    """
    size = f"{image.width} by {image.height} pixels"
    webp = image.format == "WEBP"
    most = max_pixels // WEBP_WEIGHT if webp else max_pixels
    if image.width * image.height > most:
        how = "send a smaller one, or a JPEG" if webp else "send a smaller one"
        raise ImageError(
            "image_too_large",
            f"the picture is {size}; at most {most / 1e6:g} megapixels are accepted"
            f"{' of a WebP' if webp else ''}: {how}",
        )
    if max(image.size) > MAX_SIDE:
        raise ImageError(
            "image_too_large",
            f"the picture is {size}; a side may have at most {MAX_SIDE}: send a smaller one",
        )
    if image.info.get("compression") in _RUN_LENGTHS and len(data) > MAX_RUN_BYTES:
        raise ImageError(
            "image_too_large",
            f"a BMP in run lengths may have at most {MAX_RUN_BYTES / 1e6:g} MB: save it as PNG",
        )
    if image.format not in ("JPEG", "MPO"):
        return
    progressive, components = "progressive" in image.info, getattr(image, "layers", 0)
    scans = 0
    for code, start, _ in segments(data):
        if code == END:  # what looks like a scan in a film behind the picture is none
            break
        if code == SCAN:
            scans += 1
            # libjpeg reads one scan where that has it all, and to look for more takes its time.
            if not progressive and data[start + 4 : start + 5] == bytes((components,)):
                break
        if scans > MAX_SCANS:
            message = f"the JPEG comes in more than {MAX_SCANS} scans: save it anew"
            raise ImageError("corrupt_image", message)


def _open(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data), formats=tuple(_SIGNATURES))


def _draft(image: Image.Image, shorter_side: int | None) -> None:
    """Let a JPEG be decoded at the smallest of its scales at which it is still large enough."""
    gap = REDUCING_GAP if image.width * image.height <= HUGE else 1
    scale = 1 if shorter_side is None else gap * shorter_side / min(image.size)
    if scale < 1:
        # Pillow's JPEG reader takes the smallest of its scales that is not below this size; the
        # other formats pass it over.
        width, height = (math.ceil(side * scale) for side in image.size)
        image.draft(None, (width, height))


def _load_unended(image: Image.Image, file: bytes, shorter_side: int | None) -> None:
    """Decode a JPEG without the marker that ends it, if its pixels are all there.

    They are if they do not depend on what follows, so it is decoded twice, ended in another way.

    Raises:
        EOFError: there are some missing.
    """
    if not has_all_scans(file):
        raise EOFError("scans are missing")
    other = _open(file + another_end(file))
    _draft(other, shorter_side)
    digest = _digest(other)
    del other  # its pixels take as much memory as those to come
    image.load()
    if _digest(image) != digest:
        raise EOFError("pixels are missing")


def _digest(image: Image.Image) -> bytes:
    """Sum up a picture's pixels, a few rows at a time, which take little memory."""
    digest = hashlib.sha256()
    for top in range(0, image.height, 64):
        rows = image.crop((0, top, image.width, min(top + 64, image.height)))
        digest.update(rows.tobytes())
    return digest.digest()
