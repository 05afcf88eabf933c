"""512 MB are enough."""

import asyncio
import re
import zlib

import httpx
import numpy as np
from PIL import ExifTags, Image

from antbee.images import WEBP_WEIGHT
from tests.conftest import encode
from tests.heroku.container.client import for_seconds, load
from tests.heroku.container.conftest import FIGURES, Scale
from tests.heroku.container.dyno import run_dyno


def largest(megapixels: float) -> list[bytes]:
    """Make the pictures that take the most memory for their size: transparent, and turned.

    A WebP may have half as many pixels as others.
    """
    pictures, exif = [], Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    for most in (megapixels / WEBP_WEIGHT, megapixels):
        side = int((most * 1e6) ** 0.5)
        plane = np.broadcast_to(np.linspace(0, 255, side).astype(np.uint8), (side, side))
        pictures.append(Image.fromarray(np.stack([plane, plane], -1)))
    webp, png = pictures
    return [
        encode(webp.convert("RGBA"), "WEBP", lossless=True, quality=0, method=0, exif=exif),
        encode(png, "PNG", compress_level=1, exif=exif),
    ]


def allowed_megapixels(url: str) -> float:
    """Ask with the beginning of a huge picture what the largest allowed one is."""
    size = (60_000).to_bytes(4, "big") * 2
    header = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + size + b"\x08\x02\0\0\0"
    body = header + zlib.crc32(header[12:]).to_bytes(4, "big") + b"\0\0\0\0IDAT" + bytes(16)
    message = httpx.post(f"{url}/predict", content=body).json()["error"]["message"]
    found = re.search(r"at most ([\d.]+) megapixels", message)
    assert found is not None, message
    return float(found[1])


def test_mixed_load_fits(image: str, mixed: list[bytes], scale: Scale) -> None:
    """Sixteen clients, one photo of 12 megapixels in ten pictures: at most 400 MB, no swap."""
    with run_dyno(image) as dyno, dyno.watched() as memory:
        tally = asyncio.run(load(dyno.port, mixed, for_seconds(scale.load_seconds)))
        state = dyno.state()
    half = len(memory.readings) // 2
    FIGURES["seconds of mixed load"] = scale.load_seconds
    FIGURES["pictures a second under it"] = round(tally.outcomes[200] / scale.load_seconds, 1)
    FIGURES["median milliseconds of a picture"] = round(1000 * float(np.median(tally.seconds)), 1)
    FIGURES["megabytes at its peak"] = round(memory.peak / 1e6)
    FIGURES["megabytes of the peak in its first half"] = round(max(memory.readings[:half]) / 1e6)
    FIGURES["megabytes swapped"] = round(memory.swap / 1e6)

    assert set(tally.outcomes) == {200}
    assert (state["Running"], state["OOMKilled"], memory.swap) == (True, False, 0)
    assert memory.peak <= 400e6


def test_largest_pictures_at_once_fit(image: str, scale: Scale) -> None:
    """A hundred pictures of the largest allowed size at once kill nothing, and none is lost."""
    with run_dyno(image) as dyno, dyno.watched() as memory:
        megapixels, left = allowed_megapixels(dyno.url), scale.burst

        def more() -> bool:
            nonlocal left
            left -= 1
            return left >= 0

        tally = asyncio.run(load(dyno.port, largest(megapixels), more, clients=scale.burst))
        state, workers = dyno.state(), len(dyno.workers())
        small = asyncio.run(load(dyno.port, [encode(Image.new("RGB", (64, 64)))], for_seconds(0.1)))
    FIGURES["largest allowed picture, in megapixels"] = megapixels
    FIGURES["megabytes at the peak of the largest pictures"] = round(memory.peak / 1e6)
    FIGURES["largest pictures answered"] = str(dict(tally.outcomes))

    assert set(tally.outcomes) <= {200, 429, 504}
    assert tally.outcomes[200] > 0
    assert (state["Running"], state["OOMKilled"], workers) == (True, False, 1)
    assert set(small.outcomes) == {200}
