"""The command in this process, and what it leaves in OUT."""

import json
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

from antbee.artifact import PackedModel
from antbee.batch.__main__ import main


def run(packed: PackedModel, *arguments: object) -> int:
    """Run the command with a packed model's folder."""
    return main([*map(str, arguments), "--model", str(packed.folder)])


def errors(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return the lines on stderr that say what is wrong."""
    lines = capsys.readouterr().err.splitlines()
    return [line for line in lines if line.startswith("error: ")]


def read_rows(out: Path) -> list[dict[str, Any]]:
    """Read the rows of all parts, in the order of their names."""
    tables = [parquet.read_table(path) for path in sorted(out.glob("part-*.parquet"))]
    assert all(table.schema.equals(tables[0].schema) for table in tables)
    return [row for table in tables for row in table.to_pylist()]


def read_success(out: Path) -> Any:  # noqa: ANN401 - JSON
    """Read what `_SUCCESS.json` says."""
    return json.loads((out / "_SUCCESS.json").read_text())
