"""Fetches a zip of pictures and fills a folder with its `train/<label>/` and `val/<label>/`.

`get_data.sh` calls this, and knows the official archive's address, checksum and labels. The
standard library only: it runs before anything is installed.
"""

import argparse
import hashlib
import http.client
import socket
import ssl
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPMessage
from pathlib import Path
from typing import IO, BinaryIO, Final
from urllib.parse import urlsplit

from antbee.command import DONE, run, say
from antbee.errors import DataError
from antbee.pictures.archive import MAX_BYTES, unpack
from antbee.pictures.staging import check_label, check_space, megabytes, note_source, report, staged

TIMEOUT: Final = 30.0
"""Seconds without a byte after which a server is given up."""

_CHUNK: Final = 2**16
_REDRAW: Final = 0.1
_BAR: Final = 30
_TAKEN: Final = "DATA_URL takes https://..., file:///... or a path to a zip"
_CUT_OFF: Final = "it was cut off on the way"
_OTHERWISE: Final = "try again, give a copy as DATA_URL=FILE.zip, or draw pictures with --sample"


class HttpsRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, as far as they keep to https."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        """Refuse to go on without encryption."""
        if urlsplit(newurl).scheme != "https":
            fp.close()
            raise DataError(f"{shown(req.full_url)} leads on to an address that is not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    options = _make_parser().parse_args(argv)
    return run(
        lambda: download(
            options.source,
            options.folder,
            renames=dict(options.rename),
            unwanted=options.leave_out,
            sha256=options.sha256,
        )
    )


def download(
    source: str,
    folder: Path,
    *,
    renames: dict[str, str],
    unwanted: Sequence[str] = (),
    sha256: str | None = None,
) -> int:
    """Fill a missing or empty folder from a zip.

    Args:
        source: `https://...`, `file:///...` or a path.
        folder: gets `train/<label>/` and `val/<label>/`.
        renames: label folders of the archive, and what to call them instead.
        unwanted: names of files that are not pictures of their label.
        sha256: of the zip, in hexadecimal; None leaves it unchecked.

    Raises:
        DataError: there is no such zip, it cannot be used, or the folder cannot be filled.
    """
    path = find_local(source)
    with staged(folder) as stage, _local(path) if path else fetched(source, stage) as file:
        try:
            if sha256 is not None:
                _check_sum(file, sha256)
            unpack(file, stage, renames, unwanted)
            note_source(stage, shown(source) if path is None else path.name)
        except DataError as error:
            raise DataError(f"{shown(source)} cannot be used: {error}") from error
    report(folder)
    return DONE


def find_local(source: str) -> Path | None:
    """Return the path that a path or a file address means, None for an https address.

    Raises:
        DataError: it is neither of these.
    """
    if "://" not in source:
        return Path(source)
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
    return Path(urllib.request.url2pathname(address.path))


@contextmanager
def fetched(
    url: str, folder: Path, opener: urllib.request.OpenerDirector | None = None
) -> Iterator[BinaryIO]:
    """Download into a nameless file, which is gone when it is closed or its process dies.

    Args:
        url: of a file.
        folder: on whose disk the file is to be.
        opener: keeps to https by default.

    Raises:
        DataError: nothing, or not all of it, could be downloaded.
        OSError: the file could not be written.
    """
    opener = opener or urllib.request.build_opener(HttpsRedirects())
    with tempfile.TemporaryFile(dir=folder) as file:
        with _connect(url, opener) as response:
            length = response.headers.get("Content-Length", "")
            total = int(length) if length.isdecimal() else None
            check_space(folder, total or 0)
            for chunk in _watched(_chunks(url, response, total), shown(url), total):
                file.write(chunk)
        file.seek(0)
        yield file


def shown(url: str) -> str:
    """Leave out of an address what may be secret: user, password and query."""
    if "://" not in url:
        return url
    address = urlsplit(url)
    return f"{address.scheme}://{address.netloc.rpartition('@')[2]}{address.path}"


@contextmanager
def _local(path: Path) -> Iterator[BinaryIO]:
    if not path.is_file():
        raise DataError(f"there is no file {path}: {_TAKEN}")
    try:
        file = path.open("rb")
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    with file:
        yield file


def _check_sum(file: BinaryIO, expected: str) -> None:
    digest = hashlib.sha256()
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
    if digest.hexdigest() != expected:
        raise DataError(f"its SHA-256 is {digest.hexdigest()}, not {expected}: {_OTHERWISE}")


def _connect(url: str, opener: urllib.request.OpenerDirector) -> http.client.HTTPResponse:
    # Some servers turn away urllib's own name. The scheme is settled: `find_local` and the
    # opener let nothing but https pass.
    request = urllib.request.Request(url, headers={"User-Agent": "antbee"})  # noqa: S310
    with _network_faults_named(url):
        response: http.client.HTTPResponse = opener.open(request, timeout=TIMEOUT)
    return response


def _chunks(url: str, response: http.client.HTTPResponse, total: int | None) -> Iterator[bytes]:
    done = 0
    with _network_faults_named(url):
        while chunk := response.read(_CHUNK):
            done += len(chunk)
            if done > MAX_BYTES:
                raise DataError(f"{shown(url)} is larger than {megabytes(MAX_BYTES)}")
            yield chunk
    if total is not None and done < total:
        raise _failed(url, _CUT_OFF)


@contextmanager
def _network_faults_named(url: str) -> Iterator[None]:
    try:
        yield
    except urllib.error.HTTPError as error:
        with error:
            answer = http.client.responses.get(error.code, "")
        raise _failed(url, f"the server answered {error.code} {answer}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _failed(url, _reason(error)) from error


def _failed(url: str, reason: str) -> DataError:
    return DataError(f"cannot download {shown(url)}: {reason}: {_OTHERWISE}")


def _reason(error: Exception) -> str:
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, TimeoutError):
        return f"no answer for {TIMEOUT:g} seconds"
    if isinstance(cause, socket.gaierror):
        return "there is no network, or no such server"
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"the server's certificate is not trusted ({cause.verify_message})"
    if isinstance(cause, http.client.IncompleteRead):
        return _CUT_OFF
    return " ".join(str(getattr(cause, "strerror", None) or cause).split())


def _watched(chunks: Iterator[bytes], title: str, total: int | None) -> Iterator[bytes]:
    say(f"downloading {title}" + (f" ({megabytes(total)})" if total else ""))
    if not sys.stderr.isatty():
        yield from chunks
        return
    done, drawn = 0, 0.0
    try:
        for chunk in chunks:
            done += len(chunk)
            if time.monotonic() - drawn > _REDRAW:
                drawn = time.monotonic()
                _draw_bar(done, total)
            yield chunk
        _draw_bar(done, total)
    finally:
        print(file=sys.stderr)


def _draw_bar(done: int, total: int | None) -> None:
    bar = ""
    if total:
        filled = _BAR * done // total
        bar = f"  [{'#' * filled}{'.' * (_BAR - filled)}] {100 * done // total:3d} %"
    print(f"\r{megabytes(done):>10}{bar}", end="", file=sys.stderr, flush=True)


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m antbee.pictures.download", description=__doc__)
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
    return parser


def _rename(text: str) -> tuple[str, str]:
    old, _, new = text.partition("=")
    return check_label(old), check_label(new)


if __name__ == "__main__":
    raise SystemExit(main())
