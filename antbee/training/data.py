"""The pictures' folder: `train/<label>/*` and `val/<label>/*`, or label folders that are divided.

Owns which files are used and what is recorded of them. Opens them to hash them and decodes none:
`antbee.training.check` does. Knows nothing of batches.
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from antbee.ahead import open_pool, work_ahead
from antbee.command import progress_bar
from antbee.errors import DataError
from antbee.files import sha256_of
from antbee.pictures.get import SOURCE, SPLITS

T = TypeVar("T")

AHEAD: Final = 64
"""Files that are read ahead."""
NAMED: Final = 10
"""How many duplicates of each kind are recorded by name."""


@dataclass(frozen=True)
class Picture:
    """One file, and the index of its label."""

    path: Path
    label: int


@dataclass(frozen=True)
class Split:
    """The files of one folder of label folders."""

    labels: list[str]  # the folders' names, sorted
    pictures: list[Picture]  # sorted by label, then by file name

    def by_label(self) -> dict[str, list[Picture]]:
        """Group the pictures; a label may have none."""
        groups: dict[str, list[Picture]] = {label: [] for label in self.labels}
        for picture in self.pictures:
            groups[self.labels[picture.label]].append(picture)
        return groups

    def only(self, paths: Collection[Path]) -> "Split":
        """Leave out what is not among the paths."""
        return Split(self.labels, [one for one in self.pictures if one.path in paths])


@dataclass(frozen=True)
class Pictures:
    """A data set whose every picture can be read.

    Its `provenance` has `folder`, its name; `source`, what get_data.sh filled it from, None for a
    folder of the user's own; `pictures`, how many by split and label; `sums`, the SHA-256 of each
    label folder's names and contents; `sha256`, that of all of them; `left_out`, the reason for
    each file that could not be read; `duplicates`, see `find_duplicates`.
    """

    labels: list[str]  # sorted; the same in both splits
    train: list[Picture]  # at least one of each label
    val: list[Picture]  # the same
    provenance: dict[str, Any]
    sizes: list[tuple[int, int]] = field(default_factory=list)  # in pixels, `train` before `val`


def find_roots(folder: Path, val_fraction: float | None) -> dict[str, Path]:
    """Find the folders of label folders.

    Returns:
        `train` and `val`; with a `val_fraction` only `train`, which is yet to be divided.

    Raises:
        DataError: a folder is missing, or there is a `val` that `val_fraction` contradicts.
    """
    if not folder.is_dir():
        raise DataError(
            f"there are no pictures in {folder}: `sh get_data.sh {folder}` gets some, "
            "or name a folder of your own with --data"
        )
    has = {split: (folder / split).is_dir() for split in SPLITS}
    if val_fraction is not None:
        if has["val"]:
            raise DataError(
                f"{folder} has a folder val to validate on: leave --val-fraction out, "
                "or put the pictures of val elsewhere"
            )
        return {"train": folder / "train" if has["train"] else folder}
    for split in SPLITS:
        if not has[split]:
            advice = f"pictures belong in {folder}/train/<label>/ and {folder}/val/<label>/"
            if not has["val"]:
                root = f"{folder}/train/<label>/" if has["train"] else f"{folder}/<label>/"
                advice += f"; or --val-fraction 0.2 validates on a fifth of {root}"
            raise DataError(f"{folder} has no folder {split}: {advice}")
    return {split: folder / split for split in SPLITS}


def find_pictures(folder: Path) -> Split:
    """Find the files `folder/<label>/*`, hidden ones left aside; nothing is opened.

    Raises:
        DataError: there are fewer than two label folders, or one of them is empty or cannot be
            looked into.
    """
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}: pictures belong in {folder}/<label>/")
    labels = sorted(path.name for path, is_folder in look_into(folder).items() if is_folder)
    if len(labels) < 2:  # noqa: PLR2004 - one label leaves nothing to tell apart
        raise DataError(
            f"{folder} has {len(labels)} label folder(s) and at least two are needed: "
            f"put each label's pictures in {folder}/<label>/"
        )
    pictures = [
        Picture(path, index)
        for index, label in enumerate(labels)
        for path, is_folder in sorted(look_into(folder / label).items())
        if not is_folder
    ]
    found = Split(labels, pictures)
    refuse_empty(folder, found)
    return found


def find_files(roots: Mapping[str, Path]) -> dict[str, Split]:
    """Find the files of each root, as `find_pictures` does; every label must be in each."""
    found = {name: find_pictures(root) for name, root in roots.items()}
    labels = [set(split.labels) for split in found.values()]
    if odd := labels[0].union(*labels) - labels[0].intersection(*labels):
        raise DataError(
            f"only one of {' and '.join(map(str, roots.values()))} has {', '.join(sorted(odd))}: "
            "every label needs pictures in both"
        )
    return found


def find_splits(
    folder: Path,
    val_fraction: float | None = None,
    seed: int = 0,
    left_out: Collection[str] = (),
) -> dict[str, Split]:
    """Find the files of `train` and `val` as `check_pictures` does, but decode nothing.

    `left_out` are the names, relative to `folder`, of the files that `check_pictures` left out.

    Raises:
        DataError: see `antbee.training.check.check_pictures`.
    """
    found = find_files(find_roots(folder, val_fraction))
    files = [one.path for split in found.values() for one in split.pictures]
    readable = [path for path in files if name_in(folder, path) not in left_out]
    if val_fraction is None:
        return {name: split.only(set(readable)) for name, split in found.items()}
    sums = hash_files(readable)
    return divide(found["train"].only(sums), sums, val_fraction, seed)


def look_into(folder: Path) -> dict[Path, bool]:
    """What is in a folder, and whether it is a folder too; hidden ones are left aside."""
    try:
        return {path: path.is_dir() for path in folder.iterdir() if not path.name.startswith(".")}
    except OSError as error:
        raise DataError(f"{folder} cannot be looked into: {error.strerror}") from error


def refuse_empty(folder: Path, split: Split) -> None:
    """Raise a DataError that names the first label without a picture, if there is one."""
    for label, pictures in split.by_label().items():
        if not pictures:
            raise DataError(
                f"{folder / label} holds no picture that can be read: "
                "put some there, or remove the label"
            )


def divide(
    split: Split, sums: Mapping[Path, str], val_fraction: float, seed: int
) -> dict[str, Split]:
    """Set pictures aside to validate on, as `choose_val` chooses; `sums` has each one's SHA-256."""
    contents = {
        label: [sums[picture.path] for picture in mine] for label, mine in split.by_label().items()
    }
    chosen = choose_val(contents, val_fraction, seed)
    sides: dict[str, list[Picture]] = {name: [] for name in SPLITS}
    for picture in split.pictures:
        sides["val" if sums[picture.path] in chosen else "train"].append(picture)
    return {name: Split(split.labels, pictures) for name, pictures in sides.items()}


def choose_val(contents: Mapping[str, Iterable[str]], fraction: float, seed: int) -> set[str]:
    """Choose the contents to validate on: of each label the first ones in an order made by hashing.

    The order is a function of contents and seed, neither of names nor of what else there is. So
    copies stay together, renaming and moving change nothing, and a picture that is added moves
    at most one other of its label to the other side. (Were each picture decided on by itself, none
    would move, but a fifth of ten pictures would be none of them one time in nine, 0.8 ** 10.)

    Args:
        contents: the SHA-256 sums of each label's pictures.
        fraction: of each label's different sums, above 0 and below 1; rounded, but at least one is
            chosen and at least one is not.
        seed: of the order.

    Raises:
        DataError: a label has too few different sums, or too few that no other label has.
    """
    different = {label: set(sums) for label, sums in contents.items()}
    chosen = set[str]()
    for sums in different.values():
        order = sorted(sums, key=lambda one: hashlib.sha256(f"{seed} {one}".encode()).digest())
        count = max(1, round(fraction * len(order)))
        chosen.update(order[: min(count, len(order) - 1)])
    for label, sums in different.items():
        if not sums & chosen or sums <= chosen:
            raise DataError(
                f"{label} has too few pictures of its own for --val-fraction ({len(sums)} "
                "with different contents, and one is needed to train on and one to validate on): "
                "add some, or remove the label"
            )
    return chosen


def read_files(title: str, read: Callable[[Path], T], paths: Sequence[Path]) -> dict[Path, T]:
    """Return what `read` makes of each file, many of them at once; `title` is the bar's."""
    with open_pool() as pool, progress_bar(title, len(paths)) as bar:
        results = {}
        for path, result in zip(paths, work_ahead(pool, read, paths, AHEAD), strict=True):
            results[path] = result
            bar.update(1)
    return results


def hash_files(paths: Sequence[Path]) -> dict[Path, str]:
    """Give the SHA-256 of every file that can be opened; nothing is decoded."""
    sums = read_files("hashing", _hash, paths)
    return {path: one for path, one in sums.items() if one is not None}


def _hash(path: Path) -> str | None:
    try:
        return None if may_never_end(path) else sha256_of(path)
    except OSError:
        return None


def may_never_end(path: Path) -> bool:
    """Tell whether reading could wait for ever, as it does until somebody writes to a pipe."""
    return path.exists() and not path.is_file() and not path.is_dir()


def name_in(folder: Path, path: Path) -> str:
    """Name a file of the pictures' folder, without where that lies."""
    return path.relative_to(folder).as_posix()


def describe_origin(
    folder: Path, used: Mapping[str, Split], sums: Mapping[Path, str]
) -> dict[str, Any]:
    """Make `Pictures.provenance`, but for `left_out`; `sums` has the SHA-256 of each picture."""
    counts: dict[str, dict[str, int]] = {name: {} for name in used}
    by_folder = {}
    for name, split in used.items():
        for label, mine in split.by_label().items():
            counts[name][label] = len(mine)
            by_folder[f"{name}/{label}"] = _sum(
                f"{sums[one.path]}  {one.path.name}" for one in mine
            )
    try:
        source = (folder / SOURCE).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        source = None
    return {
        "folder": folder.resolve().name,
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


def describe_change(before: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """Say in which label folders two data sets' `provenance` differ; None if nowhere."""
    changes = []
    for folder in sorted({*before["sums"], *now["sums"]}):
        if before["sums"].get(folder) == now["sums"].get(folder):
            continue
        split, _, label = folder.partition("/")
        then, today = (one["pictures"][split].get(label, 0) for one in (before, now))
        what = "other names or contents" if then == today else f"{then} pictures then, {today} now"
        changes.append(f"{folder} ({what})")
    return ", ".join(changes) or None
