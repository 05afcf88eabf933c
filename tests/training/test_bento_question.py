"""What happens after training: the question on a terminal, and starting the packing."""

import io
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import train as module
from tests.training.conftest import ENVIRONMENT, assert_one_line, train_command
from train import main

Capture = pytest.CaptureFixture[str]

PACKER = "import sys\nprint('packing', *sys.argv[1:])\nsys.exit({code})\n"

SLOW_PACKER = """
import os, pathlib, signal, sys, time
def tidy(*_):
    time.sleep(0.5)
    pathlib.Path(__file__).with_suffix(".tidy").touch()
    sys.exit(130)
signal.signal(signal.SIGTERM, tidy)
os.kill(os.getppid(), signal.SIGINT)
time.sleep(60)
"""

# The pressed Ctrl-C goes to whoever has the terminal.
TAKE_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


@pytest.fixture(autouse=True)
def _quick(tiny: None, no_report: None) -> None:
    pass


@pytest.fixture(autouse=True)
def packer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a save_to_bento.py beside train.py that only says what it was told."""
    monkeypatch.setattr(module, "__file__", str(tmp_path / "train.py"))
    script = tmp_path / "save_to_bento.py"
    script.write_text(PACKER.format(code=0))
    return script


@pytest.fixture
def keyboard(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Give this process a terminal to read from, and yield the end that keys go into."""
    ours, theirs = pty.openpty()
    with io.TextIOWrapper(io.FileIO(theirs)) as terminal:
        monkeypatch.setattr(sys, "stdin", terminal)
        yield ours
    os.close(ours)


def answer(keyboard: int, keys: bytes, copied: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """Go on with a finished run, with these keys typed ahead."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    os.write(keyboard, keys)
    return main(["-c", str(copied / "last.pt")])


@pytest.mark.parametrize("keys", [b"n\n", b"\n", b"what\n", b"\x04"])
def test_anything_but_yes_packs_nothing(
    keyboard: int, copied: Path, keys: bytes, monkeypatch: pytest.MonkeyPatch, capfd: Capture
) -> None:
    """No, nothing, nonsense and end of file all mean no."""
    assert answer(keyboard, keys, copied, monkeypatch) == 0

    out, err = capfd.readouterr()
    assert out == f"{copied / 'best.pt'}\n"
    assert err.endswith("Save it to a bento? [y/N] ")


def test_yes_starts_the_packing(
    keyboard: int, copied: Path, data: Path, monkeypatch: pytest.MonkeyPatch, capfd: Capture
) -> None:
    """The packing is told the checkpoint and the data, and what it prints goes to stderr."""
    assert answer(keyboard, b"y\n", copied, monkeypatch) == 0

    out, err = capfd.readouterr()
    assert out == f"{copied / 'best.pt'}\n"
    assert err.endswith(f"packing {copied / 'best.pt'} --data {data}\n")


@pytest.mark.parametrize(("code", "mine"), [(1, 1), (2, 1), (130, 130)])
def test_a_failed_packing_loses_nothing(
    packer: Path, copied: Path, code: int, mine: int, capfd: Capture
) -> None:
    """When packing fails the result is printed all the same, and the message says how to retry."""
    packer.write_text(PACKER.format(code=code))

    assert main(["-c", str(copied / "last.pt"), "--bento", "yes"]) == mine

    out, err = capfd.readouterr()
    assert out == f"{copied / 'best.pt'}\n"
    if mine == 1:
        assert_one_line(err, f"python save_to_bento.py {copied / 'best.pt'}")
    else:
        assert err.splitlines()[-1] == "interrupted"


def test_an_interrupted_packing_tidies_up(packer: Path, copied: Path) -> None:
    """However long that takes: it is told once, and waited for."""
    packer.write_text(SLOW_PACKER)

    assert main(["-c", str(copied / "last.pt"), "--bento", "yes"]) == 130

    assert packer.with_suffix(".tidy").exists()


@pytest.mark.parametrize("stdin", [io.StringIO("y\n"), None], ids=["no terminal", "closed"])
def test_without_a_terminal_nothing_is_asked(
    copied: Path, stdin: io.StringIO | None, monkeypatch: pytest.MonkeyPatch, capfd: Capture
) -> None:
    """A run without a terminal, or with nothing to read from, means no."""
    monkeypatch.setattr(sys, "stdin", stdin)

    assert main(["-c", str(copied / "last.pt")]) == 0

    out, err = capfd.readouterr()
    assert out == f"{copied / 'best.pt'}\n"
    assert "bento" not in err


def test_ctrl_c_at_the_question_loses_nothing(resnet18_run: Path) -> None:
    """On a real terminal: by the time that the question is asked, the result is printed."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", TAKE_TERMINAL, *train_command("-c", resnet18_run / "last.pt")],
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
        start_new_session=True,
        env=ENVIRONMENT,
    )
    os.close(theirs)
    seen = ""
    try:
        while True:
            seen += os.read(ours, 4096).decode()
            if seen.endswith("[y/N] "):
                os.write(ours, b"\x03")
    except OSError:  # how Linux says that nobody has the terminal open any more
        out = process.communicate()[0]
    os.close(ours)

    assert (process.returncode, out) == (130, f"{resnet18_run / 'best.pt'}\n")
    assert seen.endswith("interrupted\r\n")
