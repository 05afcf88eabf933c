"""The pictures' folder: filled in a hidden one beside it, then put in place by one rename, or not.

The standard library only: it runs before anything is installed. Knows nothing of where the
pictures come from, and nothing of their contents.
"""

import errno
import os
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Final

from antbee.command import say
from antbee.errors import DataError

SPLITS: Final = ("train", "val")
SOURCE: Final = "source.txt"
"""Beside the splits: one line that says where the pictures came from."""

_ELSEWHERE: Final = "name a folder that you may write to"
_REMEDIES: Final = {
    errno.ENOSPC: "free some space and run this again",
    errno.EDQUOT: "free some space and run this again",
    errno.EACCES: _ELSEWHERE,
    errno.EPERM: _ELSEWHERE,
    errno.EROFS: _ELSEWHERE,
    errno.ENOTDIR: "name a folder",
    errno.EBUSY: "it is a mount point, so name a folder in it",
    errno.ENOTEMPTY: "another process filled it meanwhile; nothing in it was changed",
    errno.EEXIST: "another process filled it meanwhile; nothing in it was changed",
}
_Handler = Callable[[int, FrameType | None], None] | signal.Handlers
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def staged(target: Path) -> Iterator[Path]:
    """Yield an empty folder that becomes `target` if all goes well, and goes away if not.

    Within this context SIGTERM and SIGHUP raise KeyboardInterrupt, as Ctrl-C does. What a killed
    process left beside the same target is removed first.

    Args:
        target: may be missing, with any of its parents, or an empty folder.

    Raises:
        DataError: `target` holds something already, or the disk refuses; nothing has changed.
    """
    target = Path(os.path.realpath(target))
    with _disk_faults_named(target), _on_signals(signal.default_int_handler):
        _check_vacant(target)
        home = next(parent for parent in target.parents if parent.exists())
        _remove_stale(home, target.name)
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


def check_space(folder: Path, needed: int) -> None:
    """Refuse to begin what the disk cannot hold.

    Args:
        folder: an existing one, on the disk in question.
        needed: in bytes.

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


def note_source(folder: Path, source: str) -> None:
    """Leave a line that says where the pictures came from; a packed model carries it on."""
    (folder / SOURCE).write_text(f"{source}\n", encoding="utf-8")


def report(folder: Path) -> None:
    """Say how many files each label has, a line for each split."""
    for split in SPLITS:
        labels = sorted((folder / split).iterdir())
        counts = ", ".join(f"{label.name} {len(list(label.iterdir()))}" for label in labels)
        say(f"{folder / split}: {counts}")


def megabytes(count: int) -> str:
    """Write a number of bytes as a person reads it."""
    return f"{count / 1e6:.1f} MB"


def _check_vacant(target: Path) -> None:
    if not target.exists():
        return
    if not target.is_dir():
        raise DataError(f"{target} is a file: name a folder")
    if target == Path.cwd():
        raise DataError(f"{target} is the folder you are in: name one in it, such as data")
    if any(target.iterdir()):
        raise DataError(
            f"{target} is not empty and was left as it is: "
            "delete it to fill it anew, or name another folder"
        )


def _remove_stale(home: Path, name: str) -> None:
    ours = re.compile(rf"\.{re.escape(name)}\.antbee-(\d+)")
    for path in home.iterdir():
        match = ours.fullmatch(path.name)
        # In a container the killed process may well have had the same number as this one.
        if match and (int(match[1]) == os.getpid() or not _is_alive(int(match[1]))):
            shutil.rmtree(path, ignore_errors=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


@contextmanager
def _disk_faults_named(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        remedy = _REMEDIES.get(error.errno or 0, "try another folder")
        raise DataError(f"cannot fill {target}: {error.strerror}: {remedy}") from error


@contextmanager
def _on_signals(handler: _Handler) -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    # What the caller had ignored, as nohup does, stays ignored.
    heeded = [number for number in _SIGNALS if before[number] not in (signal.SIG_IGN, None)]
    try:
        for number in heeded:
            signal.signal(number, handler)
        yield
    finally:
        for number in heeded:
            signal.signal(number, before[number])
