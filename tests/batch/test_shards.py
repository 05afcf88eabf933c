"""Shards: shares of one run that processes do, apart from one another."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from antbee import predict
from antbee.artifact import PackedModel
from antbee.batch import run as batch_run
from antbee.batch import score
from antbee.batch.record import SUCCESS, part_name, write_success
from antbee.batch.storage import Folder
from antbee.command import say
from tests.batch.command import read_rows, read_success, run
from tests.batch.conftest import PICTURES, repeat
from tests.conftest import REPOSITORY, environment

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def broken(pictures: Path, tmp_path: Path) -> Path:
    """Make a folder of pictures of which the second cannot be read."""
    folder = tmp_path / "broken"
    shutil.copytree(pictures, folder)
    (folder / "1.jpg").write_bytes((folder / "1.jpg").read_bytes()[:200])
    return folder


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


def test_what_others_clean_is_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shard that ends deletes temporary files, this one's, too; the old file is no substitute."""
    (tmp_path / "part").write_bytes(b"old")
    cleaned: list[int] = []
    fsync = os.fsync

    def clean(file: int) -> None:
        fsync(file)
        if len(cleaned) < 3:
            Folder(tmp_path).clean()
            cleaned.append(file)

    monkeypatch.setattr(os, "fsync", clean)
    Folder(tmp_path).write("part", b"new")
    assert (tmp_path / "part").read_bytes() == b"new"
    assert [path.name for path in tmp_path.iterdir()] == ["part"]

    monkeypatch.setattr(os, "fsync", lambda _: Folder(tmp_path).clean())
    with pytest.raises(FileNotFoundError):  # somebody who never stops is no reason to go on
        Folder(tmp_path).write("part", b"newer")


def test_a_damaged_part_is_no_success(
    packed: PackedModel, pictures: Path, tmp_path: Path, capsys: Capture
) -> None:
    """All names are there, but one of another shard's cannot be read: that shard ends the run."""
    out = tmp_path / "out"
    assert run(packed, pictures, out, "--rows", "2") == 0
    (out / SUCCESS).unlink()
    (out / part_name(1)).write_bytes((out / part_name(1)).read_bytes()[:-100])
    shard = ("--shard", "0/2")

    assert run(packed, pictures, out, *shard) == 0
    assert not (out / SUCCESS).exists()
    assert f"1 parts of other shards are damaged, such as {part_name(1)}" in capsys.readouterr().err
    assert run(packed, pictures, out, "--shard", "1/2") == 0
    assert read_success(out)["pictures"] == len(read_rows(out)) == PICTURES


def test_success_is_of_what_out_holds(
    packed: PackedModel, broken: Path, tmp_path: Path, pictures: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Two shards mend errors and end at once: whichever writes last tells of both."""
    out = tmp_path / "out"
    assert run(packed, broken, out, "--rows", "1") == 1
    others: list[int] = []

    def be_second(*arguments: Any) -> dict[str, Any]:  # noqa: ANN401 - they are handed on
        if not others:
            others.append(1)
            shutil.copy(pictures / "1.jpg", broken / "1.jpg")
            assert run(packed, broken, out, "--retry-errors", "--shard", "1/2") == 0
            assert read_success(out)["errors"] == 0
        return write_success(*arguments)

    monkeypatch.setattr(batch_run, "write_success", be_second)
    assert run(packed, broken, out, "--retry-errors", "--shard", "0/2") == 0
    assert others
    assert read_success(out)["errors"] == 0


def test_another_has_mended_all(
    packed: PackedModel, broken: Path, tmp_path: Path, pictures: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Who finds nothing left of what it began with is done, and tells of what there is now."""
    out = tmp_path / "out"
    assert run(packed, broken, out, "--rows", "9") == 1
    others: list[int] = []

    def be_second(line: str) -> None:
        say(line)
        if "engine local" in line and not others:
            others.append(1)
            shutil.copy(pictures / "1.jpg", broken / "1.jpg")
            assert run(packed, broken, out, "--retry-errors") == 0

    monkeypatch.setattr(batch_run, "say", be_second)
    assert run(packed, broken, out, "--retry-errors") == 0
    assert others
    assert [row["code"] for row in read_rows(out)] == [None] * PICTURES


@pytest.mark.parametrize("options", [(), ("--retry-errors",)])
def test_an_answer_outlives_an_error(
    packed: PackedModel, broken: Path, tmp_path: Path, pictures: Path, options: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """What another process has mended meanwhile is not replaced by this one's failure."""
    out, mended = tmp_path / "out", tmp_path / "mended"
    assert run(packed, broken, out, "--rows", "9") == 1
    shutil.copytree(out, mended)
    whole, cut = pictures / "1.jpg", (broken / "1.jpg").read_bytes()
    shutil.copy(whole, broken / "1.jpg")
    assert run(packed, broken, mended, "--retry-errors") == 0
    (broken / "1.jpg").write_bytes(cut)

    def be_second(*arguments: Any) -> object:  # noqa: ANN401 - they are handed on
        shutil.copy(mended / part_name(0), out / part_name(0))
        return predict.answer(*arguments)

    if not options:
        (out / part_name(0)).unlink()
    monkeypatch.setattr(score, "answer", be_second)
    assert run(packed, broken, out, *options) == 0
    assert read_rows(out) == read_rows(mended)


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
