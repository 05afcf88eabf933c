"""Shards: shares of one run that processes do, apart from one another."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from antbee.artifact import PackedModel
from antbee.batch.record import part_name
from tests.batch.command import read_rows, read_success, run
from tests.batch.conftest import PICTURES, repeat
from tests.conftest import REPOSITORY, environment

Capture = pytest.CaptureFixture[str]


def test_shards_make_what_one_makes(
    packed: PackedModel, pictures: Path, tmp_path: Path, capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Each does its own blocks; the last to end, whichever it is, writes `_SUCCESS.json`."""
    out = tmp_path / "out"
    assert run(packed, pictures, out, "--rows", "2", "--shard", "1/2") == 0
    assert [path.name for path in sorted(out.glob("part-*"))] == [part_name(1), part_name(3)]
    assert not (out / "_SUCCESS.json").exists()
    assert "2 blocks of other shards are not done" in capsys.readouterr().err

    monkeypatch.setenv("JOB_COMPLETION_INDEX", "0")
    assert run(packed, pictures, out, "--rows", "2", "--shard", "/2") == 0
    assert read_success(out)["pictures"] == PICTURES
    monkeypatch.delenv("JOB_COMPLETION_INDEX")
    assert run(packed, pictures, tmp_path / "one", "--rows", "2") == 0
    assert read_rows(out) == read_rows(tmp_path / "one")


def test_more_shards_than_blocks(packed: PackedModel, pictures: Path, tmp_path: Path) -> None:
    """A share may be empty, and another number of shares goes on with what some have done."""
    out = tmp_path / "out"
    assert run(packed, pictures, out, "--shard", "6/9") == 0
    assert not (out / "_SUCCESS.json").exists()
    assert run(packed, pictures, out, "--shard", "0/2") == 0

    assert len(read_rows(out)) == PICTURES
    assert run(packed, pictures, out, "--shard", "6/9") == 0  # which finds that all is done


def test_exit_code_is_the_shard_s_own(packed: PackedModel, pictures: Path, tmp_path: Path) -> None:
    """A shard that did its pictures is not failed by a bad one of another's."""
    source = tmp_path / "list.txt"
    source.write_text(f"{pictures / '0.jpg'}\n{tmp_path / 'none.jpg'}\n")
    options = ("--rows", "1", "--shard")

    assert run(packed, source, tmp_path / "out", *options, "1/2") == 1
    assert run(packed, source, tmp_path / "out", *options, "0/2") == 0
    assert read_success(tmp_path / "out")["errors"] == 1


def start(home: Path, packed: PackedModel, *arguments: object) -> subprocess.Popen[bytes]:
    """Start the command as a person does."""
    return subprocess.Popen(
        [sys.executable, "-m", "antbee.batch", *map(str, arguments), "--model", packed.folder],
        cwd=REPOSITORY,
        env=environment(home),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)]
)
def test_killed_and_run_again(
    packed: PackedModel, pictures: Path, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    """After a kill and a rerun there is one row a picture, and every whole part was kept."""
    many, out = repeat(pictures, tmp_path / "many", 30), tmp_path / "out"
    with start(tmp_path, packed, many, out, "--rows", "8") as running:
        while len(parts := sorted(out.glob("part-*"))) < 3:
            assert running.poll() is None
            time.sleep(0.01)
        running.send_signal(number)
        _, err = running.communicate()
    assert running.returncode == code
    assert b"Traceback" not in err
    before = {path: path.stat().st_mtime_ns for path in parts}

    assert run(packed, many, out) == 0
    rows = read_rows(out)
    assert len({row["path"] for row in rows}) == len(rows) == 30 * PICTURES
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert not list(out.glob(".*"))


@pytest.mark.slow
def test_two_processes_with_one_shard(packed: PackedModel, pictures: Path, tmp_path: Path) -> None:
    """A process that was thought dead does no harm: the parts are the same, and whole."""
    many, out = repeat(pictures, tmp_path / "many", 10), tmp_path / "out"
    both = [start(tmp_path, packed, many, out, "--rows", "4") for _ in range(2)]
    codes = [(one.communicate()[1], one.returncode) for one in both]
    assert [code for _, code in codes] == [0, 0], codes

    rows = read_rows(out)
    assert len({row["path"] for row in rows}) == len(rows) == 10 * PICTURES
    assert read_success(out)["pictures"] == len(rows)
