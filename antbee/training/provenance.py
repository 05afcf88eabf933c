"""What a run records of its pictures: where they came from, which they were, what was left out.

Owns the record; `antbee.training.data` finds the files.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any, Final

from antbee.command import printable
from antbee.files import canonical
from antbee.pictures.get import SOURCE
from antbee.training.data import Split, name_in

NAMED: Final = 10
"""Files of each kind that are recorded by name, and changes that are said."""
SOURCE_BYTES: Final = 10_000
"""Of the line that says where pictures came from; what is longer is something else."""


def group(left_out: Mapping[str, str]) -> list[dict[str, Any]]:
    """Group what is left out, the reason for each by its name, by reason and by how names end.

    Returns:
        The `reason`, the `ending`, the `count` and the first `names`, up to `NAMED`; most first.
    """
    groups = defaultdict(list)
    for name, reason in left_out.items():
        groups[reason, PurePosixPath(name).suffix.lower()].append(name)
    return [
        {"reason": reason, "ending": ending, "count": len(names), "names": names[:NAMED]}
        for (reason, ending), names in sorted(groups.items(), key=lambda one: -len(one[1]))
    ]


def list_names(one: Mapping[str, Any]) -> str:
    """Name the files of a `group`, and count those that are not named."""
    names, rest = ", ".join(one["names"]), one["count"] - len(one["names"])
    return f"{names} and {rest} more" if rest else names


def describe_origin(
    folder: Path, used: Mapping[str, Split], sums: Mapping[Path, str]
) -> dict[str, Any]:
    """Make `Pictures.provenance`, but for what is left out; `sums` has each picture's SHA-256.

    Returns:
        `folder`, its name; `source`, what get_data.sh filled it from, None for a folder of the
        user's own; `pictures`, how many by split and label; `sums`, the SHA-256 of each label
        folder's names and contents; `sha256`, that of all of them; `duplicates`, see
        `find_duplicates`. Odd characters in names are spelt out.
    """
    counts: dict[str, dict[str, int]] = {name: {} for name in used}
    by_folder = {}
    for name, split in used.items():
        for label, mine in split.by_label().items():
            counts[name][label] = len(mine)
            # Names below the label's folder, which need not be spelt as the label is.
            by_folder[f"{name}/{label}"] = _sum(
                f"{sums[one.path]}  {Path(*one.path.relative_to(split.root).parts[1:]).as_posix()}"
                for one in mine
            )
    source = None
    with suppress(OSError, UnicodeDecodeError):
        if (folder / SOURCE).is_file() and (folder / SOURCE).stat().st_size <= SOURCE_BYTES:
            source = (folder / SOURCE).read_text("utf-8").strip()
    return {
        "folder": printable(folder.resolve().name),
        "source": source,
        "pictures": counts,
        "sums": by_folder,
        "sha256": _sum(f"{one}  {name}" for name, one in by_folder.items()),
        "duplicates": find_duplicates(folder, used, sums),
    }


def _sum(lines: Iterable[str]) -> str:
    # A file name need not be valid UTF-8.
    text = "\n".join(lines).encode("utf-8", "surrogateescape")
    return hashlib.sha256(text).hexdigest()


def find_duplicates(
    folder: Path, used: Mapping[str, Split], sums: Mapping[Path, str]
) -> dict[str, Any]:
    """Find what was put on both sides, and what was put under two labels.

    Copies in one and the same label folder only weigh double, and are passed over.

    Returns:
        `across`, how many contents are in both splits: whoever has seen the answers does well in
        the exam; `contradicting`, how many are under more than one label, at least one of them
        wrong; `names`, by kind, of the first `NAMED` contents a pair of files each.
    """
    copies = defaultdict(list)
    for name, split in used.items():
        for picture in split.pictures:
            file = name_in(folder, picture.path)
            copies[sums[picture.path]].append((file, name, picture.label))
    pairs: dict[str, list[list[str]]] = {"across": [], "contradicting": []}
    for (file, name, label), *others in copies.values():
        elsewhere = [other for other, split, _ in others if split != name]
        otherwise = [other for other, _, kind in others if kind != label]
        pairs["across"] += [[file, other] for other in elsewhere[:1]]
        pairs["contradicting"] += [[file, other] for other in otherwise[:1]]
    counts = {kind: len(found) for kind, found in pairs.items()}
    return counts | {"names": {kind: found[:NAMED] for kind, found in pairs.items()}}


def describe_test(
    test: Split, sums: Mapping[Path, str], known: Mapping[str, str]
) -> dict[str, Any]:
    """Make `Pictures.provenance["test"]`; `sums` has the SHA-256 of each of the test pictures.

    Returns:
        `pictures`, how many by label; `sha256` of their names and contents; `copies`, how many of
        them are `known`: the names, by SHA-256, of what was trained and chosen on; and `names`, of
        the first `NAMED` of those with what each is the same as.
    """
    lines, pairs = [], []
    for label, mine in test.by_label().items():
        for one in mine:
            below = Path(*one.path.relative_to(test.root).parts[1:]).as_posix()
            lines.append(f"{sums[one.path]}  {canonical(label)}/{below}")
            if sums[one.path] in known:
                pairs.append([name_in(test.root.parent, one.path), known[sums[one.path]]])
    return {
        "pictures": {label: len(mine) for label, mine in test.by_label().items()},
        "sha256": _sum(sorted(lines)),  # where é is spelt otherwise, labels come in another order
        "copies": len(pairs),
        "names": pairs[:NAMED],
    }


def describe_change(before: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """Say in which label folders two data sets' `provenance` differ; None if nowhere."""
    sums, counts = [], []
    for one in (before, now):
        sums.append({canonical(folder): value for folder, value in one["sums"].items()})
        counts.append(
            {
                canonical(f"{split}/{label}"): count
                for split, labels in one["pictures"].items()
                for label, count in labels.items()
            }
        )
    changes = []
    for folder in sorted({*sums[0], *sums[1]}):
        if sums[0].get(folder) == sums[1].get(folder):
            continue
        then, today = (one.get(folder, 0) for one in counts)
        what = "other names or contents" if then == today else f"{then} pictures then, {today} now"
        changes.append(f"{folder} ({what})")
    if len(changes) > NAMED:
        changes[NAMED:] = [f"and {len(changes) - NAMED} more"]
    return ", ".join(changes) or None
