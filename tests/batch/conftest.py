"""A folder of pictures to classify in blocks."""

from pathlib import Path

import pytest

from tests.conftest import encode, noise

PICTURES = 7


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder of seven small pictures, some of them in a folder below."""
    folder = tmp_path_factory.mktemp("batch") / "pictures"
    (folder / "sub").mkdir(parents=True)
    for seed in range(PICTURES):
        name = f"sub/{seed}.png" if seed > 3 else f"{seed}.jpg"
        (folder / name).write_bytes(encode(noise(64, 48, seed), "PNG" if seed > 3 else "JPEG"))
    return folder


def repeat(pictures: Path, folder: Path, times: int) -> Path:
    """Make a folder in which pictures are linked many times."""
    for turn in range(times):
        for path in pictures.rglob("*.*"):
            link = folder / f"{turn:03}" / path.name
            link.parent.mkdir(parents=True, exist_ok=True)
            link.hardlink_to(path)
    return folder
