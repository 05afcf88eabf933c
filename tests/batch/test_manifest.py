"""Lists of pictures: read, cut into blocks, and never in memory as a whole."""

import os
import tracemalloc
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from antbee.artifact import PackedModel
from antbee.batch.manifest import Entry, Manifest, find_entries, write_manifest
from antbee.errors import DataError
from tests.batch.command import read_rows, run


def paths(source: Path) -> list[bytes]:
    """Find the entries' paths."""
    return [entry.path for entry in find_entries(str(source), str(source / "out"))]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"a.jpg\nb.jpg\n", [b"a.jpg", b"b.jpg"]),
        (b"a.jpg\r\n\r\nb.jpg", [b"a.jpg", b"b.jpg"]),
        (b"caf\xe9.jpg\n", [b"caf\xe9.jpg"]),
        (b"\xef\xbb\xbfa.jpg\n", [b"a.jpg"]),
        (b"a\nb.jpg\0c.jpg\0", [b"a\nb.jpg", b"c.jpg"]),
        (b"b.jpg\na.jpg\nb.jpg\n", [b"b.jpg", b"a.jpg"]),
    ],
)
def test_a_list_is_a_text(tmp_path: Path, content: bytes, expected: list[bytes]) -> None:
    """A path a line, or one before each NUL; in the list's order, each once."""
    source = tmp_path / "list.txt"
    source.write_bytes(content)

    assert paths(source) == expected


def test_a_list_is_parquet(tmp_path: Path) -> None:
    """A column called path, of texts or bytes; or the only one of texts."""
    source = tmp_path / "list.parquet"
    for table in (
        pa.table({"size": [1, 2, 3], "path": ["b.jpg", None, "é.jpg"], "note": ["", "", ""]}),
        pa.table({"size": [1, 2], "name": pa.array([b"b.jpg", "é.jpg".encode()], pa.binary())}),
        pa.table({"path": pa.array(["b.jpg", "é.jpg", "b.jpg"]).dictionary_encode()}),
        pa.table({"path": pa.array(["b.jpg", "é.jpg"], pa.string_view())}),  # as DataFusion copies
        pa.table({"path": pa.array([b"b.jpg", "é.jpg".encode()], pa.binary_view())}),
    ):
        parquet.write_table(table, source)
        assert paths(source) == [b"b.jpg", "é.jpg".encode()]

    parquet.write_table(pa.table({"a": ["x"], "b": ["y"]}), source)
    with pytest.raises(DataError, match="no column of texts called path"):
        paths(source)


@pytest.mark.parametrize("content", [b"PK\x03\x04\0\0", "a.jpg\n".encode("utf-16")])
def test_other_files_are_no_list(tmp_path: Path, content: bytes) -> None:
    """What is neither text nor Parquet is not taken for paths."""
    (tmp_path / "list").write_bytes(content)

    with pytest.raises(DataError, match="is no list"):
        paths(tmp_path / "list")


def test_names_that_nothing_can_have(packed: PackedModel, tmp_path: Path) -> None:
    """They are rows with an error, as what is not there is."""
    names = [b"a\0.jpg", b"s3://bucket/\xff.jpg", b"s3://", b"x" * 5000, b"/dev/null"]
    table = pa.table({"path": pa.array(names, pa.binary())})
    parquet.write_table(table, tmp_path / "list.parquet")

    assert run(packed, tmp_path / "list.parquet", tmp_path / "out") == 1
    assert [row["code"] for row in read_rows(tmp_path / "out")] == ["unreadable_file"] * len(names)


def test_answers_are_a_list(packed: PackedModel, pictures: Path, tmp_path: Path) -> None:
    """A part of one run is a list for another."""
    run(packed, pictures, tmp_path / "one")
    (part,) = (tmp_path / "one").glob("part-*")

    assert run(packed, part, tmp_path / "two") == 0
    assert read_rows(tmp_path / "two") == read_rows(tmp_path / "one")


def test_relative_paths_begin_at_the_working_folder(
    packed: PackedModel, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As everywhere on a command line."""
    monkeypatch.chdir(pictures)
    (tmp_path / "list.txt").write_text("0.jpg\nsub/4.png\n")

    assert run(packed, tmp_path / "list.txt", tmp_path / "out") == 0
    assert [row["path"] for row in read_rows(tmp_path / "out")] == ["0.jpg", "sub/4.png"]


def test_a_folder_that_cannot_be_read_is_an_entry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part of the source that this user may not read is no gap."""
    (tmp_path / "closed").mkdir()
    (tmp_path / "a.jpg").touch()
    scandir = os.scandir

    def refuse(path: Path) -> object:
        if path.name == "closed":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)

    assert list(find_entries(str(tmp_path), str(tmp_path / "out"))) == [
        Entry(os.fsencode(tmp_path / "a.jpg")),
        Entry(os.fsencode(tmp_path / "closed"), "the folder cannot be read: Permission denied"),
    ]


def test_blocks_are_the_same_everywhere(tmp_path: Path) -> None:
    """A manifest is cut every so many rows, and its sum is that of the paths alone."""
    entries = [Entry(b"%d.jpg" % number, None if number else "gone") for number in range(10)]
    listed = write_manifest(tmp_path / "a", entries, 4)
    manifest = Manifest(tmp_path / "a")

    assert [manifest.rows(block) for block in range(manifest.blocks)] == [4, 4, 2]
    assert [one for block in range(3) for one in manifest.block(block)] == entries
    assert listed.pictures == 10
    assert write_manifest(tmp_path / "b", entries, 3).digest == listed.digest
    assert write_manifest(tmp_path / "c", entries[::-1], 4).digest != listed.digest


def test_a_long_list_is_not_in_memory(tmp_path: Path) -> None:
    """Of 50,000 paths of a hundred bytes, 5 MB, a few are in memory at a time."""
    source = tmp_path / "list.txt"
    with source.open("w") as file:
        file.writelines(f"{'folder/' * 12}{number:012}.jpg\n" for number in range(50_000))
    tracemalloc.start()
    try:
        listed = write_manifest(
            tmp_path / "manifest", find_entries(str(source), str(tmp_path / "out")), 1024
        )
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert listed.pictures == 50_000
    assert peak < 4_000_000
