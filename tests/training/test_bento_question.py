"""What happens after training: the question on a terminal, and starting the packing."""

import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

PACKER = "import sys\nprint('packing', *sys.argv[1:])\nsys.exit({code})\n"

# The pressed Ctrl-C goes to whoever has the terminal.
TAKE_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


class Terminal:
    """train.py on a terminal of its own, with stdout in a pipe."""

    def __init__(self, script: Path, *arguments: str | Path) -> None:
        self._ours, theirs = pty.openpty()
        self.shown = ""
        self._process = subprocess.Popen(
            [sys.executable, "-c", TAKE_TERMINAL, sys.executable, script, *arguments],
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=theirs,
            text=True,
            start_new_session=True,
        )
        os.close(theirs)

    def read_until(self, text: str) -> None:
        """Read what is shown up to some text, or to the end."""
        try:
            while text not in self.shown:
                self.shown += os.read(self._ours, 4096).decode()
        except OSError:  # how Linux says that nobody has the terminal open any more
            assert text == "\0", self.shown

    def type(self, keys: bytes) -> None:
        """Press keys."""
        os.write(self._ours, keys)

    def end(self) -> tuple[int, str]:
        """Return the exit code and what was on stdout."""
        self.read_until("\0")
        out = self._process.communicate()[0]
        os.close(self._ours)
        return self._process.returncode, out


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Make a repository whose save_to_bento.py only says what it was told."""
    folder = tmp_path / "repository"
    folder.mkdir()
    shutil.copy(REPOSITORY / "train.py", folder)
    (folder / "antbee").symlink_to(REPOSITORY / "antbee")
    (folder / "save_to_bento.py").write_text(PACKER.format(code=0))
    return folder


@pytest.fixture
def question(repository: Path, copied: Path) -> Terminal:
    """Go on with a finished run on a terminal, up to the question."""
    terminal = Terminal(repository / "train.py", "-c", copied / "last.pt")
    terminal.read_until("[y/N] ")
    return terminal


@pytest.mark.parametrize("keys", [b"n\n", b"\n", b"what\n", b"\x04"])
def test_anything_but_yes_packs_nothing(question: Terminal, copied: Path, keys: bytes) -> None:
    """No, nothing, nonsense and end of file all mean no."""
    question.type(keys)

    assert question.end() == (0, f"{copied / 'best.pt'}\n")
    assert "packing" not in question.shown


def test_yes_starts_the_packing(question: Terminal, copied: Path, data: Path) -> None:
    """The packing is told the checkpoint and the data, and what it prints goes to stderr."""
    question.type(b"y\n")

    assert question.end() == (0, f"{copied / 'best.pt'}\n")
    assert f"packing {copied / 'best.pt'} --data {data}" in question.shown


def test_ctrl_c_at_the_question_loses_nothing(question: Terminal, copied: Path) -> None:
    """By then the result is printed."""
    question.type(b"\x03")

    assert question.end() == (130, f"{copied / 'best.pt'}\n")
    assert question.shown.endswith("interrupted\r\n")


@pytest.mark.parametrize(("code", "mine"), [(1, 1), (2, 1), (130, 130)])
def test_a_failed_packing_loses_nothing(
    repository: Path, copied: Path, code: int, mine: int
) -> None:
    """When packing fails the result is printed all the same, and the message says how to retry."""
    (repository / "save_to_bento.py").write_text(PACKER.format(code=code))

    run = subprocess.run(
        [sys.executable, repository / "train.py", "-c", copied / "last.pt", "--bento", "yes"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (run.returncode, run.stdout) == (mine, f"{copied / 'best.pt'}\n")
    last = run.stderr.splitlines()[-1]
    assert last == "interrupted" or f"python save_to_bento.py {copied / 'best.pt'}" in last


def test_without_a_terminal_nothing_is_asked(repository: Path, copied: Path) -> None:
    """A run without a terminal means no."""
    run = subprocess.run(
        [sys.executable, repository / "train.py", "-c", copied / "last.pt"],
        capture_output=True,
        text=True,
        input="y\n",
        check=False,
    )

    assert (run.returncode, run.stdout) == (0, f"{copied / 'best.pt'}\n")
    assert "bento" not in run.stderr
