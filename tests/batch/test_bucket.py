"""`python -m antbee.batch` from a bucket to another, with moto in place of S3."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from pyarrow import dataset
from pyarrow.fs import FileSelector, FileSystem

from antbee.artifact import PackedModel
from antbee.batch import storage
from tests.batch.command import errors, read_rows, run
from tests.batch.conftest import PICTURES
from tests.conftest import REPOSITORY, free_port

pytestmark = pytest.mark.slow
SERVER = REPOSITORY / ".venv-tools/bin/moto_server"
Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def bucket(pictures: Path) -> Iterator[FileSystem]:
    """Serve S3 here, with the pictures and other things in a bucket."""
    if not SERVER.exists():
        pytest.skip("moto is not installed: make tools")
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    command = [str(SERVER), "-H", "127.0.0.1", "-p", str(port)]
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "testing")
        patch.setenv("AWS_ENDPOINT_URL", address)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        storage._filesystem.cache_clear()  # of another server
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as server:
            try:
                for _ in range(300):
                    try:
                        httpx.get(address, trust_env=False)
                        break
                    except httpx.TransportError:
                        time.sleep(0.1)
                system, _ = FileSystem.from_uri("s3://pictures?allow_bucket_creation=true")
                for name in ("pictures", "answers"):
                    system.create_dir(name)
                for path in [*pictures.rglob("*.*"), pictures / "0.jpg"]:
                    name = str(path.relative_to(pictures))
                    put(system, f"pictures/in/{name}", path.read_bytes())
                put(system, "pictures/in/a b#?é%41.jpg", (pictures / "0.jpg").read_bytes())
                put(system, "pictures/in/note.txt", b"no picture by its name")
                put(system, "pictures/in/.hidden/0.jpg", b"nor this")
                yield system
            finally:
                server.terminate()
        storage._filesystem.cache_clear()


def put(system: FileSystem, name: str, content: bytes) -> None:
    """Write an object."""
    with system.open_output_stream(name) as file:
        file.write(content)


def test_from_a_bucket_to_a_bucket(
    packed: PackedModel, bucket: FileSystem, pictures: Path, tmp_path: Path
) -> None:
    """The answers are those of a folder; a rerun makes what was deleted."""
    arguments = ("s3://pictures/in", "s3://answers/run", "--rows", "3")
    assert run(packed, *arguments) == 0

    rows = dataset.dataset("answers/run", filesystem=bucket).to_table().to_pylist()
    run(packed, pictures, tmp_path / "out")
    expected = {row.pop("path"): row for row in read_rows(tmp_path / "out")}
    assert [row["path"] for row in rows] == sorted(row["path"] for row in rows)
    found = {row.pop("path").removeprefix("s3://pictures/in/"): row for row in rows}
    assert len(found) == PICTURES + 1
    twin = found.pop("a b#?é%41.jpg")
    assert twin == found["0.jpg"]
    assert found == {str(Path(path).relative_to(pictures)): row for path, row in expected.items()}

    bucket.delete_file("answers/run/part-0000001.parquet")
    before = written(bucket)
    assert run(packed, *arguments) == 0
    after = written(bucket)
    new = {name for name in after if after[name] != before.get(name)}
    # A bucket tells times in seconds: what was written twice in one looks untouched.
    assert new - {"_SUCCESS.json"} == {"part-0000001.parquet"}


def written(bucket: FileSystem) -> dict[str, object]:
    """Tell when each object of the answers was written."""
    infos = bucket.get_file_info(FileSelector("answers/run"))
    return {one.base_name: one.mtime_ns for one in infos}


def test_lists_and_folders_mix_with_buckets(
    packed: PackedModel, bucket: FileSystem, pictures: Path, tmp_path: Path
) -> None:
    """A list in a bucket may name objects and files; what is not there is a row."""
    lines = [pictures / "1.jpg", "s3://pictures/in/2.jpg", "s3://pictures/in/none.jpg", "ftp://a/b"]
    put(bucket, "pictures/list.txt", "\n".join(map(str, lines)).encode())

    assert run(packed, "s3://pictures/list.txt", tmp_path / "out") == 1
    rows = read_rows(tmp_path / "out")
    assert [row["path"] for row in rows] == list(map(str, lines))
    assert [row["code"] for row in rows] == [None, None, "unreadable_file", "unreadable_file"]
    assert "none.jpg" in rows[2]["message"]


@pytest.mark.usefixtures("bucket")
def test_what_is_not_there_is_one_line(
    packed: PackedModel, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No such bucket, or nobody to ask, ends it before the start."""
    assert run(packed, "s3://pictures/nothing", "s3://answers/x") == 1
    assert run(packed, "s3://nobody/in", "s3://answers/x") == 1
    assert run(packed, "s3://pictures/in", "s3://nobody/x") == 1
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    storage._filesystem.cache_clear()
    assert run(packed, "s3://pictures/in", "s3://answers/x") == 1

    found = errors(capsys)
    assert found[:2] == [
        "error: there is no s3://pictures/nothing",
        "error: there is no s3://nobody/in",
    ]
    assert found[2].startswith("error: s3://nobody/x: ")
    assert found[3].startswith("error: s3://")
    assert len(found) == 4
