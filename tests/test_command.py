"""Exceptions and signals to exit codes, and what commands print."""

import gc
import importlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from antbee.artifact import PackedModel
from antbee.command import (
    SIGNALS,
    ended_by_signals,
    exit_on_error,
    leave,
    printable,
    progress_bar,
    run,
    say,
    table,
)
from antbee.errors import STATUS, DataError, RequestError
from tests.conftest import REPOSITORY

Capture = pytest.CaptureFixture[str]


def _raise(error: BaseException) -> int:
    raise error


def test_a_users_mistake_is_one_line(capsys: Capture) -> None:
    """A mistake exits with 1 and one line on stderr, nothing on stdout."""
    code = run(lambda: _raise(DataError("no pictures here")))

    assert code == 1
    assert capsys.readouterr() == ("", "error: no pictures here\n")


def test_done_passes_through() -> None:
    """What the work returns is the exit code."""
    assert run(lambda: 0) == 0


def test_a_bug_keeps_its_traceback() -> None:
    """An exception that is no user's mistake is not hidden."""
    with pytest.raises(ZeroDivisionError):
        run(lambda: _raise(ZeroDivisionError()))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a disk always full")
def test_an_answer_that_cannot_be_written_is_one_line() -> None:
    """Neither the command nor its interpreter, which ends after it, fails in its own words."""
    script = "from antbee.command import answer, run; raise SystemExit(run(lambda: answer('x')))"
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, "-c", script],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            cwd=REPOSITORY,
            check=False,
        )

    reason = "error: stdout cannot be written: No space left on device\n"
    assert (ended.returncode, ended.stderr) == (1, reason)


def test_exit_on_error_ends_the_program(capsys: Capture) -> None:
    """In another program's process, a mistake is a line and exit code 1."""
    with pytest.raises(SystemExit, match="1"), exit_on_error():
        _raise(DataError("no"))

    assert capsys.readouterr().err == "error: no\n"


@pytest.mark.parametrize("code", STATUS)
def test_each_code_has_its_status(code: str) -> None:
    """A request's error carries the status of its code."""
    assert RequestError(code, "…").status == STATUS[code]


def swallowed() -> int:
    """Take a signal as a library does that can do without a part of it."""
    try:
        os.kill(os.getpid(), signal.SIGINT)
    except BaseException:  # noqa: BLE001 - that is what it does
        return 0
    return 1


def made_another() -> int:
    """Take a signal as a library does that has a reason of its own to fail."""
    try:
        os.kill(os.getpid(), signal.SIGTERM)
    except BaseException:  # noqa: BLE001 - that is what it does
        raise DataError("cannot go on") from None
    return 1


class Destroyed:
    """A signal comes while this is destroyed, where Python drops all exceptions."""

    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGINT)


def destroyed() -> int:
    """Take a signal in a destructor."""
    Destroyed()
    gc.collect()
    time.sleep(60)
    return 1


@pytest.mark.parametrize(
    "work",
    [lambda: _raise(KeyboardInterrupt()), swallowed, made_another, destroyed],
    ids=["raised", "swallowed", "made another", "destroyed"],
)
def test_interrupted_is_one_line_and_130(work: Callable[[], int], capsys: Capture) -> None:
    """Whatever a library makes of a signal, the work ends, and it was interrupted."""
    before = [signal.getsignal(number) for number in SIGNALS]
    tracer, hook = sys.gettrace(), sys.unraisablehook
    start = time.monotonic()

    assert run(work) == 130
    assert capsys.readouterr() == ("", "interrupted\n")
    assert time.monotonic() - start < 30
    assert before == [signal.getsignal(number) for number in SIGNALS]
    assert (tracer, hook) == (sys.gettrace(), sys.unraisablehook)


def test_nothing_is_raised_inside_an_import(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """A module that is being imported when a signal comes is imported to its end, and no more."""
    (tmp_path / "interrupted_outer.py").write_text("import interrupted_inner\nwhole = True\n")
    inner = "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nsum(range(10**6))\n"
    (tmp_path / "interrupted_inner.py").write_text(inner)
    monkeypatch.syspath_prepend(tmp_path)

    reached = []

    def work() -> int:
        importlib.import_module("interrupted_outer")
        reached.append("the next line")
        return 0

    assert run(work) == 130
    assert sys.modules["interrupted_outer"].whole
    assert reached == []
    assert capsys.readouterr().err == "interrupted\n"


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        # Before there is anything to tidy up, a signal ends the process where it is.
        ("end_on_signals(); kill()", (130, "interrupted\n")),
        # A second one does not wait until all is tidied up.
        ("end_on_signals(); run(lambda: insist())", (130, "interrupted\n")),
        # What is done is done.
        ("end_on_signals(); code = run(lambda: 0); kill(); sys.exit(code)", (0, "")),
        ("end_on_signals(); code = run(kill); kill(); sys.exit(code)", (130, "interrupted\n")),
    ],
)
def test_each_time_has_its_answer(script: str, expected: tuple[int, str]) -> None:
    """A signal before `run`, a second one, and one after it: never a traceback or a second line."""
    code = (
        "import os, signal, sys, time\nfrom antbee.command import end_on_signals, run\n"
        "def kill():\n    os.kill(os.getpid(), signal.SIGTERM)\n"
        "def insist():\n    try:\n        kill()\n    finally:\n        kill()\n"
        f"{script}\n"
    )
    process = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )

    assert (process.returncode, process.stderr) == expected


def test_another_programs_handlers_stay() -> None:
    """Only what Python does by itself is replaced while a service is imported, and comes back."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    signal.signal(signal.SIGINT, lambda *_: None)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    theirs = signal.getsignal(signal.SIGINT)
    try:
        with ended_by_signals():
            during = [signal.getsignal(number) for number in SIGNALS]
        after = [signal.getsignal(number) for number in SIGNALS]
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

    assert during == [theirs, leave]
    assert after == [theirs, signal.SIG_DFL]


INTERRUPTER = """
import os, signal, sys

class Finder:
    @staticmethod
    def find_spec(name, path, target=None):
        if name == os.environ["AT"]:
            os.kill(os.getpid(), signal.Signals[os.environ["SIGNAL"]])

sys.meta_path.insert(0, Finder)
"""


@pytest.mark.parametrize(
    ("command", "module", "number"),
    [
        ("train.py", "argparse", "SIGINT"),
        ("train.py --check", "numpy.linalg", "SIGTERM"),
        ("save_to_bento.py", "onnx", "SIGTERM"),
        ("-m antbee.predict", "numpy.linalg", "SIGINT"),
        ("-m antbee.predict", "onnxruntime.capi", "SIGTERM"),
    ],
)
def test_commands_are_interrupted_while_they_load(
    command: str, module: str, number: str, tmp_path: Path, packed: PackedModel
) -> None:
    """A signal in the middle of a library's import ends a command in one line, with 130."""
    (tmp_path / "sitecustomize.py").write_text(INTERRUPTER)
    arguments = [str(tmp_path), "--model", str(packed.folder)] if "predict" in command else []
    process = subprocess.run(
        [sys.executable, *command.split(), *arguments],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(tmp_path), "AT": module, "SIGNAL": number},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (process.returncode, process.stdout, process.stderr) == (130, "", "interrupted\n")


def test_a_table_is_aligned() -> None:
    """Names stand to the left, numbers to the right."""
    assert table(("server", "speed"), [("a", 1.0), ("bcd", "-")]) == (
        "server  speed\na         1.0\nbcd         -"
    )


def test_a_table_of_any_script_is_aligned() -> None:
    """A terminal gives a Chinese letter two columns, and none to an accent of its own."""
    rows = (("\u871c\u8702", 1), ("e\u0301", 2), ("abcd", 3))

    assert table(("", "n"), rows) == "      n\n\u871c\u8702  1\ne\u0301     2\nabcd  3"


def test_a_table_of_nothing_is_its_head() -> None:
    """Without rows there is a head."""
    assert table(("a", "b"), []) == "a  b"


def test_what_cannot_be_printed_is_spelt_out() -> None:
    """Nothing in a name can move the cursor, and names that are no text can be printed."""
    assert printable(Path("a\x1b[2J\n\udcffä.jpg")) == "a\\x1b[2J\\n\\udcffä.jpg"


def test_a_bar_is_for_terminals(capsys: Capture) -> None:
    """Where stderr is no terminal, nothing of a bar is written."""
    with progress_bar("reading", 2) as bar:
        bar.update(1)
        bar.set_postfix(loss=1)
        bar.clear()

    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("hidden", [False, True])
def test_a_bar_leaves_nothing_behind(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch, hidden: bool
) -> None:
    """On a terminal it is drawn, gives way to lines, and is gone in the end, unless hidden."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with progress_bar("reading", 4, done=1, hidden=hidden) as bar:
        bar.clear()
        say("a line")

    before, _, after = capsys.readouterr().err.partition("a line\n")
    assert ("reading:  25%|" in before) is not hidden
    assert before.rpartition("\r")[2] == ""
    assert after.rpartition("\r")[2] == ""
    assert after.strip() == ""
