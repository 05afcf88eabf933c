"""What schemathesis sends where the description says a picture: it would make up bytes."""

import base64
import io

import schemathesis
from hypothesis import strategies
from PIL import Image


def _pictures(name: str) -> list[bytes]:
    files = []
    for width, height in ((1, 1), (16, 16), (64, 48), (3, 200)):
        file = io.BytesIO()
        Image.linear_gradient("L").resize((width, height)).convert("RGB").save(file, name)
        files.append(file.getvalue())
    return files


EVERY = {name: _pictures(name) for name in ("JPEG", "PNG", "WEBP", "GIF", "BMP")}
ANY = strategies.sampled_from([one for several in EVERY.values() for one in several])

for name, pictures in EVERY.items():
    schemathesis.openapi.media_type(f"image/{name.lower()}", strategies.sampled_from(pictures))
schemathesis.openapi.media_type("application/octet-stream", ANY)
schemathesis.openapi.format("byte", ANY.map(lambda data: base64.b64encode(data).decode()))
schemathesis.openapi.format("binary", ANY)
