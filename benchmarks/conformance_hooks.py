"""What schemathesis sends where the description says a picture: it would make up bytes."""

import base64
import io

import schemathesis
from hypothesis import strategies
from PIL import Image


def _picture(name: str, size: tuple[int, int]) -> bytes:
    file = io.BytesIO()
    Image.linear_gradient("L").resize(size).convert("RGB").save(file, name)
    return file.getvalue()


SIZES = ((1, 1), (16, 16), (64, 48), (3, 200))
EVERY = {
    name: strategies.sampled_from([_picture(name, size) for size in SIZES])
    for name in ("JPEG", "PNG", "WEBP", "GIF", "BMP")
}
ANY = strategies.one_of(*EVERY.values())

for name, pictures in EVERY.items():
    schemathesis.openapi.media_type(f"image/{name.lower()}", pictures)
schemathesis.openapi.media_type("application/octet-stream", ANY)
schemathesis.openapi.format("byte", ANY.map(lambda data: base64.b64encode(data).decode()))
schemathesis.openapi.format("binary", ANY)
