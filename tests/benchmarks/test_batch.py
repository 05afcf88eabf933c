"""What `benchmarks/batch.py` counts as a fault."""

from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from antbee.batch.record import SCHEMA
from batch import compare


def row(path: str, **told: object) -> dict[str, Any]:
    """Make an answer, or, told so, none."""
    answer = {"label": "ants", "probability": 0.75, "probabilities": [("ants", 0.75)]}
    return {"path": path, "model": "m", "runtime": "onnx", **(told or answer)}


def test_whatever_is_not_predict_s_is_a_fault(tmp_path: Path) -> None:
    """A picture that is missing, twice there, unknown, without an answer, or with another one."""
    expected = {
        path: {"label": "ants", "probability": 0.75, "probabilities": {"ants": 0.75}, "model": "m"}
        for path in ("a.jpg", "b.jpg")
    }
    error = {"code": "unreadable_file", "message": "it is not a file"}
    other = {"label": "bees", "probability": 0.75, "probabilities": [("ants", 0.75)]}
    a, b = row("a.jpg"), row("b.jpg")
    for rows, faults in (
        ([a, b], 0),
        ([a], 1),
        ([a, b, b], 1),
        ([a, b, row("c.jpg")], 1),
        ([a, row("b.jpg", **error)], 2),  # the answer is missing, and a row is one too many
        ([a, row("b.jpg", **other)], 2),
    ):
        parquet.write_table(pa.Table.from_pylist(rows, SCHEMA), tmp_path / "part-0000000.parquet")
        assert compare(expected, tmp_path) == faults
