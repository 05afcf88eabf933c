"""Files that survive a kill."""

import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from antbee.files import (
    recorded_sums,
    remove_temporaries,
    sha256_of,
    write_atomically,
    write_with_checksum,
)
from tests.conftest import REPOSITORY


class Killed(BaseException):
    """Stands for the instant at which a process is killed."""


def test_the_checksum_is_one_that_sha256sum_checks(tmp_path: Path) -> None:
    """`sha256sum -c` in the folder confirms the file."""
    write_with_checksum(tmp_path / "last.pt", b"new")

    checked = subprocess.run(
        ["sha256sum", "-c", "last.pt.sha256"],  # noqa: S607 - as a person would
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (checked.returncode, checked.stdout) == (0, "last.pt: OK\n")


@pytest.mark.parametrize("renames", range(4))
def test_a_kill_between_renames_leaves_a_file_that_its_checksum_lists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, renames: int
) -> None:
    """Whichever of the renames is the last, the old or the new contents are there and listed."""
    path = tmp_path / "last.pt"
    write_with_checksum(path, b"old")
    left, replace = iter(range(renames)), Path.replace

    def replace_or_die(temporary: Path, target: Path) -> None:
        if next(left, None) is None:
            raise Killed
        replace(temporary, target)

    monkeypatch.setattr(Path, "replace", replace_or_die)
    if renames < 3:
        with pytest.raises(Killed):
            write_with_checksum(path, b"new")
    else:
        write_with_checksum(path, b"new")

    assert path.read_bytes() == (b"new" if renames >= 2 else b"old")
    assert sha256_of(path) in recorded_sums(path)


def test_a_kill_at_any_instant_leaves_a_file_that_its_checksum_lists(tmp_path: Path) -> None:
    """A process that writes again and again is killed ten times; the file is whole every time."""
    path = tmp_path / "last.pt"
    script = (
        "import itertools, pathlib, sys\n"
        "from antbee.files import write_with_checksum\n"
        "for number in itertools.count():\n"
        "    contents = str(number).encode() * 100_000\n"
        "    write_with_checksum(pathlib.Path(sys.argv[1]), contents)\n"
    )
    for attempt in range(10):
        command = [sys.executable, "-c", script, str(path)]
        with subprocess.Popen(command, cwd=REPOSITORY) as process:
            while not path.exists():
                time.sleep(0.01)
            time.sleep(0.05 + 0.007 * attempt)
            process.send_signal(signal.SIGKILL)

        assert sha256_of(path) in recorded_sums(path)


def test_a_failed_write_changes_nothing(tmp_path: Path) -> None:
    """When the disk is full, the file is what it was and no temporary one is left."""
    path = tmp_path / "last.pt"
    write_with_checksum(path, b"old")

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        for function in (write_atomically, write_with_checksum):
            with pytest.raises(OSError, match="File too large"):
                function(path, bytes(2000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

    assert path.read_bytes() == b"old"
    assert sorted(one.name for one in tmp_path.iterdir()) == ["last.pt", "last.pt.sha256"]


def test_what_a_kill_left_is_removed(tmp_path: Path) -> None:
    """Temporary files of a killed process go, everything else stays, other people's too."""
    for name in (
        *("last.pt", "last.pt.tmp", "last.pt.sha256.tmp"),
        *("metrics.jsonl.tmp", "thesis.tmp"),
    ):
        (tmp_path / name).touch()

    remove_temporaries(*(tmp_path / name for name in ("last.pt", "best.pt", "metrics.jsonl")))

    assert sorted(path.name for path in tmp_path.iterdir()) == ["last.pt", "thesis.tmp"]


def test_a_checksum_of_another_file_is_not_taken(tmp_path: Path) -> None:
    """Only lines that name the file itself count."""
    path = tmp_path / "last.pt"
    (tmp_path / "last.pt.sha256").write_text("1a  best.pt\n2b  last.pt\nnonsense\n")

    assert recorded_sums(path) == ["2b"]
