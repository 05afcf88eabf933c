"""Whether a file is a picture that can be read, and what it is. Knows nothing of labels."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from antbee.ahead import open_pool, work_ahead
from antbee.command import Bar
from antbee.errors import ImageError
from antbee.files import sha256_of
from antbee.images import decode_image

AHEAD: Final = 64


@dataclass(frozen=True)
class Examined:
    """What reading a file showed.

    Attributes:
        sha256: of its contents; empty if there is a fault.
        size: width and height in pixels of the upright picture; zeros if there is a fault.
        fault: why it cannot be used; None if it can.
    """

    sha256: str
    size: tuple[int, int]
    fault: str | None


def examine_files(paths: Sequence[Path]) -> dict[Path, Examined]:
    """Read and decode every file once."""
    with open_pool() as pool:
        results = work_ahead(pool, _examine, paths, AHEAD)
        found = {}
        with Bar("reading", len(paths)) as bar:
            for path, result in zip(paths, results, strict=True):
                found[path] = result
                bar.update()
        return found


def hash_files(paths: Sequence[Path]) -> dict[Path, str]:
    """Give the SHA-256 of every file that can be opened; nothing is decoded."""
    with open_pool() as pool:
        sums = work_ahead(pool, _hash, paths, AHEAD)
        return {path: one for path, one in zip(paths, sums, strict=True) if one is not None}


def _examine(path: Path) -> Examined:
    if _may_never_end(path):
        return Examined("", (0, 0), "it is no ordinary file")
    try:
        contents = path.read_bytes()
        size = decode_image(contents).size
    except OSError as error:
        return Examined("", (0, 0), str(error.strerror))
    except ImageError as error:
        # What follows the colon is advice to whoever sends a picture to the server.
        return Examined("", (0, 0), str(error).partition(":")[0])
    return Examined(hashlib.sha256(contents).hexdigest(), size, None)


def _hash(path: Path) -> str | None:
    try:
        return None if _may_never_end(path) else sha256_of(path)
    except OSError:
        return None


def _may_never_end(path: Path) -> bool:
    # Reading a pipe waits for somebody who writes to it.
    return path.exists() and not path.is_file() and not path.is_dir()
