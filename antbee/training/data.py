"""The pictures' folder: `train/<label>/*` and `val/<label>/*`, or label folders that are divided.

Owns which files are used; `antbee.training.provenance` records it. Opens them, to hash them, and
decodes none: `antbee.training.check` does. Knows nothing of batches.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, TypeVar

from antbee.ahead import open_pool, work_ahead
from antbee.command import printable, progress_bar
from antbee.errors import DataError
from antbee.files import canonical, identity, is_folder, sha256_of, walk
from antbee.images import is_picture
from antbee.pictures.get import SPLITS, VAL

T = TypeVar("T")

AHEAD: Final = 64
"""Files that are read ahead."""
TEST: Final = "test"
"""A folder of pictures that nothing may be learned from or chosen by."""
OTHERS: Final = "others"
"""A folder of pictures of none of the labels."""


@dataclass(frozen=True)
class Picture:
    """One file, and the index of its label."""

    path: Path
    label: int


@dataclass(frozen=True)
class Copies:
    """Two pictures in different splits, or under different labels, that are nearly the same."""

    picture: Picture  # the one that can be spared: train comes before val, and val before test
    other: Picture
    similarity: float  # 0 to 1; 1 only if their files are the same


@dataclass(frozen=True)
class Split:
    """The files of one folder of label folders."""

    labels: list[str]  # the folders' names, sorted
    pictures: list[Picture]  # sorted by label, then by name
    root: Path
    faults: Mapping[Path, str] = field(default_factory=dict)  # why something else is left out

    def by_label(self) -> dict[str, list[Picture]]:
        """Group the pictures; a label may have none."""
        groups: dict[str, list[Picture]] = {label: [] for label in self.labels}
        for picture in self.pictures:
            groups[self.labels[picture.label]].append(picture)
        return groups

    def respelt(self, labels: Sequence[str]) -> "Split":
        """Spell and sort the labels as those are, which are the same but for `canonical`."""
        pictures = _relabel(self.pictures, self.labels, labels)
        return replace(self, labels=list(labels), pictures=pictures)

    def only(self, paths: Collection[Path]) -> "Split":
        """Leave out what is not among the paths."""
        return replace(self, pictures=[one for one in self.pictures if one.path in paths])


@dataclass(frozen=True)
class Pictures:
    """A data set whose every picture can be read.

    Its `provenance` is what `antbee.training.provenance.describe_origin` makes; beside that it has
    `left_out`, what was found and is not used, see `group`; `unreadable`, the names of pictures
    that cannot be decoded; and `test`, where there are test pictures, see `describe_test`.
    """

    labels: list[str]  # sorted; the same in both splits
    train: list[Picture]  # at least one of each label
    val: list[Picture]  # the same
    provenance: dict[str, Any]
    sizes: list[tuple[int, int]] = field(default_factory=list)  # in pixels, `train` before `val`
    left_out: Mapping[str, int] = field(default_factory=dict)  # files by label
    test: list[Picture] = field(default_factory=list)  # some labels may have none
    folder: Path = Path()  # which they lie in
    copies: list[Copies] | None = None  # None if nobody looked

    def respelt(self, labels: Sequence[str]) -> "Pictures":
        """Number the pictures by those labels, which are the same but for `canonical`.

        So a network's outputs keep their meaning: é sorts in another place when spelt in two
        characters. `sizes` and `left_out`, which describe what was found, go.
        """
        train, val, test = (
            _relabel(one, self.labels, labels) for one in (self.train, self.val, self.test)
        )
        return replace(
            self,
            labels=list(labels),
            train=train,
            val=val,
            test=test,
            sizes=[],
            left_out={},
        )


def _relabel(pictures: list[Picture], before: list[str], labels: Sequence[str]) -> list[Picture]:
    place = {canonical(label): index for index, label in enumerate(labels)}
    moved = [Picture(one.path, place[canonical(before[one.label])]) for one in pictures]
    return sorted(moved, key=lambda one: one.label)


def find_roots(folder: Path, val_fraction: float | None) -> dict[str, Path]:
    """Find the folders of label folders; that of `val` may be called by any of `VAL`.

    Returns:
        `train` and `val`; with a `val_fraction` only `train`, which is yet to be divided.

    Raises:
        DataError: a folder is missing, or there is a `val` that `val_fraction` contradicts, or two.
    """
    if not reach_folder(folder):
        raise DataError(
            f"there are no pictures in {folder}: `sh get_data.sh {folder}` gets some, "
            "or name a folder of your own with --data"
        )
    train, val = folder / "train", find_val(folder)
    has_train = reach_folder(train)
    if val_fraction is not None:
        if val:
            raise DataError(
                f"{folder} has a folder {val.name} to validate on: leave --val-fraction out, "
                f"or put the pictures of {val.name} elsewhere"
            )
        return {"train": train if has_train else folder}
    if not has_train or not val:
        advice = f"pictures belong in {folder}/train/<label>/ and {folder}/val/<label>/"
        if not val:
            root = f"{folder}/train/<label>/" if has_train else f"{folder}/<label>/"
            advice += f"; or --val-fraction 0.2 validates on a fifth of {root}"
        raise DataError(f"{folder} has no folder {'val' if has_train else 'train'}: {advice}")
    return {"train": train, "val": val}


def find_val(folder: Path) -> Path | None:
    """Find the folder of validation pictures, if there is one.

    Raises:
        DataError: there is more than one.
    """
    found = [folder / name for name in VAL if reach_folder(folder / name)]
    if len(found) > 1:
        names = " and ".join(path.name for path in found)
        raise DataError(f"{folder} has {names}, which mean the same: leave one")
    return found[0] if found else None


def reach_folder(path: Path) -> bool:
    """Tell whether there is such a folder.

    Raises:
        DataError: it lies where this user may not look.
    """
    try:
        return path.is_dir()
    except OSError as error:
        raise DataError(f"{path} cannot be reached: {error.strerror}") from error


def find_pictures(root: Path) -> Split:
    """Find the files in and below `root/<label>/`, hidden ones left aside.

    Links are followed, and each real folder is entered once. Folders `TEST` and `OTHERS` beside
    label folders that are yet to be divided are no label's.

    Raises:
        DataError: there are fewer than two label folders, a label cannot be spelt or is spelt in
            two ways, or a label's folder is empty or cannot be looked into.
    """
    if not reach_folder(root):
        raise DataError(f"there is no folder {root}: pictures belong in {root}/<label>/")
    try:
        paths = sorted(path for path in root.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise DataError(f"{root} cannot be looked into: {error.strerror}") from error
    # Only in train or val may a label be called so.
    kept = () if root.name in ("train", *VAL) else (TEST, OTHERS)
    tops = [path for path in paths if is_folder(path) and path.name not in kept]
    labels = [path.name for path in tops]
    for label in labels:
        if os.fsencode(label).decode("utf-8", "replace") != label:
            raise DataError(f"the label {root / label} has a name that is no UTF-8: rename it")
    if len(labels) < 2:  # noqa: PLR2004 - one label leaves nothing to tell apart
        raise DataError(
            f"{root} has {len(labels)} label folder(s) and at least two are needed: "
            f"put each label's pictures in {root}/<label>/"
        )
    spelt = Counter(map(canonical, labels))
    if twice := [label for label in labels if spelt[canonical(label)] > 1]:
        raise DataError(
            f"{root} has folders whose names look the same and are spelt with other characters, "
            f"{' and '.join(map(ascii, twice))}: make them one"
        )
    pictures: list[Picture] = []
    faults: dict[Path, str] = {}
    elsewhere = set(map(identity, tops))
    for index, top in enumerate(tops):
        files, closed = walk(top, elsewhere)
        pictures += [Picture(path, index) for path in files]
        faults |= {Path(str(error.filename)): str(error.strerror) for error in closed}
        if top in faults:
            raise DataError(f"{top} cannot be looked into: {faults[top]}")
    for path in paths:
        try:
            if not path.is_dir() and is_picture(path):
                faults[path] = "it lies in no label's folder"
        except OSError as error:
            faults[path] = str(error.strerror)
    found = Split(labels, pictures, root, faults)
    refuse_empty(found)
    return found


def find_files(roots: Mapping[str, Path]) -> dict[str, Split]:
    """Find the files of each root, as `find_pictures` does; every label must be in each.

    The labels are spelt and sorted as they are in `train`.
    """
    found = {name: find_pictures(root) for name, root in roots.items()}
    names = [set(map(canonical, split.labels)) for split in found.values()]
    if odd := names[0] ^ names[-1]:
        raise DataError(
            f"only one of {' and '.join(map(str, roots.values()))} has {', '.join(sorted(odd))}: "
            "every label needs pictures in both"
        )
    labels = found["train"].labels
    return {name: split.respelt(labels) for name, split in found.items()}


def find_test(folder: Path, labels: Sequence[str]) -> Split | None:
    """Find the files in and below `folder/test/<label>/`, whatever of the labels there is.

    Nothing depends on them but a figure, and so nothing about them is an error: what is in no
    label's folder is said.

    Returns:
        Pictures by those labels, however the folders spell them, and `faults`; None if there is no
        such folder, or if it is a label's.
    """
    root = folder / TEST
    if not is_folder(root) or (TEST in labels and not is_folder(folder / "train")):
        return None
    place = {canonical(label): index for index, label in enumerate(labels)}
    pictures: list[Picture] = []
    # What is put there by mistake is as good as closed.
    paths, closed = walk(root)
    faults = {Path(str(error.filename)): str(error.strerror) for error in closed}
    for path in paths:
        top = path.relative_to(root).parts[0]
        index = place.get(canonical(top))
        if index is not None and path.parent != root:
            pictures.append(Picture(path, index))
        elif path.parent != root:
            faults[path] = f"no pictures of {printable(top)} are trained on"
        else:
            faults[path] = "it lies in no label's folder"
    pictures.sort(key=lambda one: one.label)
    return Split(list(labels), pictures, root, faults)


def find_splits(
    folder: Path,
    val_fraction: float | None = None,
    seed: int = 0,
    unreadable: Collection[str] = (),
) -> dict[str, Split]:
    """Find the pictures of `train` and `val` as `check_pictures` does, but decode nothing.

    `unreadable` are the names, relative to `folder`, of those that it could not decode.

    Raises:
        DataError: see `antbee.training.check.check_pictures`.
    """
    found = find_files(find_roots(folder, val_fraction))
    used = {name: leave_out(split, folder, unreadable) for name, split in found.items()}
    for split in used.values():
        refuse_empty(split)
    if val_fraction is None:
        return used
    sums = hash_files([one.path for one in used["train"].pictures])
    return divide(used["train"].only(sums), sums, val_fraction, seed)


def leave_out(split: Split, folder: Path, unreadable: Collection[str]) -> Split:
    """Leave out what is no picture by its first bytes, and what is known to be unreadable."""
    unreadable, paths = frozenset(unreadable), set()
    for one in split.pictures:
        # Earlier releases spelt an odd name as it is.
        names = {name_in(folder, one.path), one.path.relative_to(folder).as_posix()}
        with suppress(OSError):
            if names.isdisjoint(unreadable) and is_picture(one.path):
                paths.add(one.path)
    return split.only(paths)


def refuse_empty(split: Split) -> None:
    """Raise a DataError that names the first label without a picture, if there is one."""
    for label, pictures in split.by_label().items():
        if not pictures:
            raise DataError(
                f"{split.root / label} holds no picture that can be read: "
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
    return {name: replace(split, pictures=pictures) for name, pictures in sides.items()}


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
        return sha256_of(path) if is_picture(path) else None
    except OSError:
        return None


def name_in(folder: Path, path: Path) -> str:
    """Name a file of the pictures' folder, without where that lies, in characters that print."""
    return printable(path.relative_to(folder).as_posix())
