"""The pictures' folder: `train/<label>/*` and `val/<label>/*`, checked once before training.

Or one folder of label folders, divided in two. Owns which pictures are used and what is recorded of
them. Knows nothing of batches.
"""

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from antbee.command import say
from antbee.errors import DataError
from antbee.pictures.get import SOURCE, SPLITS
from antbee.training.duplicates import Copy, find_duplicates
from antbee.training.examine import Examined, examine_files, hash_files
from antbee.training.splits import choose_val, find_roots


@dataclass(frozen=True)
class Picture:
    """One file, and the index of its label."""

    path: Path
    label: int


@dataclass(frozen=True)
class Split:
    """The files of one folder of label folders.

    Attributes:
        labels: the folders' names, sorted.
        pictures: sorted by label, then by file name.
    """

    labels: list[str]
    pictures: list[Picture]


@dataclass(frozen=True)
class Pictures:
    """A data set whose every picture can be read.

    Attributes:
        labels: sorted; the same in both splits.
        train: at least one picture of each label.
        val: the same.
        provenance: `folder`, its name; `source`, what get_data.sh filled it from, None for a folder
            of the user's own; `pictures`, how many by split and label; `sums`, the
            SHA-256 of each label folder's names and contents; `sha256`, that of all of them;
            `left_out`, the reason for each file that could not be read; `duplicates`, see
            `antbee.training.duplicates.find_duplicates`.
        sizes: width and height in pixels of each picture, `train` before `val`.
    """

    labels: list[str]
    train: list[Picture]
    val: list[Picture]
    provenance: dict[str, Any]
    sizes: list[tuple[int, int]] = field(default_factory=list)


def find_pictures(folder: Path) -> Split:
    """Find the files `folder/<label>/*`, hidden ones left aside; nothing is opened.

    Raises:
        DataError: there are fewer than two label folders, or one of them is empty or cannot be
            looked into.
    """
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}: pictures belong in {folder}/<label>/")
    labels = sorted(path.name for path, is_folder in _visible(folder).items() if is_folder)
    if len(labels) < 2:  # noqa: PLR2004 - one label leaves nothing to tell apart
        raise DataError(
            f"{folder} has {len(labels)} label folder(s) and at least two are needed: "
            f"put each label's pictures in {folder}/<label>/"
        )
    pictures = [
        Picture(path, index)
        for index, label in enumerate(labels)
        for path, is_folder in sorted(_visible(folder / label).items())
        if not is_folder
    ]
    found = Split(labels, pictures)
    _check_none_empty(folder, found)
    return found


def find_splits(
    folder: Path,
    val_fraction: float | None = None,
    seed: int = 0,
    left_out: Collection[str] = (),
) -> dict[str, Split]:
    """Find the files of `train` and `val` as `check_pictures` does, but decode nothing.

    Args:
        folder: see `check_pictures`.
        val_fraction: see `check_pictures`.
        seed: see `check_pictures`.
        left_out: the names, relative to `folder`, of files that `check_pictures` left out; they
            are left out here, too.

    Raises:
        DataError: see `check_pictures`.
    """
    found = _find_files(find_roots(folder, val_fraction))
    files = [one.path for split in found.values() for one in split.pictures]
    readable = [path for path in files if _name(folder, path) not in left_out]
    if val_fraction is None:
        return {name: _only(split, set(readable)) for name, split in found.items()}
    sums = hash_files(readable)
    return _divide(_only(found["train"], sums), sums, val_fraction, seed)


def check_pictures(folder: Path, val_fraction: float | None = None, seed: int = 0) -> Pictures:
    """Read every picture once; name those that cannot be read and leave them out.

    Args:
        folder: has `train/<label>/*` and `val/<label>/*`.
        val_fraction: the share of each label to validate on, above 0 and below 1, where `folder`
            has no `val`: of `train/<label>/*`, or of `<label>/*` where there is no `train` either.
        seed: of the choice of that share, see `antbee.training.splits.choose_val`.

    Raises:
        DataError: a folder is missing, empty, or in one split only; there is a `val` as well as a
            `val_fraction`; or a label has too few pictures to be divided.
    """
    roots = find_roots(folder, val_fraction)
    found = _find_files(roots)
    examined = _examine_all(
        folder, [one.path for split in found.values() for one in split.pictures]
    )
    sums = {path: one.sha256 for path, one in examined.items() if one.fault is None}
    used = {name: _only(split, sums) for name, split in found.items()}
    for name, split in used.items():
        _check_none_empty(roots[name], split)
    if val_fraction is not None:
        used = _divide(used["train"], sums, val_fraction, seed)
    provenance = _provenance(folder, used, sums) | {"left_out": _left_out(folder, examined)}
    train, val = (used[name].pictures for name in SPLITS)
    sizes = [examined[picture.path].size for picture in (*train, *val)]
    return Pictures(found["train"].labels, train, val, provenance, sizes)


def describe_change(before: dict[str, Any], now: dict[str, Any]) -> str | None:
    """Say in which label folders two data sets' `provenance` differ; None if nowhere."""
    folders = sorted({*before["sums"], *now["sums"]})
    changed = [name for name in folders if before["sums"].get(name) != now["sums"].get(name)]
    return ", ".join(_describe_folder(name, before, now) for name in changed) or None


def _describe_folder(name: str, before: dict[str, Any], now: dict[str, Any]) -> str:
    split, _, label = name.partition("/")
    counts = [str(one["pictures"][split].get(label, 0)) for one in (before, now)]
    if counts[0] == counts[1]:
        return f"{name} (other names or contents)"
    return f"{name} ({counts[0]} pictures then, {counts[1]} now)"


def _find_files(roots: Mapping[str, Path]) -> dict[str, Split]:
    found = {name: find_pictures(root) for name, root in roots.items()}
    labels = [set(split.labels) for split in found.values()]
    if odd := labels[0].union(*labels) - labels[0].intersection(*labels):
        raise DataError(
            f"only one of {' and '.join(map(str, roots.values()))} has {', '.join(sorted(odd))}: "
            "every label needs pictures in both"
        )
    return found


def _visible(folder: Path) -> dict[Path, bool]:
    """What is in a folder, and whether it is a folder too; hidden ones are left aside."""
    try:
        return {path: path.is_dir() for path in folder.iterdir() if not path.name.startswith(".")}
    except OSError as error:
        raise DataError(f"{folder} cannot be looked into: {error.strerror}") from error


def _check_none_empty(folder: Path, split: Split) -> None:
    for label, pictures in _by_label(split).items():
        if not pictures:
            raise DataError(
                f"{folder / label} holds no picture that can be read: "
                "put some there, or remove the label"
            )


def _examine_all(folder: Path, files: list[Path]) -> dict[Path, Examined]:
    # A folder beside them is no picture, and whoever put pictures into it must hear of that.
    homes = sorted({file.parent for file in files})
    inside = [item for home in homes for item in sorted(_visible(home).items())]
    folders = [path for path, is_folder in inside if is_folder]
    examined = examine_files([*files, *folders])
    left_out = _left_out(folder, examined)
    for name, fault in left_out.items():
        say(f"left out {name}: {fault}")
    if left_out:
        say(f"left out {len(left_out)} of {len(examined)} files")
    return examined


def _left_out(folder: Path, examined: Mapping[Path, Examined]) -> dict[str, str]:
    """The reason for each file that cannot be used, by its name in the pictures' folder."""
    return {
        _name(folder, path): one.fault for path, one in examined.items() if one.fault is not None
    }


def _only(split: Split, paths: Collection[Path]) -> Split:
    return Split(split.labels, [picture for picture in split.pictures if picture.path in paths])


def _divide(
    split: Split, sums: Mapping[Path, str], val_fraction: float, seed: int
) -> dict[str, Split]:
    """Set pictures aside to validate on; `sums` has the SHA-256 of each."""
    contents = {
        label: [sums[picture.path] for picture in mine] for label, mine in _by_label(split).items()
    }
    chosen = choose_val(contents, val_fraction, seed)
    sides: dict[str, list[Picture]] = {name: [] for name in SPLITS}
    for picture in split.pictures:
        sides["val" if sums[picture.path] in chosen else "train"].append(picture)
    return {name: Split(split.labels, pictures) for name, pictures in sides.items()}


def _by_label(split: Split) -> dict[str, list[Picture]]:
    groups: dict[str, list[Picture]] = {label: [] for label in split.labels}
    for picture in split.pictures:
        groups[split.labels[picture.label]].append(picture)
    return groups


def _provenance(folder: Path, used: dict[str, Split], sums: Mapping[Path, str]) -> dict[str, Any]:
    counts: dict[str, dict[str, int]] = {name: {} for name in used}
    by_folder = {}
    for name, split in used.items():
        for label, mine in _by_label(split).items():
            counts[name][label] = len(mine)
            by_folder[f"{name}/{label}"] = _sum(
                f"{sums[one.path]}  {one.path.name}" for one in mine
            )
    return {
        "folder": folder.resolve().name,
        "source": _source(folder),
        "pictures": counts,
        "sums": by_folder,
        "sha256": _sum(f"{one}  {name}" for name, one in by_folder.items()),
        "duplicates": find_duplicates(
            Copy(_name(folder, one.path), name, one.label, sums[one.path])
            for name, split in used.items()
            for one in split.pictures
        ),
    }


def _name(folder: Path, path: Path) -> str:
    return path.relative_to(folder).as_posix()


def _source(folder: Path) -> str | None:
    try:
        return (folder / SOURCE).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None


def _sum(lines: Iterable[str]) -> str:
    # A file name need not be valid UTF-8.
    text = "\n".join(lines).encode("utf-8", "surrogateescape")
    return hashlib.sha256(text).hexdigest()
