"""Files: found in folders, written so that no kill or full disk leaves a half, and their checksums.

Knows nothing of what is in them.
"""

import hashlib
import os
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Set
from contextlib import suppress
from pathlib import Path
from typing import Final

Buffer = bytes | memoryview

TEMPORARY: Final = ".tmp"
CHECKSUM: Final = ".sha256"
MOST_LISTED: Final = 100_000  # bytes of a checksum file


def write_atomically(
    path: Path, contents: Buffer, before: Callable[[], object] = lambda: None
) -> None:
    """Write a file under a temporary name beside it, flush it to disk, and rename it.

    `before` is called when all is on the disk, before it is renamed.

    Raises:
        OSError: the disk is full, or the folder cannot be written to; what the file held before
            is still there.
    """
    temporary = path.with_name(path.name + TEMPORARY)
    try:
        with temporary.open("wb") as file:
            file.write(contents)
            file.flush()
            os.fsync(file.fileno())
        before()
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the new name, too, is on the disk
    finally:
        os.close(folder)


def write_with_checksum(path: Path, contents: Buffer) -> None:
    """Write a file as `write_atomically` does, and `<name>.sha256` beside it.

    Two files cannot be renamed in one step. So the checksum file first lists the new sum and the
    old one, then the file is replaced, then the old sum goes: after a kill at any instant the
    file on the disk is one of those listed.
    """
    new = hashlib.sha256(contents).hexdigest()
    write_atomically(path, contents, lambda: _list_sums(path, [new, *recorded_sums(path)]))
    _list_sums(path, [new])


def _list_sums(path: Path, sums: Iterable[str]) -> None:
    lines = "".join(f"{one}  {path.name}\n" for one in dict.fromkeys(sums))
    write_atomically(path.with_name(path.name + CHECKSUM), lines.encode())


def recorded_sums(path: Path) -> list[str]:
    """SHA-256 sums that the checksum file beside `path` lists for it; empty without one."""
    listed = path.with_name(path.name + CHECKSUM)
    try:
        # Neither a pipe, which may never end, nor what is far too long.
        if not listed.is_file() or listed.stat().st_size > MOST_LISTED:
            return []
        lines = listed.read_text("utf-8").splitlines()
    except (FileNotFoundError, UnicodeDecodeError):
        return []
    fields = (line.partition("  ") for line in lines)
    return [digest for digest, _, name in fields if name == path.name]


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's contents, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def walk(top: Path, elsewhere: Set[object] = frozenset()) -> tuple[list[Path], list[OSError]]:
    """Find the files in and below a folder, each folder's own first, sorted, hidden ones left out.

    Links are followed. Each real folder is entered once; one that `top` lies in, or that is
    `elsewhere` by its `identity`, is not, wherever a link to it is.

    Returns:
        The files, what cannot be reached among them; and why a folder could not be listed.
    """
    files: list[Path] = []
    faults: list[OSError] = []
    for found in find(top, elsewhere):
        if isinstance(found, OSError):
            faults.append(found)
        else:
            files.append(found)
    return files, faults


def find(top: Path, elsewhere: Set[object] = frozenset()) -> Iterator[Path | OSError]:
    """Find what `walk` does, one at a time; why a folder could not be listed comes in its place."""
    left = [top]
    entered = {*elsewhere, *map(identity, top.resolve().parents)} - {identity(top)}
    while left:
        folder = left.pop()
        if identity(folder) in entered:
            continue
        entered.add(identity(folder))
        try:
            with os.scandir(folder) as entries:
                names = sorted(one.name for one in entries if not one.name.startswith("."))
        except OSError as error:
            yield error
            continue
        below = []
        for path in (folder / name for name in names):
            if is_folder(path):
                below.append(path)
            else:
                yield path
        left += reversed(below)


def is_folder(path: Path) -> bool:
    """Tell whether there is a folder, as far as this user can see."""
    with suppress(OSError):
        return path.is_dir()
    return False


def canonical(name: str) -> str:
    """Spell a name as others do: é is one character on some systems, and two on others."""
    return unicodedata.normalize("NFC", name)


def identity(path: Path) -> object:
    """Tell one real folder from another, whatever links lead to it."""
    with suppress(OSError):
        status = path.stat()
        return status.st_dev, status.st_ino
    return path


def remove_temporaries(*paths: Path) -> None:
    """Delete what an earlier process, killed while it wrote these files, left beside them.

    What cannot be deleted stays: whoever writes there next meets the reason, and can say it.
    """
    for path in paths:
        for name in (path.name, path.name + CHECKSUM):
            with suppress(OSError):
                path.with_name(name + TEMPORARY).unlink()
