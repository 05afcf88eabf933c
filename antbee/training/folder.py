"""A run's folder: its name, who may write to it, and `metrics.jsonl`."""

import dataclasses
import fcntl
import json
import os
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from antbee.errors import CheckpointError
from antbee.files import write_atomically
from antbee.training.checkpoint import Metrics

RUN_NAME: Final = re.compile(r"\d{8}-\d{6}-\w+")
"""What `make_folder` makes: the UTC time of the start and the architecture."""
LAST: Final = "last.pt"
BEST: Final = "best.pt"
METRICS: Final = "metrics.jsonl"
LAUNCH: Final = "launch"
"""Names the torchrun that began the run, so that it can go on when torchrun starts it again."""


def make_folder(out: Path, arch: str) -> Path:
    """Make the folder of a run that begins now: `<UTC time>-<arch>`, like 20250131-235959-resnet18.

    Where a run began in the same second this one waits for the next, so that names sort by time.

    Raises:
        CheckpointError: the folder cannot be made.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise CheckpointError(
            f"{out} cannot be made: it is a file, or a link to what is not there, such as a disk "
            "that is not mounted: name another folder with --out"
        ) from error
    except OSError as error:
        raise CheckpointError(f"{out} cannot be made: {error.strerror}") from error
    while True:
        folder = out / f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{arch}"
        try:
            folder.mkdir()
        except FileExistsError:
            time.sleep(0.1)
        except OSError as error:
            raise CheckpointError(f"{folder} cannot be made: {error.strerror}") from error
        else:
            return folder


def newest_checkpoint(out: Path) -> Path:
    """`best.pt` of the newest run that has one.

    Raises:
        CheckpointError: there is none.
    """
    found = [path for path in out.glob(f"*/{BEST}") if RUN_NAME.fullmatch(path.parent.name)]
    if not found:
        raise CheckpointError(f"there is no {BEST} of a run in {out}: run train.py first")
    return max(found, key=lambda path: path.parent.name)


def remember_launch(folder: Path) -> None:
    """Note in a run's new folder which torchrun began it, if one did.

    Raises:
        CheckpointError: the disk is full or cannot be written to.
    """
    if launch := _launch():
        write_file(folder / LAUNCH, launch.encode())


def restarted_run(out: Path) -> Path | None:
    """`last.pt` of the run that this torchrun began before a process of it died, if one did."""
    if int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) == 0:
        return None
    own = [path.parent for path in out.glob(f"*/{LAUNCH}") if path.read_text() == _launch()]
    return max(own) / LAST if own else None


def _launch() -> str | None:
    # Of all that torchrun tells, only the folder of its logs is its own: FOLDER/attempt_N/RANK/FILE
    file = os.environ.get("TORCHELASTIC_ERROR_FILE")
    return file and str(Path(file).parents[2])


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Within this context no other process trains in the folder; a kill, too, ends the lock.

    Raises:
        CheckpointError: another process is training there, or the folder cannot be opened.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise CheckpointError(f"{folder} cannot be opened: {error.strerror}") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CheckpointError(f"another process is training in {folder}") from error
        except OSError as error:
            raise CheckpointError(f"{folder} cannot be locked: {error.strerror}") from error
        yield
    finally:
        os.close(descriptor)


def write_file(path: Path, data: bytes) -> None:
    """Write a file of what a run came to.

    Raises:
        CheckpointError: the disk is full or cannot be written to.
    """
    try:
        write_atomically(path, data)
    except OSError as error:
        raise CheckpointError(f"{path} could not be written: {error.strerror}") from error


def write_metrics(folder: Path, history: Iterable[Metrics]) -> None:
    """Write one line of JSON an epoch.

    Raises:
        CheckpointError: the disk is full or cannot be written to.
    """
    lines = "".join(json.dumps(dataclasses.asdict(metrics)) + "\n" for metrics in history)
    write_file(folder / METRICS, lines.encode())
