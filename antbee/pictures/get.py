"""Fills a folder with the `train/<label>/` and `val/<label>/` of a zip, from a disk or the network.

`get_data.sh` calls this, and knows the official archive's address, checksum and labels. Wanted are
the regular files in and below `train/<label>/` and `val/<label>/`, which may be called `valid` or
`validation`, and `test/<label>/`, if there is one, at the top of the zip or in one folder; the rest
is left in it. The standard library only: it runs before anything is installed.
"""

import argparse
import errno
import hashlib
import http.client
import io
import lzma
import os
import posixpath
import re
import shutil
import signal
import socket
import ssl
import stat
import struct
import sys
import tempfile
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import IO, Final
from urllib.parse import urlsplit

from antbee.command import DONE, run, say
from antbee.errors import DataError

SPLITS: Final = ("train", "val")
VAL: Final = ("val", "valid", "validation")  # what other programs call the second
SOURCE: Final = "source.txt"  # beside the splits: one line, where the pictures came from

TIMEOUT: Final = 30.0  # seconds without a byte after which a server is given up
MAX_BYTES: Final = 8 * 2**30  # of a download, and of all the pictures of a zip
MAX_RATIO: Final = 100  # unpacked over packed; pictures are packed already: theirs is near 1
SMALL: Final = 64 * 2**20  # bytes; what unpacks to less may have any ratio

_CHUNK: Final = 2**16  # bytes
_REDRAW: Final = 0.1  # seconds
_TAKEN: Final = "DATA_URL takes https://..., file:///... or a path to a zip"
_OTHERWISE: Final = "try again, give a copy as DATA_URL=FILE.zip, or draw pictures with --sample"

_OUTSIDE: Final = re.compile(r"(^|/)\.\.(/|$)|^/|^[A-Za-z]:")
_HIDDEN: Final = re.compile(r"(^|/)\.|^__MACOSX/")
_PICTURE: Final = re.compile(rf"(?:([^/]+)/)?(train|{'|'.join(VAL)}|test)/([^/]+)/(.+)")

# zipfile raises all of these for a file that is not what it should be.
_DAMAGED: Final = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError)
_FAULTS: Final = (*_DAMAGED, OSError, RuntimeError, ValueError, OverflowError)

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_FILLED: Final = "another process filled it meanwhile; nothing in it was changed"
_REMEDIES: Final = {
    "free some space and run this again": (errno.ENOSPC, errno.EDQUOT),
    "name a folder that you may write to": (errno.EACCES, errno.EPERM, errno.EROFS),
    "name a folder": (errno.ENOTDIR,),
    "it is a mount point, so name a folder in it": (errno.EBUSY,),
    _FILLED: (errno.ENOTEMPTY, errno.EEXIST),
}


class HttpsRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, as far as they keep to https."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        """Refuse to go on without encryption."""
        if urlsplit(newurl).scheme != "https":
            fp.close()
            raise DataError(f"{redacted(req.full_url)} leads on to an address that is not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m antbee.pictures.get", description=__doc__)
    parser.add_argument("source", help="https://..., file:///... or a path to a zip")
    parser.add_argument("folder", type=Path, help="a missing or empty folder")
    parser.add_argument("--sha256", metavar="SUM", help="what the zip must have")
    parser.add_argument(
        "--rename",
        metavar="OLD=NEW",
        type=_rename,
        action="append",
        default=[],
        help="call the archive's label folder OLD NEW instead; may be repeated",
    )
    parser.add_argument(
        "--leave-out",
        metavar="FILE",
        action="append",
        default=[],
        help="name of a file that is not a picture of its label; may be repeated",
    )
    options = parser.parse_args(argv)
    return run(lambda: fill(**vars(options)))


def fill(
    source: str,
    folder: Path,
    *,
    rename: Sequence[tuple[str, str]] = (),
    leave_out: Sequence[str] = (),
    sha256: str | None = None,
) -> int:
    """Fill a missing or empty folder from a zip.

    Args:
        source: `https://...`, `file:///...` or a path.
        folder: gets `train/<label>/` and `val/<label>/`.
        rename: label folders of the archive, and what to call them instead.
        leave_out: names of files that are not pictures of their label.
        sha256: of the zip, in hexadecimal; None leaves it unchecked.

    Raises:
        DataError: there is no such zip, it cannot be used, or the folder cannot be filled.
    """
    path = find_local(source)
    with staged(folder) as stage, path.open("rb") if path else fetched(source, stage) as file:
        try:
            unpack(file, stage, dict(rename), leave_out, sha256)
        except DataError as error:
            raise DataError(f"{redacted(source)} cannot be used: {error}") from error
        origin = path.name if path else redacted(source)
        (stage / SOURCE).write_text(f"{origin}\n", encoding="utf-8")
    report(folder)
    return DONE


def find_local(source: str) -> Path | None:
    """Return the path of the zip that a path or a file address means, None for an https address.

    Raises:
        DataError: it is neither of these, or there is no such file.
    """
    path = Path(source)
    if "://" in source:
        try:
            address = urlsplit(source)
        except ValueError as error:
            raise DataError(f"{source} is not an address: {_TAKEN}") from error
        if address.scheme == "https":
            return None
        if address.scheme != "file":
            raise DataError(f"{address.scheme}:// is not accepted: {_TAKEN}")
        if address.netloc not in ("", "localhost"):
            raise DataError(f"{source} names a host: write file:///, then the path from the root")
        path = Path(urllib.request.url2pathname(address.path))
    if not os.access(path, os.F_OK) or not path.is_file():
        raise DataError(f"there is no file {path}: {_TAKEN}")
    if not os.access(path, os.R_OK):
        raise DataError(f"{path} cannot be read: {os.strerror(errno.EACCES)}")
    return path


@contextmanager
def fetched(url: str, folder: Path) -> Iterator[io.BufferedRandom]:
    """Download into a nameless file on a folder's disk, gone when it is closed or its process dies.

    A terminal shows how far it is.

    Raises:
        DataError: nothing, or not all of it, could be downloaded.
        OSError: the file could not be written.
    """
    opener = urllib.request.build_opener(HttpsRedirects())
    # Some servers turn away urllib's own name. The scheme is settled: `find_local` and the
    # opener let nothing but https pass.
    request = urllib.request.Request(url, headers={"User-Agent": "antbee"})  # noqa: S310
    with tempfile.TemporaryFile(dir=folder) as file:
        with _network_faults_named(url):
            response = opener.open(request, timeout=TIMEOUT)
        with response:
            length = response.headers.get("Content-Length", "")
            total = int(length) if length.isdecimal() else 0
            check_space(folder, total)
            say(f"downloading {redacted(url)}" + (f" ({megabytes(total)})" if total else ""))
            done, drawn = 0, 0.0
            try:
                while True:
                    with _network_faults_named(url):  # and not the disk's
                        chunk = response.read(_CHUNK)
                        if not chunk and done < total:
                            raise http.client.IncompleteRead(b"")
                    if not chunk:
                        break
                    done += len(chunk)
                    if done > MAX_BYTES:
                        raise DataError(f"{redacted(url)} is larger than {megabytes(MAX_BYTES)}")
                    file.write(chunk)
                    if sys.stderr.isatty() and (
                        done == total or time.monotonic() - drawn > _REDRAW
                    ):
                        drawn, filled = time.monotonic(), "#" * (30 * done // total if total else 0)
                        bar = f"  [{filled:.<30}] {100 * done // total:3d} %" if total else ""
                        print(f"\r{megabytes(done):>10}{bar}", end="", file=sys.stderr, flush=True)
            finally:
                if sys.stderr.isatty():
                    print(file=sys.stderr)
        file.seek(0)
        yield file


def redacted(source: str) -> str:
    """Leave out of an address what may be secret: user, password and query."""
    return re.sub(r"^(\w+://)([^/?#]*@)?([^?#]*).*", r"\1\3", source)


def unpack(
    file: io.BufferedReader | io.BufferedRandom,
    folder: Path,
    renames: Mapping[str, str],
    unwanted: Sequence[str],
    sha256: str | None,
) -> None:
    """Unpack the pictures of a zip into an empty folder; `fill` says what the arguments are.

    Raises:
        DataError: it is no zip, or not the one that is meant, is damaged, unsafe or lacks pictures.
        OSError: the disk has no room, or writing failed.
    """
    if sha256 is not None:
        found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != sha256:
            raise DataError(f"its SHA-256 is {found}, not {sha256}: {_OTHERWISE}")
    try:
        archive = zipfile.ZipFile(file)
    except _FAULTS as error:
        raise DataError(
            "it is not a zip file, or not a complete one: get it again, or name another as DATA_URL"
        ) from error
    places = _locate_pictures(archive.infolist(), renames, unwanted)
    # zipfile reads no more of a member than the size that the archive gives for it.
    size = sum(member.file_size for member in places.values())
    if size > MAX_BYTES:
        raise DataError(
            f"it unpacks to {megabytes(size)}, and at most {megabytes(MAX_BYTES)} are "
            "accepted: leave some pictures out"
        )
    if size > SMALL and size > MAX_RATIO * file.seek(0, os.SEEK_END):
        raise DataError(
            f"it unpacks to more than {MAX_RATIO} times its size, as pictures never do: "
            "this is a decompression bomb, or broken"
        )
    check_space(folder, size)
    for place, member in places.items():
        try:
            (folder / place).parent.mkdir(parents=True, exist_ok=True)
            with archive.open(member) as contents, (folder / place).open("xb") as output:
                shutil.copyfileobj(contents, output)
        except (FileExistsError, NotADirectoryError) as error:
            fault = f"it has two files {place.name!r} that this disk cannot tell apart"
            if (folder / place).is_dir() or not (folder / place).parent.is_dir():
                fault = f"{str(place)!r}, or a part of that, is both a file and a folder in it"
            raise DataError(f"{fault}: rename one") from error
        except _FAULTS as error:
            if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
                raise DataError(
                    f"its member {member.filename!r} has a longer name than this disk takes: "
                    "rename it"
                ) from error
            # The disk's own faults; of a damaged zip come only these, and bz2's without a number.
            if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
                raise
            raise DataError(
                f"its member {member.filename!r} is damaged: get the file again"
            ) from error


@contextmanager
def staged(target: Path) -> Iterator[Path]:
    """Yield an empty folder that becomes `target` if all goes well, and goes away if not.

    It lies hidden beside the target, is renamed in the end, and what a killed process left there is
    removed first. Within this context SIGTERM and SIGHUP raise KeyboardInterrupt, as Ctrl-C does.

    Args:
        target: may be missing, with any of its parents, or an empty folder.

    Raises:
        DataError: `target` holds something already, or the disk refuses; nothing has changed.
    """
    target = Path(os.path.realpath(target))
    try:
        with _on_signals(signal.default_int_handler):
            if target.exists() and not target.is_dir():
                raise DataError(f"{target} is a file: name a folder")
            if target == Path.cwd():
                raise DataError(f"{target} is the folder you are in: name one in it, such as data")
            if target.exists() and any(target.iterdir()):
                raise DataError(
                    f"{target} is not empty and was left as it is: "
                    "delete it to fill it anew, or name another folder"
                )
            home = next(parent for parent in target.parents if parent.exists())
            for path in home.iterdir():
                match = re.fullmatch(rf"\.{re.escape(target.name)}\.antbee-(\d+)", path.name)
                # In a container the killed process may well have had the same number as this one.
                if match and (int(match[1]) == os.getpid() or not _is_alive(int(match[1]))):
                    shutil.rmtree(path, ignore_errors=True)
            folder = home / f".{target.name}.antbee-{os.getpid()}"
            try:
                folder.mkdir()
                yield folder
                # From here on the pictures are complete: too late to be interrupted.
                with _on_signals(signal.SIG_IGN):
                    target.parent.mkdir(parents=True, exist_ok=True)
                    folder.rename(target)
            finally:
                with _on_signals(signal.SIG_IGN):
                    shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        remedies = (remedy for remedy, numbers in _REMEDIES.items() if error.errno in numbers)
        remedy = next(remedies, "try another folder")
        raise DataError(f"cannot fill {target}: {error.strerror}: {remedy}") from error


def check_space(folder: Path, needed: int) -> None:
    """Refuse to begin what a folder's disk cannot hold, in bytes.

    Raises:
        OSError: ENOSPC, as writing would in the end.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        amount = f"{megabytes(needed)} are needed and {megabytes(free)} are free"
        raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)}, {amount}")


def check_label(name: str) -> str:
    """Return a label's name if a folder can be called that, and a terminal can show it.

    Raises:
        ValueError: it cannot.
    """
    if not name or name.startswith(".") or "/" in name or "\\" in name or not name.isprintable():
        raise ValueError(f"{name!r} cannot be a label: it must be the name of a visible folder")
    return name


def report(folder: Path) -> None:
    """Say how many files each label has, in and below its folder, a line for each split."""
    for split in filter(lambda name: (folder / name).is_dir(), (*SPLITS, "test")):
        counts = {
            label.name: sum(path.is_file() for path in label.rglob("*"))
            for label in sorted((folder / split).iterdir())
        }
        listed = ", ".join(f"{label} {count}" for label, count in counts.items())
        say(f"{folder / split}: {listed}")


def megabytes(count: int) -> str:
    """Write a number of bytes as a person reads it."""
    return f"{count / 1e6:.1f} MB"


@contextmanager
def _network_faults_named(url: str) -> Iterator[None]:
    try:
        yield
    except (OSError, http.client.HTTPException, ValueError) as error:
        cause = error.reason if isinstance(error, urllib.error.URLError) else error
        if isinstance(error, urllib.error.HTTPError):
            error.close()
            status = http.client.responses.get(error.code, "")
            reason = f"the server answered {error.code} {status}"
        elif isinstance(cause, TimeoutError):
            reason = f"no answer for {TIMEOUT:g} seconds"
        elif isinstance(cause, socket.gaierror):
            reason = "there is no network, or no such server"
        elif isinstance(cause, ssl.SSLCertVerificationError):
            reason = f"the server's certificate is not trusted ({cause.verify_message})"
        elif isinstance(cause, http.client.IncompleteRead):
            reason = "it was cut off on the way"
        else:
            reason = " ".join(str(getattr(cause, "strerror", None) or cause).split())
        raise DataError(f"cannot download {redacted(url)}: {reason}: {_OTHERWISE}") from error


def _locate_pictures(
    members: Sequence[zipfile.ZipInfo], renames: Mapping[str, str], unwanted: Sequence[str]
) -> dict[Path, zipfile.ZipInfo]:
    # The members to unpack, by where: `<split>/<label>/<file>`.
    chosen: list[tuple[Path, zipfile.ZipInfo]] = []
    tops = set()
    for member in members:
        # Some Windows programs write their own separator, against the format.
        name = member.filename.replace("\\", "/")
        if _OUTSIDE.search(name):
            raise DataError(
                f"its member {name!r} points outside the folder: do not trust this file"
            )
        if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise DataError(f"its member {name!r} is no ordinary file: zip the pictures themselves")
        if member.flag_bits & 1:  # PKWARE's APPNOTE.TXT, section 4.4.4
            raise DataError("it is encrypted: unpack it with its password and zip it again")
        path = posixpath.normpath(name)
        if posixpath.basename(path) in unwanted:
            say(f"left out {path}: it is not a picture of a label")
        elif (found := _PICTURE.fullmatch(path)) and not (_HIDDEN.search(path) or member.is_dir()):
            top, split, label, file = found.groups(default="")
            try:
                split = "val" if split in VAL else split
                place = Path(split, check_label(renames.get(label, label)), file)
            except ValueError as error:
                raise DataError(f"its folder {error}") from error
            chosen.append((place, member))
            tops.add(top)
    if len(tops) > 1:
        sets = " and ".join(posixpath.join(top, "train") for top in sorted(tops)[:2])
        raise DataError(f"it holds more than one set of pictures, {sets}: leave one")
    if not {place.parts[0] for place, _ in chosen} >= set(SPLITS):
        raise DataError(
            "it lacks pictures at train/<label>/ or val/<label>/, at the top or in one folder: "
            "zip them in that order"
        )
    places = dict(chosen)
    if len(places) < len(chosen):
        twice = next(place for place, member in chosen if places[place] is not member)
        raise DataError(f"it has more than one file for {str(twice)!r}: rename one")
    return places


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except PermissionError:
        return True  # somebody else's
    except (ProcessLookupError, OverflowError):
        return False
    return True


@contextmanager
def _on_signals(
    handler: Callable[[int, FrameType | None], None] | signal.Handlers,
) -> Iterator[None]:
    # What the caller had ignored, as nohup does, stays ignored.
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    heeded = {n: old for n, old in before.items() if old not in (signal.SIG_IGN, None)}
    try:
        for number in heeded:
            signal.signal(number, handler)
        yield
    finally:
        for number, old in heeded.items():
            signal.signal(number, old)


def _rename(text: str) -> tuple[str, str]:
    old, _, new = text.partition("=")
    try:
        return check_label(old), check_label(new)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


if __name__ == "__main__":
    raise SystemExit(main())
