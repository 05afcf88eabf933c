"""A zip of pictures, from anybody: which members are wanted, whether they are safe, unpacking.

Wanted are the regular files at `train/<label>/<file>` and `val/<label>/<file>`, at the top or
under one common folder. Everything else is left in the archive. The standard library only.
"""

import itertools
import lzma
import os
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Final

from antbee.command import say
from antbee.errors import DataError
from antbee.pictures.staging import SPLITS, check_label, check_space, megabytes

MAX_BYTES: Final = 8 * 2**30
"""Of all wanted members, unpacked."""

MAX_RATIO: Final = 100
"""Unpacked over packed; pictures are packed already, so theirs is near 1."""

SMALL: Final = 64 * 2**20
"""Unpacked bytes below which any ratio is harmless."""

_CHUNK: Final = 2**20
_ENCRYPTED: Final = 0x1  # flag bit 0: PKWARE's APPNOTE.TXT, section 4.4.4
_OUTSIDE: Final = re.compile(r"(^|/)\.\.(/|$)|^/|^[A-Za-z]:")

# zipfile raises all of these for a file that is not what it should be.
_FAULTS: Final = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    OSError,
    RuntimeError,
    ValueError,
    OverflowError,
)

Plan = Sequence[tuple[zipfile.ZipInfo, Path]]
"""Members to unpack, and where: `<split>/<label>/<file>`."""


def unpack(
    file: BinaryIO, folder: Path, renames: Mapping[str, str], unwanted: Sequence[str] = ()
) -> None:
    """Unpack the wanted members into an empty folder; say which ones of `unwanted` are left out.

    Args:
        file: the zip, open for reading.
        folder: gets `train/<label>/` and `val/<label>/`.
        renames: label folders of the archive, and what to call them instead.
        unwanted: names of files that are not pictures of their label.

    Raises:
        DataError: it is no zip, is damaged or unsafe, lacks pictures, or the disk has no room.
        OSError: writing failed.
    """
    archive = _open(file)
    members = archive.infolist()
    _check_safe(members)
    plan = _plan([member for member in members if not _is_among(unwanted, member)], renames)
    _check_amount(plan, file.seek(0, os.SEEK_END))
    check_space(folder, sum(member.file_size for member, _ in plan))
    for member, place in plan:
        _extract(archive, member, folder / place)


def _open(file: BinaryIO) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(file)
    except _FAULTS as error:
        raise DataError(
            "it is not a zip file, or not a complete one: get it again, or name another as DATA_URL"
        ) from error


def _check_safe(members: Sequence[zipfile.ZipInfo]) -> None:
    for member in members:
        name = _name(member)
        if _OUTSIDE.search(name):
            raise DataError(
                f"its member {name!r} points outside the folder: do not trust this file"
            )
        kind = stat.S_IFMT(member.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise DataError(f"its member {name!r} is no ordinary file: zip the pictures themselves")
        if member.flag_bits & _ENCRYPTED:
            raise DataError("it is encrypted: unpack it with its password and zip it again")


def _plan(members: Sequence[zipfile.ZipInfo], renames: Mapping[str, str]) -> Plan:
    wanted = [(member, parts) for member in members if (parts := _wanted(member))]
    tops = sorted({parts[:-3] for _, parts in wanted})
    if len(tops) > 1:
        shown = " and ".join("/".join((*top, "train")) for top in tops[:2])
        raise DataError(f"it holds more than one set of pictures, {shown}: leave one")
    if {parts[-3] for _, parts in wanted} != set(SPLITS):
        raise DataError(
            "it lacks pictures at train/<label>/ or val/<label>/, at the top or in one folder: "
            "zip them in that order"
        )
    plan = [
        (member, Path(split, _label(renames.get(label, label)), file))
        for member, (*_, split, label, file) in wanted
    ]
    places = sorted(place for _, place in plan)
    for place, following in itertools.pairwise(places):
        if place == following:
            raise DataError(f"it has more than one file for {str(place)!r}: rename one")
    return plan


def _is_among(unwanted: Sequence[str], member: zipfile.ZipInfo) -> bool:
    path = PurePosixPath(_name(member))
    if path.name not in unwanted:
        return False
    say(f"left out {path}: it is not a picture of a label")
    return True


def _wanted(member: zipfile.ZipInfo) -> tuple[str, ...] | None:
    parts = tuple(part for part in _name(member).split("/") if part not in ("", "."))
    *top, split, _, file = parts if len(parts) in (3, 4) else ("", "", "")
    if member.is_dir() or split not in SPLITS or not file:
        return None
    hidden = any(part.startswith(".") for part in parts)
    return None if hidden or top == ["__MACOSX"] else parts


def _name(member: zipfile.ZipInfo) -> str:
    # Some Windows programs write their own separator, against the format.
    return member.filename.replace("\\", "/")


def _label(name: str) -> str:
    try:
        return check_label(name)
    except ValueError as error:
        raise DataError(f"its folder {error}") from error


def _check_amount(plan: Plan, packed: int) -> None:
    # zipfile reads no more of a member than the size that the archive gives for it.
    unpacked = sum(member.file_size for member, _ in plan)
    if unpacked > MAX_BYTES:
        raise DataError(
            f"it unpacks to {megabytes(unpacked)}, and at most {megabytes(MAX_BYTES)} are "
            "accepted: leave some pictures out"
        )
    if unpacked > SMALL and unpacked > MAX_RATIO * packed:
        raise DataError(
            f"it unpacks to more than {MAX_RATIO} times its size, as pictures never do: "
            "this is a decompression bomb, or broken"
        )


def _extract(archive: zipfile.ZipFile, member: zipfile.ZipInfo, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        file = place.open("xb")
    except FileExistsError as error:
        raise DataError(
            f"it has two files {place.name!r} that this disk cannot tell apart"
        ) from error
    with file:
        for chunk in _chunks(archive, member):
            file.write(chunk)


def _chunks(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Iterator[bytes]:
    try:
        with archive.open(member) as contents:
            while chunk := contents.read(_CHUNK):
                yield chunk
    except _FAULTS as error:
        raise DataError(f"its member {member.filename!r} is damaged: get the file again") from error
