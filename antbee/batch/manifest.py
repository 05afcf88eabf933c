"""The list of pictures that a run is about: found, counted, and cut into blocks.

The manifest is a Parquet file with one group of rows a block, so that whoever works on a block
reads that much of it. The list itself is never in memory.
"""

import hashlib
import os
import re
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
from pyarrow import parquet
from pyarrow.fs import FileType

from antbee.batch.storage import Bucket, in_words, is_address, open_bucket
from antbee.command import say
from antbee.errors import DataError
from antbee.files import identity, is_folder
from antbee.images import looks_like_image
from antbee.predict import SUFFIXES, find_pictures
from antbee.results import Outcome

PATH: Final = "path"
PARQUET: Final = b"PAR1"
SCHEMA: Final = pa.schema([(PATH, pa.binary()), ("fault", pa.string())])
"""A path as the system has it, or an address in UTF-8; and why it cannot be read, if that is known
already."""
_MARK: Final = b"\xef\xbb\xbf"  # which some editors put before a text
_NO_TEXT: Final = re.compile(rb"\A(\xff\xfe|\xfe\xff)|[\x01-\x08\x0e-\x1f]")
"""UTF-16, or what no text has; a path may have bytes that are no UTF-8, and a NUL after it."""
_PIECE: Final = 1 << 16  # bytes of a list of which a NUL tells what ends its paths


@dataclass(frozen=True)
class Entry:
    """One picture of a list, or one thing that cannot be read."""

    path: bytes
    fault: str | None = None


@dataclass(frozen=True)
class Listed:
    """What a manifest holds.

    Attributes:
        pictures: how many rows.
        digest: SHA-256 of the paths in their order.
        relative: whether any of them begins at the working folder.
    """

    pictures: int
    digest: str
    relative: bool


def write_manifest(file: Path, entries: Iterable[Entry], rows: int) -> Listed:
    """Write entries as a manifest of blocks of `rows`."""
    digest, count, relative, iterator = hashlib.sha256(), 0, False, iter(entries)
    with parquet.ParquetWriter(file, SCHEMA) as writer:
        while block := list(islice(iterator, rows)):
            for entry in block:
                digest.update(entry.path + b"\0")
            paths = [entry.path for entry in block]
            relative = relative or not all(map(_is_absolute, paths))
            faults = [entry.fault for entry in block]
            writer.write_table(pa.table([paths, faults], SCHEMA), row_group_size=rows)
            count += len(block)
    return Listed(count, digest.hexdigest(), relative)


def _is_absolute(path: bytes) -> bool:
    # Not by a `Path`: of millions that takes seconds.
    return os.path.isabs(path) or is_address(os.fsdecode(path))  # noqa: PTH117


class Manifest:
    """A manifest to read from, block by block."""

    def __init__(self, file: Path | pa.NativeFile) -> None:
        self._file = parquet.ParquetFile(file)

    @property
    def blocks(self) -> int:
        """How many there are."""
        return int(self._file.num_row_groups)

    def rows(self, block: int) -> int:
        """How many pictures a block has."""
        return int(self._file.metadata.row_group(block).num_rows)

    def block(self, block: int) -> list[Entry]:
        """Read a block."""
        table = self._file.read_row_group(block)
        return [Entry(*row) for row in zip(*(one.to_pylist() for one in table), strict=True)]


def find_entries(source: str, out: str) -> Iterator[Entry]:
    """Find the pictures of a folder, a bucket or a list, in the same order at every time.

    Args:
        source: see `python -m antbee.batch --help`.
        out: a folder that is not looked into.

    Raises:
        DataError: there is no such source, or it is none.
    """
    if is_address(source):
        bucket = open_bucket(source)
        with in_words(source):
            (info,) = bucket.filesystem.get_file_info([bucket.path])
        if info.type == FileType.NotFound:
            raise DataError(f"there is no {source}")
        if info.type == FileType.Directory:
            return _entries_of_bucket(source, bucket)
        return _entries_of_list(source, lambda: bucket.filesystem.open_input_file(bucket.path))
    path = Path(source)
    if is_folder(path):
        return _entries_of_folder(path, Path(out))
    if not path.exists():
        raise DataError(f"there is no {source}")
    if not path.is_file():
        raise DataError(f"{source} is no file: a list is read twice, so write it to one")
    return _entries_of_list(source, lambda: pa.OSFile(source))


def _entries_of_folder(path: Path, out: Path) -> Iterator[Entry]:
    passed_over: Counter[str] = Counter()
    for found in find_pictures(path, passed_over, {identity(out)} - {identity(path)}):
        if isinstance(found, Outcome):
            yield Entry(os.fsencode(found.path), str(found.error))
        else:
            yield Entry(os.fsencode(found))
    _say_passed_over(passed_over)


def _entries_of_bucket(source: str, bucket: Bucket) -> Iterator[Entry]:
    with in_words(source):
        # All at once, some 400 bytes a picture: pyarrow gives no part of a listing.
        names = sorted(one.path for one in bucket.find(recursive=True) if one.is_file)
    passed_over, found = Counter[str](), False
    for name in names:
        below = name.removeprefix(bucket.path).lstrip("/").split("/")
        if any(part.startswith(".") for part in below):
            continue
        ending = Path(below[-1]).suffix.lower()
        if ending in SUFFIXES:
            found = True
            yield Entry(f"s3://{name}".encode())
        else:
            passed_over[ending or "no ending"] += 1
    if not found:
        endings = " or ".join(SUFFIXES)
        yield Entry(source.encode(), f"there is no picture in it, nothing called {endings}")
    _say_passed_over(passed_over)


def _say_passed_over(passed_over: Counter[str]) -> None:
    if passed_over:
        endings = ", ".join(sorted(passed_over))
        say(f"{passed_over.total()} other files were passed over ({endings})")


def _entries_of_list(source: str, reopen: Callable[[], pa.NativeFile]) -> Iterator[Entry]:
    """Read a list twice: a path that comes again is found by 8 bytes of each, and left out."""
    with in_words(source):
        hashes = array("q", map(hash, _paths(source, reopen)))
        ordered = np.sort(np.frombuffer(hashes, np.int64)) if hashes else np.empty(0, np.int64)
        again = set(ordered[1:][ordered[1:] == ordered[:-1]].tolist())
        del hashes, ordered
        seen: set[bytes] = set()
        repeated = nothing = 0
        for path in _paths(source, reopen):
            if hash(path) in again:
                if path in seen:
                    repeated += 1
                    continue
                seen.add(path)
            nothing += 1
            yield Entry(path)
    if not nothing:
        raise DataError(f"{source} is empty: there is no picture in it")
    if repeated:
        say(f"{repeated} paths come more than once in {source}: each picture has one row")


def _paths(source: str, reopen: Callable[[], pa.NativeFile]) -> Iterator[bytes]:
    with reopen() as file:
        head = bytes(file.read(_PIECE))
        if head.startswith(PARQUET):
            yield from _paths_of_parquet(source, file)
            return
        if looks_like_image(head):
            raise DataError(f"{source} is a picture: name its folder, or use antbee.predict")
        if _NO_TEXT.search(head):
            raise DataError(f"{source} is no list: it is neither text in UTF-8 nor Parquet")
        file.seek(len(_MARK) if head.startswith(_MARK) else 0)
        end, left = (b"\0", b"") if b"\0" in head else (b"\n", b"")
        while piece := bytes(file.read(_PIECE)):
            *lines, left = (left + piece).split(end)
            yield from filter(None, (line.removesuffix(b"\r") for line in lines))
        if left := left.removesuffix(b"\r"):
            yield left


def _paths_of_parquet(source: str, file: pa.NativeFile) -> Iterator[bytes]:
    content = parquet.ParquetFile(file)
    columns = [one.name for one in content.schema_arrow if _is_text(one.type)]
    if PATH not in columns and len(columns) != 1:
        raise DataError(f"{source} has no column of texts called {PATH}")
    column = PATH if PATH in columns else columns[0]
    for batch in content.iter_batches(1 << 14, columns=[column]):
        for path in batch.column(0).cast(pa.large_binary()).to_pylist():
            if path:
                yield path


def _is_text(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    names = ("string", "large_string", "string_view", "binary", "large_binary", "binary_view")
    return any(getattr(pa.types, f"is_{name}")(kind) for name in names)
