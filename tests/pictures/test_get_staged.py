"""The folder that is filled beside its place."""

import os
import shutil
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest

from antbee.errors import DataError
from antbee.pictures import get
from antbee.pictures.get import check_label, check_space, staged
from tests.pictures.archives import names_in, read_tree


def test_nothing_is_there_before_the_end(tmp_path: Path) -> None:
    """The folder and its parents come into being complete."""
    with staged(tmp_path / "some/data") as stage:
        (stage / "1.jpg").write_bytes(b"1")

        assert not (tmp_path / "some").exists()

    assert read_tree(tmp_path) == {"some/data/1.jpg": b"1"}


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    """Whatever goes wrong, what was made is removed."""

    def fail() -> None:
        with staged(tmp_path / "some/data") as stage:
            (stage / "1.jpg").write_bytes(b"1")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()

    assert names_in(tmp_path) == []


def test_the_folder_opens_to_others_as_any_other(tmp_path: Path) -> None:
    """Who may read it follows from the umask, as for a folder made by hand."""
    (tmp_path / "by hand").mkdir()
    with staged(tmp_path / "data"):
        pass

    assert (tmp_path / "data").stat().st_mode == (tmp_path / "by hand").stat().st_mode


def test_two_at_once(tmp_path: Path) -> None:
    """Whoever is first fills the folder; the other says so and changes nothing."""

    def be_second() -> None:
        with staged(tmp_path / "data"):
            (tmp_path / "data").mkdir()
            (tmp_path / "data/theirs.jpg").write_bytes(b"theirs")

    with pytest.raises(DataError, match="another process filled it meanwhile"):
        be_second()

    assert read_tree(tmp_path) == {"data/theirs.jpg": b"theirs"}


def test_only_what_the_dead_left_is_removed(tmp_path: Path) -> None:
    """Beside the folder may be those of running processes, of other targets, and of anybody."""
    kept = [f".data.antbee-{os.getppid()}", ".data2.antbee-999999999", ".data.antbee-", "mine"]
    stale = [".data.antbee-999999999", f".data.antbee-{os.getpid()}", f".data.antbee-{10**30}"]
    for name in kept + stale:
        (tmp_path / name / "train").mkdir(parents=True)

    with staged(tmp_path / "data"):
        pass

    assert names_in(tmp_path) == sorted([*kept, "data"])


def test_another_users_process_is_alive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that may not be signalled is alive all the same."""

    def refuse(_process: int, _number: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", refuse)
    (tmp_path / ".data.antbee-999999999").mkdir()

    with staged(tmp_path / "data"):
        pass

    assert names_in(tmp_path) == [".data.antbee-999999999", "data"]


def test_a_full_disk_is_foreseen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not fit is not begun, and the line says how much is missing."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1_000_000))

    with pytest.raises(DataError) as caught, staged(tmp_path / "data") as stage:
        check_space(stage, 1_500_000)

    assert str(caught.value) == (
        f"cannot fill {tmp_path}/data: No space left on device, "
        "1.5 MB are needed and 1.0 MB are free: free some space and run this again"
    )
    assert names_in(tmp_path) == []


def test_signals_are_as_before_afterwards(tmp_path: Path) -> None:
    """What the caller does on a signal is untouched, and what it ignores stays ignored."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    handlers = [signal.getsignal(number) for number in get._SIGNALS]
    try:
        with staged(tmp_path / "data"):
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN

        assert [signal.getsignal(number) for number in get._SIGNALS] == handlers
    finally:
        signal.signal(signal.SIGHUP, before)


def test_too_late_to_be_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C within the last step does not undo what is complete."""
    rename = Path.rename

    def interrupted(path: Path, target: Path) -> Path:
        os.kill(os.getpid(), signal.SIGINT)
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", interrupted)
    with staged(tmp_path / "data") as stage:
        (stage / "1.jpg").write_bytes(b"1")

    assert read_tree(tmp_path) == {"data/1.jpg": b"1"}


@pytest.mark.parametrize("name", ["", ".", "..", ".ant", "a/b", "a\\b", "a\nb", "\x1b[2J"])
def test_what_cannot_be_a_label(name: str) -> None:
    """A label is the name of a visible folder."""
    with pytest.raises(ValueError, match="cannot be a label"):
        check_label(name)


@pytest.mark.parametrize("name", ["ant", "honey bee", "Fourmi noire", "蜂", "a.b"])
def test_what_can_be_a_label(name: str) -> None:
    """Any language and any spaces will do."""
    assert check_label(name) == name
