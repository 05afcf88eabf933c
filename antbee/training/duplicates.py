"""Files with the same contents that make a data set say something untrue of itself."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

NAMED: Final = 10
"""How many duplicates of each kind are recorded by name."""


@dataclass(frozen=True)
class Copy:
    """A file, by its name in the pictures' folder, and what there may be others of."""

    name: str
    split: str
    label: int
    sha256: str


def find_duplicates(files: Iterable[Copy]) -> dict[str, Any]:
    """Find what was put on both sides, and what was put under two labels.

    Copies in one and the same label folder only weigh double, and are passed over.

    Returns:
        `across`, how many contents are in both splits: whoever has seen the answers does well in
        the exam; `contradicting`, how many are under more than one label, at least one of them
        wrong; `names`, by kind, of the first `NAMED` contents a pair of files each.
    """
    groups = defaultdict(list)
    for file in files:
        groups[file.sha256].append(file)
    kinds = {
        "across": _pairs(groups.values(), lambda file: file.split),
        "contradicting": _pairs(groups.values(), lambda file: file.label),
    }
    counts = {kind: len(pairs) for kind, pairs in kinds.items()}
    return counts | {"names": {kind: pairs[:NAMED] for kind, pairs in kinds.items()}}


def _pairs(groups: Iterable[list[Copy]], side: Callable[[Copy], object]) -> list[list[str]]:
    """Names of the first file of a group and of the first on another side, where there is one."""
    pairs = []
    for first, *rest in groups:
        others = (file for file in rest if side(file) != side(first))
        pairs += [[first.name, other.name] for other in islice(others, 1)]
    return pairs
