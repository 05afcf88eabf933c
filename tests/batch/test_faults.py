"""`python -m antbee.batch`: what is refused, and what fails while it runs."""

import errno
import importlib.util
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest
from pyarrow import parquet

from antbee.artifact import INDEX, PackedModel, write_model
from antbee.batch.__main__ import find_shard, main
from antbee.batch.record import RECORD, part_name
from tests.batch.command import errors, read_rows, read_success, run
from tests.batch.conftest import PICTURES

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="session")
def done(packed: PackedModel, pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an OUT that is done, not to be changed."""
    out = tmp_path_factory.mktemp("done") / "out"
    assert run(packed, pictures, out, "--rows", "3") == 0
    return out


def changed(packed: PackedModel, folder: Path) -> PackedModel:
    """Make a model that is called as another, and is not the same."""
    shutil.copytree(packed.folder, folder, copy_function=os.link)
    (folder / INDEX).unlink()
    write_model(replace(packed, folder=folder, metrics={"epoch": 1}))
    return replace(packed, folder=folder)


def test_another_run_s_out_is_refused(
    packed: PackedModel, packed_int8: PackedModel, pictures: Path, tmp_path: Path, done: Path,
    capsys: Capture,
) -> None:  # fmt: skip
    """Another model, runtime, list or size of blocks is named, and nothing is written."""
    before = {path.name: path.stat().st_mtime_ns for path in done.iterdir()}
    more = tmp_path / "more"
    shutil.copytree(pictures, more)
    twin = changed(packed, tmp_path / "twin")
    mixed = tmp_path / "mixed"
    shutil.copytree(done, mixed)
    record = json.loads((mixed / RECORD).read_text())
    (mixed / RECORD).write_text(json.dumps({**record, "model": str(twin.folder)}))
    asked = [
        (packed_int8, pictures, done, ()),
        (packed, pictures, done, ("--rows", "5")),
        (packed, more, done, ()),
        (twin, pictures, mixed, ()),
    ]
    for model, source, out, further in asked:
        assert run(model, source, out, *further) == 1

    differences = [
        f"the model {packed.folder}, not {packed_int8.folder}",
        "--rows 3, not 5",
        "a list with other pictures",
        "another model of the same name",
    ]
    assert errors(capsys) == [
        f"error: OUT was begun with {one}: name another OUT, or delete it" for one in differences
    ]
    assert {path.name: path.stat().st_mtime_ns for path in done.iterdir()} == before


def test_another_runtime_is_refused(
    packed_int8: PackedModel, pictures: Path, tmp_path: Path, capsys: Capture
) -> None:
    """A run keeps to its runtime: what packing chose, unless another is asked for."""
    assert run(packed_int8, pictures, tmp_path / "out", "--runtime", "int8") == 0
    assert run(packed_int8, pictures, tmp_path / "out") == 0
    assert run(packed_int8, pictures, tmp_path / "out", "--runtime", "onnx") == 1

    assert {row["runtime"] for row in read_rows(tmp_path / "out")} == {"int8"}
    assert "error: OUT was begun with the runtime int8, not onnx: " in capsys.readouterr().err


def test_parts_of_another_run_are_refused(
    packed: PackedModel, pictures: Path, tmp_path: Path, done: Path, capsys: Capture
) -> None:
    """A part says whose it is: two runs that began at once do not mix."""
    out = tmp_path / "out"
    run(packed, pictures / "sub", out, "--rows", "3")
    shutil.copy(done / part_name(0), out / part_name(0))

    assert run(packed, pictures / "sub", out) == 1
    said = f"error: {part_name(0)} was made with a list with other pictures"
    assert said in capsys.readouterr().err


def test_the_same_names_elsewhere_are_other_pictures(
    packed: PackedModel, pictures: Path, tmp_path: Path, capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Relative paths begin at the working folder, which is of the run; absolute ones do not."""
    shutil.copytree(pictures, tmp_path / "twin")
    for folder, code in ((pictures, 0), (tmp_path / "twin", 1), (pictures, 0)):
        monkeypatch.chdir(folder)
        assert run(packed, ".", tmp_path / "out") == code
    (said,) = errors(capsys)
    difference = f"relative paths, which begin at {pictures}, not at {tmp_path / 'twin'}"
    assert said == f"error: OUT was begun with {difference}: name another OUT, or delete it"

    (tmp_path / "list.txt").write_text(f"s3://\n{pictures / '0.jpg'}\n")
    for folder in (pictures, tmp_path / "twin"):
        monkeypatch.chdir(folder)
        assert run(packed, tmp_path / "list.txt", tmp_path / "absolute") == 1
    assert errors(capsys) == []


def test_a_model_has_many_names(packed: PackedModel, pictures: Path, tmp_path: Path) -> None:
    """One and the same model goes on, by whatever path; rows call it what the first did."""
    (tmp_path / "link").symlink_to(packed.folder)
    out = tmp_path / "out"
    for number, name in enumerate((f"{packed.folder}/", packed.folder, tmp_path / "link")):
        (out / part_name(number)).unlink(missing_ok=True)
        assert main([str(pictures), str(out), "--rows", "2", "--model", str(name)]) == 0

    assert {row["model"] for row in read_rows(out)} == {f"{packed.folder}/"}


@pytest.mark.parametrize("step", [0, 1, 2, 3])
def test_a_damaged_footer_is_no_part(
    packed: PackedModel, pictures: Path, tmp_path: Path, done: Path, step: int
) -> None:
    """Whatever is wrong with it, and whatever pyarrow says of that, the part is made anew."""
    out = tmp_path / "out"
    shutil.copytree(done, out)
    content = bytearray((out / part_name(1)).read_bytes())
    size = int.from_bytes(content[-8:-4], "little")
    begin = len(content) - 8 - size + step * (size - 64) // 3
    content[begin : begin + 64] = b"\xff" * 64
    (out / part_name(1)).write_bytes(content)

    assert run(packed, pictures, out) == 0
    assert read_rows(out) == read_rows(done)


def test_what_the_system_cannot_read_is_named(
    packed: PackedModel, pictures: Path, done: Path, capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """A disk's fault is none of the part, which is not made anew."""

    def fail(_: object) -> object:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(parquet, "read_metadata", fail)
    assert run(packed, pictures, done) == 1
    assert errors(capsys) == [f"error: {part_name(0)} cannot be read: Input/output error"]


def test_out_that_is_meant_for_an_address(
    packed: PackedModel, pictures: Path, tmp_path: Path, capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """What is nearly one is refused, and no folder is made that is called so."""
    monkeypatch.chdir(tmp_path)
    asked = ["S3://bucket/x", "s3:/bucket/x", "s3:bucket", "gs://bucket/x", "s3://"]
    for out in asked:
        assert run(packed, pictures, out) == 1

    assert errors(capsys) == [
        f"error: {out} cannot be opened: name a folder, or s3://BUCKET/FOLDER" for out in asked
    ]
    assert not list(tmp_path.iterdir())


def test_a_pipe_is_no_list(packed: PackedModel, tmp_path: Path, capsys: Capture) -> None:
    """A list is read twice, which is said before anybody waits for the pipe's other end."""
    os.mkfifo(tmp_path / "pipe")

    assert run(packed, tmp_path / "pipe", tmp_path / "out") == 1
    assert errors(capsys) == [
        f"error: {tmp_path / 'pipe'} is no file: a list is read twice, so write it to one"
    ]


def test_a_folder_of_something_else_is_no_out(
    packed: PackedModel, pictures: Path, capsys: Capture
) -> None:
    """Nothing is written where other things are."""
    assert run(packed, pictures, pictures) == 1
    assert (
        "error: OUT is not empty, and no run of antbee.batch was there" in capsys.readouterr().err
    )


def test_out_within_the_source(packed: PackedModel, pictures: Path, tmp_path: Path) -> None:
    """OUT may lie in the folder of pictures, and is not looked into."""
    folder = tmp_path / "pictures"
    shutil.copytree(pictures, folder)
    for _ in range(2):
        assert run(packed, folder, folder / "out") == 0
    assert read_success(folder / "out")["pictures"] == PICTURES


def test_sources_that_cannot_be(packed: PackedModel, tmp_path: Path, capsys: Capture) -> None:
    """A source that is not there, or nothing of the kind, is named in one line."""
    (tmp_path / "list.txt").write_text("\n\n")
    (tmp_path / "picture.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    sources = [tmp_path / "none", tmp_path / "list.txt", tmp_path / "picture.jpg", "http://a/b"]
    for source in sources:
        assert run(packed, source, tmp_path / "out") == 1

    for source, line in zip(sources, errors(capsys), strict=True):
        assert str(source) in line
    assert not (tmp_path / "out").exists()


def test_an_empty_folder_is_a_row(packed: PackedModel, tmp_path: Path) -> None:
    """As `antbee.predict` does, a folder without pictures is told of, and the exit code is 1."""
    (tmp_path / "in").mkdir()

    assert run(packed, tmp_path / "in", tmp_path / "out") == 1
    (row,) = read_rows(tmp_path / "out")
    assert (row["path"], row["code"]) == (str(tmp_path / "in"), "unreadable_file")


def test_a_full_disk(
    packed: PackedModel, pictures: Path, tmp_path: Path, capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """What cannot be written is said, leaves nothing half, and is done by the next run."""
    out = tmp_path / "out"
    fsync = os.fsync

    def fail(file: int) -> None:
        if (out / part_name(1)).exists():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(file)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        assert run(packed, pictures, out, "--rows", "2") == 1
    assert "cannot be written: No space left on device" in capsys.readouterr().err.splitlines()[-1]
    assert sorted(path.name for path in out.glob("*part*")) == [part_name(0), part_name(1)]

    assert run(packed, pictures, out) == 0
    assert len(read_rows(out)) == PICTURES


def test_no_folder_for_temporary_files(
    packed: PackedModel, pictures: Path, tmp_path: Path, capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Where nothing but OUT can be written to, as in many a container, that is said."""
    nowhere = FileNotFoundError(errno.ENOENT, "No usable temporary directory found")
    monkeypatch.setattr("antbee.batch.run.TemporaryDirectory", Mock(side_effect=nowhere))

    assert run(packed, pictures, tmp_path / "out") == 1
    reason = "a folder for temporary files: No usable temporary directory found"
    assert errors(capsys) == [f"error: {reason}"]


def test_the_extra_is_named(
    packed: PackedModel, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without pyarrow, or without Ray, a line says what to install."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    for engine in ("local", "ray"):
        assert run(packed, tmp_path, tmp_path / "out", "--engine", engine) == 1

    assert capsys.readouterr().err.splitlines() == [
        "error: pyarrow is not installed: pip install 'antbee[batch]'",
        "error: pyarrow is not installed: pip install 'antbee[ray]'",
    ]


@pytest.mark.parametrize(
    ("asked", "environment", "expected"),
    [
        (None, {}, (0, 1)),
        ("2/5", {}, (2, 5)),
        ("/5", {"JOB_COMPLETION_INDEX": "4"}, (4, 5)),
        ("1/5", {"JOB_COMPLETION_INDEX": "4"}, (1, 5)),
        (None, {"AWS_BATCH_JOB_ARRAY_INDEX": "3", "AWS_BATCH_JOB_ARRAY_SIZE": "9"}, (3, 9)),
        ("/5", {}, "has no index"),
        (None, {"JOB_COMPLETION_INDEX": "4"}, "JOB_COMPLETION_INDEX is 4: say with --shard /N"),
        ("5/5", {}, "counted from 0"),
        ("0/0", {}, "counted from 0"),
        ("1", {}, "is not I/N"),
        ("-1/3", {}, "is not I/N"),
    ],
)
def test_shards(
    asked: str | None, environment: dict[str, str], expected: tuple[int, int] | str
) -> None:
    """A share is asked for, or a cluster's number; nobody does everything by mistake."""
    if isinstance(expected, str):
        with pytest.raises(ValueError, match=expected):
            find_shard(asked, environment)
    else:
        assert find_shard(asked, environment) == expected


@pytest.mark.parametrize(
    "arguments",
    [
        [], ["in"], ["in", "out", "--shard", "2/2"], ["in", "out", "--rows", "0"],
        ["in", "out", "--rows", "9223372036854775808"],
        ["in", "out", "--runtime", "torch"], ["in", "out", "--address", "auto"],
        ["in", "out", "--engine", "spark"],
    ],
)  # fmt: skip
def test_wrong_usage(arguments: list[str], capsys: Capture) -> None:
    """Arguments that cannot be are answered with the usage and exit code 2."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)

    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("usage: python -m antbee.batch ")
