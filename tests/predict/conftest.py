"""Pictures to predict."""

from pathlib import Path

import pytest

from tests.conftest import encode, noise


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Make a folder of six pictures, two of them in folders below."""
    folder = tmp_path / "pictures"
    for seed, name in enumerate(
        ("b.jpg", "a.PNG", "sub/c.webp", "sub/deep/d.gif", "z.jpeg", "y.bmp")
    ):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(noise(320, 240, seed), format_of(path)))
    return folder


def format_of(path: Path) -> str:
    """Name the format that a file's ending means."""
    return {"jpg": "JPEG"}.get(path.suffix[1:].lower(), path.suffix[1:].upper())
