"""Folders and buckets: where results go, and where pictures and lists are read.

A bucket is one of pyarrow's own file systems. A name in an address is what the bucket calls it, not
its spelling in a URL. Knows nothing of what is in a file, but that pictures have a size.
"""

import errno
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final, Protocol

from pyarrow import ArrowException, NativeFile, OSFile
from pyarrow.fs import FileInfo, FileSelector, FileSystem

from antbee.errors import DataError
from antbee.files import TEMPORARY
from antbee.images import check_head, check_size, read_picture

_ADDRESS: Final = re.compile(r"s3://([^/]+)/?(.*)", re.DOTALL)
_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_MEANT: Final = re.compile(r"s3:", re.IGNORECASE)
"""How what is meant for an address begins, be it one or not."""
TRIES: Final = 10
"""To write a file whose temporary one others delete: each who does that has ended then."""


class Place(Protocol):
    """A folder or bucket that results go to. Its files are small, but for the manifest."""

    def names(self) -> set[str]:
        """What its files are called; none where there is no such folder yet."""

    def open(self, name: str) -> NativeFile:
        """Open a file to read anywhere in it."""

    def read(self, name: str) -> bytes:
        """Read a file."""

    def write(self, name: str, contents: bytes | Path) -> None:
        """Write a file, or copy it from this machine, so that others see all of it or nothing.

        Several processes may write the same file at once: one of them wins.
        """

    def clean(self) -> None:
        """Delete what processes left that were killed while they wrote."""


@dataclass(frozen=True)
class Folder:
    """A folder of this machine, or one that several machines see."""

    path: Path

    def names(self) -> set[str]:
        """See `Place.names`."""
        with suppress(FileNotFoundError):
            return {one.name for one in self.path.iterdir()}
        return set()

    def open(self, name: str) -> NativeFile:
        """See `Place.open`."""
        return OSFile(str(self.path / name))

    def read(self, name: str) -> bytes:
        """See `Place.read`."""
        return (self.path / name).read_bytes()

    def write(self, name: str, contents: bytes | Path) -> None:
        """See `Place.write`."""
        for left in reversed(range(TRIES)):
            try:
                self._write(name, contents)
                break
            except OSError as error:
                # A shard that ended has cleaned meanwhile; ESTALE is how NFS says it.
                if error.errno not in (errno.ENOENT, errno.ESTALE) or not left:
                    raise

    def _write(self, name: str, contents: bytes | Path) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        # Not `write_atomically`, whose temporary file has one name: another process may be at it.
        temporary = self.path / f".{name}.{uuid.uuid4().hex}{TEMPORARY}"
        try:
            with temporary.open("wb") as file:
                if isinstance(contents, bytes):
                    file.write(contents)
                else:
                    with contents.open("rb") as source:
                        shutil.copyfileobj(source, file)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self.path / name)
        finally:
            temporary.unlink(missing_ok=True)

    def clean(self) -> None:
        """See `Place.clean`."""
        for name in self.names():
            if name.startswith(".") and name.endswith(TEMPORARY):
                (self.path / name).unlink(missing_ok=True)


@dataclass(frozen=True)
class Bucket:
    """A part of a bucket. An object appears when all of it is there: nothing is renamed."""

    filesystem: FileSystem
    path: str

    def names(self) -> set[str]:
        """See `Place.names`."""
        return {one.base_name for one in self.find(recursive=False)}

    def find(self, *, recursive: bool) -> list[FileInfo]:
        """Find the objects in it, and what other objects' names begin with, as a folder."""
        where = FileSelector(self.path, recursive=recursive, allow_not_found=True)
        found: list[FileInfo] = self.filesystem.get_file_info(where)
        return found

    def open(self, name: str) -> NativeFile:
        """See `Place.open`."""
        return self.filesystem.open_input_file(f"{self.path}/{name}")

    def read(self, name: str) -> bytes:
        """See `Place.read`."""
        with self.open(name) as file:
            return bytes(file.read())

    def write(self, name: str, contents: bytes | Path) -> None:
        """See `Place.write`."""
        with self.filesystem.open_output_stream(f"{self.path}/{name}", compression=None) as file:
            if isinstance(contents, bytes):
                file.write(contents)
            else:
                with contents.open("rb") as source:
                    shutil.copyfileobj(source, file)

    def clean(self) -> None:
        """See `Place.clean`: an upload that was cut off leaves no object."""


def is_address(text: str) -> bool:
    """Tell whether a text is an address of some kind, and no path of this machine."""
    return bool(_SCHEME.match(text))


def open_bucket(address: str) -> Bucket:
    """Open an address `s3://BUCKET/NAME`.

    Raises:
        DataError: it is none, or the bucket cannot be reached.
    """
    matched = _ADDRESS.fullmatch(address)
    if matched is None:
        raise DataError(f"{address} cannot be opened: name a folder, or s3://BUCKET/FOLDER")
    bucket, name = matched.groups()
    with in_words(address):
        return Bucket(_filesystem(bucket), f"{bucket}/{name}".rstrip("/"))


@cache
def _filesystem(bucket: str) -> FileSystem:
    """Find a bucket's file system once, which asks where the bucket is."""
    # A small object is then one request and all or nothing, not an upload of several parts.
    return FileSystem.from_uri(f"s3://{bucket}?allow_delayed_open=true")[0]


def open_place(text: str) -> Place:
    """Open the folder or bucket that results go to; it need not be there yet.

    Raises:
        DataError: see `open_bucket`.
    """
    if is_address(text) or _MEANT.match(text):
        return open_bucket(text)
    return Folder(Path(text).absolute())


def read_bytes(path: bytes, base: Path) -> bytes:
    """Read what may be a picture: a path of this machine, or an address.

    Args:
        path: as the system has it, or an address in UTF-8.
        base: what a relative path begins at.

    Raises:
        OSError: it cannot be opened.
        DataError: it is no ordinary file, larger than any picture, in no bucket that can be
            reached, or nothing can be called so.
        ImageError: `unsupported_image`.
    """
    name = os.fsdecode(path)
    try:
        if not is_address(name):
            return read_picture(base / name)
        bucket = open_bucket(path.decode())
        with bucket.filesystem.open_input_file(bucket.path) as file:
            check_size(file.size())
            data = bytes(file.read())
    except ValueError as error:  # a NUL in a path; an address that is no text
        raise DataError(f"nothing can have that name: {error}") from error
    check_head(data)
    return data


@contextmanager
def in_words(what: str) -> Iterator[None]:
    """Let what fails with a place be one line.

    Raises:
        DataError: for what the system, pyarrow or the bucket's owner objects to.
    """
    try:
        yield
    except (OSError, ArrowException) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise DataError(f"{what}: {reason}") from error
