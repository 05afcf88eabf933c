"""Exceptions to exit codes."""

import pytest

from antbee.command import exit_on_error, run
from antbee.errors import STATUS, DataError, RequestError


def _raise(error: BaseException) -> int:
    raise error


def test_a_users_mistake_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """A mistake exits with 1 and one line on stderr, nothing on stdout."""
    code = run(lambda: _raise(DataError("no pictures here")))

    assert code == 1
    assert capsys.readouterr() == ("", "error: no pictures here\n")


def test_interrupted_exits_with_130() -> None:
    """Ctrl-C exits with 130."""
    assert run(lambda: _raise(KeyboardInterrupt())) == 130


def test_done_passes_through() -> None:
    """What the work returns is the exit code."""
    assert run(lambda: 0) == 0


def test_a_bug_keeps_its_traceback() -> None:
    """An exception that is no user's mistake is not hidden."""
    with pytest.raises(ZeroDivisionError):
        run(lambda: _raise(ZeroDivisionError()))


def test_exit_on_error_ends_the_program(capsys: pytest.CaptureFixture[str]) -> None:
    """In another program's process, a mistake is a line and exit code 1."""
    with pytest.raises(SystemExit, match="1"), exit_on_error():
        _raise(DataError("no"))

    assert capsys.readouterr().err == "error: no\n"


@pytest.mark.parametrize("code", STATUS)
def test_each_code_has_its_status(code: str) -> None:
    """A request's error carries the status of its code."""
    assert RequestError(code, "…").status == STATUS[code]
