"""`python -m antbee.batch`: pictures in, Parquet out, one row a picture."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyarrow import dataset

from antbee import predict
from antbee.artifact import PackedModel
from antbee.batch import run as batch_run
from antbee.batch import score
from antbee.batch.record import covered, part_name
from tests.batch.command import read_rows, read_success, run
from tests.batch.conftest import PICTURES
from tests.conftest import LABELS

Capture = pytest.CaptureFixture[str]


def predicted(packed: PackedModel, folder: Path, lines: Path) -> list[dict[str, Any]]:
    """Answer as `antbee.predict` does."""
    arguments = [folder, "--model", packed.folder, "--runtime", "onnx", "--jsonl", lines]
    predict.main(list(map(str, arguments)))
    return list(map(json.loads, lines.read_text().splitlines()))


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """List the files that are classified."""
    files: list[Path] = []

    def count(*arguments: Any) -> object:  # noqa: ANN401 - they are handed on
        files.append(arguments[3])
        return predict.answer(*arguments)

    monkeypatch.setattr(score, "answer", count)
    return files


def test_rows_are_what_predict_says(telling: PackedModel, pictures: Path, tmp_path: Path) -> None:
    """Every number is the same, bit for bit; what has no answer is a row with code and message."""
    folder, out = tmp_path / "pictures", tmp_path / "out"
    shutil.copytree(pictures, folder)
    (folder / "broken.jpg").write_bytes((folder / "0.jpg").read_bytes()[:300])
    (folder / "text.png").write_text("ants")
    (folder / "gone.webp").symlink_to("nowhere")
    assert run(telling, folder, out, "--rows", "4") == 1

    rows = read_rows(out)
    wanted = predicted(telling, folder, tmp_path / "lines")
    assert len(rows) == len(wanted) == PICTURES + 3
    for row, one in zip(rows, wanted, strict=True):
        error = one.pop("error", {})
        found = {**row, "probabilities": dict(row["probabilities"] or ())}
        assert (found.pop("code"), found.pop("message")) == (
            error.get("code"),
            error.get("message"),
        )
        assert found.pop("runtime") == "onnx"
        told = {name: value for name, value in found.items() if value not in (None, {})}
        assert told == {"model": str(telling.folder), **one}
    assert read_success(out)["errors_by_code"] == {
        "corrupt_image": 1, "unreadable_file": 1, "unsupported_image": 1,
    }  # fmt: skip


def test_a_folder_of_parquet_for_anyone(
    packed: PackedModel, pictures: Path, tmp_path: Path
) -> None:
    """OUT reads as one table, with nothing in columns that the model cannot fill."""
    assert run(packed, pictures, tmp_path / "out", "--rows", "3") == 0

    table = dataset.dataset(tmp_path / "out").to_table()
    assert table.column_names == [
        "path", "label", "probability", "probabilities", "known", "typicality", "code", "message",
        "model", "runtime",
    ]  # fmt: skip
    for name in ("known", "typicality", "code", "message"):
        assert table[name].null_count == PICTURES
    row = table.to_pylist()[0]
    assert [label for label, _ in row["probabilities"]] == list(LABELS)
    success = read_success(tmp_path / "out")
    assert (success["pictures"], success["errors"]) == (PICTURES, 0)
    assert success["labels"] == {
        label: count for label in LABELS if (count := table["label"].to_pylist().count(label))
    }
    assert success["pictures_per_second"] == pytest.approx(PICTURES / success["seconds"], 0.01)


def test_names_that_are_no_text(packed: PackedModel, pictures: Path, tmp_path: Path) -> None:
    """A name may hold a line's end, or bytes that are no UTF-8, and is opened still."""
    names = [b"a\nb.jpg", b"caf\xe9.jpg", "é\u2028.jpg".encode()]
    (tmp_path / "in").mkdir()
    for name in names:
        shutil.copy(os.fsencode(pictures / "0.jpg"), os.fsencode(tmp_path / "in") + b"/" + name)
    assert run(packed, tmp_path / "in", tmp_path / "out") == 0

    found = {Path(row["path"]).name for row in read_rows(tmp_path / "out")}
    assert found == {"a\nb.jpg", r"caf\udce9.jpg", "é\u2028.jpg"}


def test_a_rerun_does_what_is_missing(
    packed: PackedModel, pictures: Path, tmp_path: Path, counted: list[Path], capsys: Capture
) -> None:
    """A part that is there is kept as it is; one that is gone, or cut short, is made again."""
    out = tmp_path / "out"
    run(packed, pictures, out, "--rows", "2")
    whole = read_rows(out)
    counted.clear()
    cut = out / part_name(3)
    cut.write_bytes(cut.read_bytes()[:-100])
    (out / part_name(1)).unlink()
    (out / ".part-0000001.parquet.123.tmp").write_bytes(b"killed before it was renamed")
    before = (out / part_name(0)).stat().st_mtime_ns

    assert run(packed, pictures, out) == 0
    assert [path.name for path in sorted(counted)] == ["2.jpg", "3.jpg", "6.png"]
    assert read_rows(out) == whole
    assert (out / part_name(0)).stat().st_mtime_ns == before
    assert not list(out.glob(".*"))

    counted.clear()
    capsys.readouterr()
    assert run(packed, pictures, out) == 0
    assert counted == []
    assert f"{PICTURES} pictures in " in capsys.readouterr().err


def test_errors_are_tried_again_when_asked(
    packed: PackedModel, pictures: Path, tmp_path: Path, counted: list[Path]
) -> None:
    """`--retry-errors` does again what has no answer, and that alone."""
    folder, out = tmp_path / "pictures", tmp_path / "out"
    shutil.copytree(pictures, folder)
    whole = (folder / "1.jpg").read_bytes()
    (folder / "1.jpg").write_bytes(whole[:200])
    assert run(packed, folder, out, "--rows", "4") == 1
    (folder / "1.jpg").write_bytes(whole)
    counted.clear()

    assert run(packed, folder, out) == 1
    assert counted == []
    assert run(packed, folder, out, "--retry-errors") == 0
    assert counted == [folder / "1.jpg"]
    assert run(packed, folder, tmp_path / "new", "--rows", "4") == 0
    assert read_rows(out) == read_rows(tmp_path / "new")
    assert read_success(out)["errors"] == 0


def test_a_log_has_lines(
    packed: PackedModel, pictures: Path, tmp_path: Path, capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Where no terminal is, a line says now and then how far it is; nothing goes to stdout."""
    monkeypatch.setattr(batch_run, "EVERY", 0)
    run(packed, pictures, tmp_path / "out")

    out, err = capsys.readouterr()
    assert out == ""
    assert f"\n3 of {PICTURES} pictures, " in err
    assert "onnx" in err.splitlines()[1]


def test_time_is_counted_once() -> None:
    """What shards did at once counts once, and the time between them not at all."""
    assert covered([(10, 12), (0, 2), (1, 3), (1.5, 2)]) == 5
    assert covered([]) == 0
    assert np.isclose(covered([(0, 0.5), (0.5, 1)]), 1)
