"""The texts of `cases.yaml`."""

from pathlib import Path
from typing import Any, Final

import yaml

CASES: Final[dict[str, Any]] = yaml.safe_load(
    Path(__file__).with_name("cases.yaml").read_text("utf-8")
)


def texts(name: str) -> list[str]:
    """List the texts of a kind."""
    return [_text(case) for case in CASES[name]]


def named(name: str) -> dict[str, bytes]:
    """List the bytes of a kind by their names."""
    return {what: _text(case).encode("latin-1") for what, case in CASES[name].items()}


def _text(case: str | list[Any]) -> str:
    if isinstance(case, str):
        return case
    start, several, times, end = case
    return f"{start}{several * times}{end}"
