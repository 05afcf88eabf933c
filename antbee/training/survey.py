"""What is to be said of a data set before anybody trains on it: warnings, and the table of --check.

Opens nothing: `check_pictures` has read it all.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, Final

from antbee.command import say
from antbee.pictures.get import SPLITS
from antbee.training.data import Pictures

RATIO: Final = 4
"""From the largest label's training pictures to another's; above it the labels are unbalanced. Of
two labels the smaller then has less than a fifth of all, where Google's guide "Imbalanced datasets"
no longer calls an imbalance mild."""
FEW: Final = 10
"""Pictures of a label in a split; below it, each is more than a tenth of the label's accuracy."""
NAMED: Final = 10
"""Labels that a warning names before it only counts."""


def list_warnings(pictures: Pictures) -> list[str]:
    """Say what makes pictures poor to learn from, or their accuracy untrue, in lines; or nothing.

    Unbalanced labels are warned of, and neither weighted nor repeated. Weights would change what
    the probabilities mean: they would no longer be those of pictures that come as these did, and
    whether a small label is rare in the world too, or was only harder to photograph, is what the
    pictures do not tell. Duplicates are named and not removed: the files are the user's.
    """
    counts, duplicates = (pictures.provenance[key] for key in ("pictures", "duplicates"))
    return [
        *_unbalanced(counts["train"]),
        *_few(counts["train"], "to learn from", "too few to tell a label by"),
        *_few(counts["val"], "to validate on", "each is more than a tenth of its label's accuracy"),
        *_across(duplicates),
        *_contradicting(duplicates),
    ]


def say_warnings(pictures: Pictures) -> None:
    """Say them at the start of a run."""
    for line in list_warnings(pictures):
        say(line)


def make_table(pictures: Pictures) -> str:
    """Describe a data set: how many pictures by label, their sizes, duplicates, and warnings."""
    across, contradicting = (
        pictures.provenance["duplicates"][kind] for kind in ("across", "contradicting")
    )
    lines = [
        *_align(_rows(pictures)),
        "",
        f"pixels: {_describe_sizes(pictures.sizes)}",
        f"duplicates: {across} in both train and val, {contradicting} under more than one label",
        *list_warnings(pictures),
    ]
    # A file name need not be valid UTF-8, and standard output takes nothing else.
    return "\n".join(lines).encode("utf-8", "backslashreplace").decode("utf-8")


def _unbalanced(train: Mapping[str, int]) -> list[str]:
    label, most = max(train.items(), key=lambda item: item[1])
    small = {name: count for name, count in train.items() if count * RATIO < most}
    if not small:
        return []
    meaning = (
        "the small ones will be answered too seldom, which the accuracy over all pictures hides: "
        "add pictures of them, or remove some of the large ones"
    )
    counted = f"{most} training pictures of {label}, and {_listed(small)}"
    return [f"warning: unbalanced labels: {counted}: {meaning}"]


def _few(counts: Mapping[str, int], purpose: str, meaning: str) -> list[str]:
    few = {label: count for label, count in counts.items() if count < FEW}
    if not few:
        return []
    return [f"warning: fewer than {FEW} pictures {purpose}: {_listed(few)}: {meaning}"]


def _across(duplicates: Mapping[str, Any]) -> list[str]:
    meaning = "the accuracy comes out better than it is: remove one of each pair"
    return _pairs(duplicates, "across", "in both train and val", meaning)


def _contradicting(duplicates: Mapping[str, Any]) -> list[str]:
    meaning = "one of them must be wrong: remove it"
    return _pairs(duplicates, "contradicting", "under more than one label", meaning)


def _pairs(duplicates: Mapping[str, Any], kind: str, where: str, meaning: str) -> list[str]:
    count, pairs = duplicates[kind], duplicates["names"][kind]
    if not count:
        return []
    more = [f"  and {count - len(pairs)} more"] if count > len(pairs) else []
    named = (f"  {first} = {second}" for first, second in pairs)
    return [f"warning: the same contents {where}, {count} time(s): {meaning}", *named, *more]


def _listed(counts: Mapping[str, int]) -> str:
    smallest = sorted(counts.items(), key=lambda item: item[1])
    named = ", ".join(f"{label} {count}" for label, count in smallest[:NAMED])
    return f"{named} and {len(counts) - NAMED} more" if len(counts) > NAMED else named


def _rows(pictures: Pictures) -> list[list[str]]:
    counts = pictures.provenance["pictures"]
    left_out = Counter(PurePosixPath(name).parent.name for name in pictures.provenance["left_out"])
    rows = [
        [*(counts[split][label] for split in SPLITS), left_out[label]] for label in pictures.labels
    ]
    total = [sum(column) for column in zip(*rows, strict=True)]
    return [
        ["label", *SPLITS, "left out"],
        *([label, *map(str, row)] for label, row in zip(pictures.labels, rows, strict=True)),
        ["total", *map(str, total)],
    ]


def _align(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows
    ]


def _describe_sizes(sizes: Sequence[tuple[int, int]]) -> str:
    by_area = sorted(sizes, key=lambda size: size[0] * size[1])
    named = {"smallest": by_area[0], "median": by_area[len(sizes) // 2], "largest": by_area[-1]}
    return ", ".join(f"{name} {width} x {height}" for name, (width, height) in named.items())
