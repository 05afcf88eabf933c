"""`sh get_data.sh`, run as a user runs it."""

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.pictures.archives import MEMBERS, TREE, make_zip, names_in, read_tree
from tests.pictures.script import ROOT, SCRIPT, run_script, start_script

REAL = ROOT.parent / "shared/data/hymenoptera_data.zip"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Make the empty folder from which the script is run."""
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Make a small archive."""
    return make_zip(tmp_path / "pictures.zip", MEMBERS)


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make an archive that takes seconds to unpack."""
    members = {f"train/ants/{number}.jpg": b"" for number in range(30_000)}
    return make_zip(tmp_path_factory.mktemp("slow") / "slow.zip", members | {"val/ants/1.jpg": b""})


def test_fills_data_by_default(home: Path, pictures: Path) -> None:
    """Without DIR the folder is `data`; the labels are renamed and counted on stderr."""
    result = run_script(home, DATA_URL=pictures)

    assert (result.returncode, result.stdout) == (0, "")
    assert result.stderr == "data/train: ant 2, bee 1\ndata/val: ant 1, bee 1\n"
    assert read_tree(home / "data") == TREE
    assert names_in(home) == ["data"]


def test_names_may_hold_anything(home: Path, tmp_path: Path) -> None:
    """Spaces and a leading dash are part of a name."""
    archive = make_zip(tmp_path / "my #1 pictures.zip", MEMBERS)

    result = run_script(home, "--", "-my data", DATA_URL=archive)

    assert result.returncode == 0
    assert read_tree(home / "-my data") == TREE


@pytest.mark.parametrize(
    "arguments", [("--smaple",), ("-x", "data"), ("data", "more"), ("",), ("--", "a", "b")]
)
def test_wrong_usage(home: Path, arguments: tuple[str, ...]) -> None:
    """What cannot be understood exits with 2 and the usage."""
    result = run_script(home, *arguments)

    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("error: ")
    assert "usage: sh get_data.sh [--sample] [DIR]" in result.stderr
    assert names_in(home) == []


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help(home: Path, option: str) -> None:
    """Help is what was asked for, so it is on stdout."""
    result = run_script(home, option)

    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("usage: ")
    assert names_in(home) == []


def test_a_bare_python_is_enough(home: Path, tmp_path: Path, pictures: Path) -> None:
    """Nothing has to be installed to fetch pictures; to draw them, Pillow, and that is said."""
    options = {"script": _copy_script(tmp_path), "PYTHON": _stub(tmp_path, '"$python" -S "$@"')}

    fetched = run_script(home, "fetched", DATA_URL=pictures, **options)
    drawn = run_script(home, "--sample", "drawn", **options)

    assert fetched.returncode == 0
    _assert_refused(drawn, f"needs Pillow: {options['PYTHON']} -m pip install pillow")
    assert names_in(home) == ["fetched"]


def test_an_old_python_is_refused(home: Path, tmp_path: Path) -> None:
    """Python older than 3.11 is named with its version."""
    old = _stub(tmp_path, '[ "$1" = --version ] && echo Python 3.10.2')

    result = run_script(home, script=_copy_script(tmp_path), PYTHON=old)

    _assert_refused(result, "Python 3.10.2 is too old: install Python 3.11 or newer")


def test_no_python_is_said(home: Path, tmp_path: Path) -> None:
    """A machine without Python is told what to install."""
    result = run_script(home, script=_copy_script(tmp_path), PYTHON="no-such-python")

    _assert_refused(result, "there is no no-such-python: install Python 3.11 or newer")


def test_the_environment_beside_the_script_is_used(
    home: Path, tmp_path: Path, pictures: Path
) -> None:
    """`.venv/bin/python` beside the script goes before any other Python."""
    script = _copy_script(tmp_path)
    (script.parent / ".venv/bin").mkdir(parents=True)
    _stub(tmp_path, '"$python" "$@"').rename(script.parent / ".venv/bin/python")

    result = run_script(home, script=script, PYTHON="no-such-python", DATA_URL=pictures)

    assert result.returncode == 0


def test_modules_in_the_callers_folder_stay_out(home: Path, pictures: Path) -> None:
    """A zipfile.py that happens to lie in the caller's folder is not run."""
    (home / "zipfile.py").write_text("raise SystemExit('wrong module')")

    assert run_script(home, DATA_URL=pictures).returncode == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted_while_unpacking(home: Path, slow: Path, number: signal.Signals) -> None:
    """Ctrl-C and its like exit with 130 in one line, and leave nothing behind."""
    with start_script(home, DATA_URL=slow) as process:
        _wait_for_staging(home)
        process.send_signal(number)
        output = process.communicate(timeout=60)

    assert (process.returncode, output) == (130, ("", "interrupted\n"))
    assert names_in(home) == []


def test_killed_while_unpacking(home: Path, slow: Path, pictures: Path) -> None:
    """What a killed run leaves is hidden and is not DIR, and the next run removes it."""
    with start_script(home, DATA_URL=slow) as process:
        _wait_for_staging(home)
        process.kill()

    assert names_in(home) == [f".data.antbee-{process.pid}"]
    assert run_script(home, DATA_URL=pictures).returncode == 0
    assert names_in(home) == ["data"]


@pytest.mark.skipif(not REAL.exists(), reason="the real pictures are not beside the repository")
def test_the_real_pictures(home: Path) -> None:
    """The real archive gives every picture of the tutorial, but not its own stray GIF."""
    result = run_script(home, DATA_URL=REAL)

    lines = result.stderr.splitlines()
    assert lines[1:] == ["data/train: ant 123, bee 121", "data/val: ant 70, bee 83"]
    assert lines[0].startswith("left out hymenoptera_data/train/ants/imageNotFound.gif: ")
    assert not list(home.rglob("*.gif"))


def _assert_refused(result: subprocess.CompletedProcess[str], reason: str) -> None:
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1, result.stderr
    assert reason in result.stderr


def _copy_script(folder: Path) -> Path:
    shutil.copytree(ROOT / "antbee", folder / "copy/antbee")
    return Path(shutil.copy(SCRIPT, folder / "copy"))


def _stub(folder: Path, command: str) -> Path:
    stub = folder / "stub"
    stub.write_text(f"#!/bin/sh\npython='{sys.executable}'\n{command}\n")
    stub.chmod(0o755)
    return stub


def _wait_for_staging(home: Path) -> None:
    deadline = time.monotonic() + 60
    while not list(home.glob(".data.antbee-*/train/ant")):
        assert time.monotonic() < deadline, "the script does not unpack"
        time.sleep(0.005)
