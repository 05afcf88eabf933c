"""The pictures' folder: `train/<label>/*` and `val/<label>/*`, checked once before training.

Owns which pictures are used and what is recorded of them. Knows nothing of batches.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from antbee.ahead import open_pool, work_ahead
from antbee.command import say
from antbee.errors import DataError, ImageError
from antbee.images import decode_image
from antbee.pictures.staging import SOURCE, SPLITS
from antbee.training.progress import Bar

AHEAD: Final = 64


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
            `left_out`, the reason for each file that could not be read.
    """

    labels: list[str]
    train: list[Picture]
    val: list[Picture]
    provenance: dict[str, Any]


@dataclass(frozen=True)
class _Examined:
    picture: Picture
    sha256: str
    fault: str | None


def find_pictures(folder: Path) -> Split:
    """Find the files `folder/<label>/*`, hidden ones left aside; nothing is opened.

    Raises:
        DataError: there are fewer than two label folders, or one of them is empty.
    """
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}: pictures belong in {folder}/<label>/")
    labels = sorted(path.name for path in _visible(folder) if path.is_dir())
    if len(labels) < 2:  # noqa: PLR2004 - one label leaves nothing to tell apart
        raise DataError(
            f"{folder} has {len(labels)} label folder(s) and at least two are needed: "
            f"put each label's pictures in {folder}/<label>/"
        )
    pictures = [
        Picture(path, index)
        for index, label in enumerate(labels)
        for path in sorted(_visible(folder / label))
        if not path.is_dir()
    ]
    _check_none_empty(folder, labels, pictures)
    return Split(labels, pictures)


def check_pictures(folder: Path) -> Pictures:
    """Read every picture of both splits once; name those that cannot be read and leave them out.

    Raises:
        DataError: a folder is missing, empty, or in one split only.
    """
    found = _find_splits(folder)
    labels = found["train"].labels
    examined = {split: _examine_all(folder, found[split].pictures) for split in SPLITS}
    used = {split: [one for one in examined[split] if one.fault is None] for split in SPLITS}
    pictures = {split: [one.picture for one in used[split]] for split in SPLITS}
    for split in SPLITS:
        _check_none_empty(folder / split, labels, pictures[split])
    provenance = _provenance(folder, labels, used)
    faults = [one for split in SPLITS for one in examined[split] if one.fault is not None]
    provenance["left_out"] = {_name(folder, one.picture): one.fault for one in faults}
    if faults:
        say(f"left out {len(faults)} of {sum(map(len, examined.values()))} files")
    return Pictures(labels, pictures["train"], pictures["val"], provenance)


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


def _find_splits(folder: Path) -> dict[str, Split]:
    if not folder.is_dir():
        raise DataError(
            f"there are no pictures in {folder}: `sh get_data.sh {folder}` gets some, "
            "or name a folder of your own with --data"
        )
    for split in SPLITS:
        if not (folder / split).is_dir():
            raise DataError(
                f"{folder} has no folder {split}: pictures belong in "
                f"{folder}/train/<label>/ and {folder}/val/<label>/"
            )
    found = {split: find_pictures(folder / split) for split in SPLITS}
    if odd := set(found["train"].labels).symmetric_difference(found["val"].labels):
        raise DataError(
            f"only one of {folder}/train and {folder}/val has {', '.join(sorted(odd))}: "
            "every label needs pictures in both"
        )
    return found


def _visible(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if not path.name.startswith(".")]


def _check_none_empty(folder: Path, labels: list[str], pictures: list[Picture]) -> None:
    filled = {picture.label for picture in pictures}
    for index, label in enumerate(labels):
        if index not in filled:
            raise DataError(
                f"{folder / label} holds no picture that can be read: "
                "put some there, or remove the label from train and val"
            )


def _examine_all(folder: Path, pictures: list[Picture]) -> list[_Examined]:
    with open_pool() as pool:
        results = work_ahead(pool, _examine, pictures, AHEAD)
        examined = list(Bar("reading", len(pictures), results))
    for one in examined:
        if one.fault is not None:
            say(f"left out {_name(folder, one.picture)}: {one.fault}")
    return examined


def _examine(picture: Picture) -> _Examined:
    try:
        contents = picture.path.read_bytes()
        decode_image(contents)
    except OSError as error:
        return _Examined(picture, "", str(error.strerror))
    except ImageError as error:
        # What follows the colon is advice to whoever sends a picture to the server.
        return _Examined(picture, "", str(error).partition(":")[0])
    return _Examined(picture, hashlib.sha256(contents).hexdigest(), None)


def _name(folder: Path, picture: Picture) -> str:
    return picture.path.relative_to(folder).as_posix()


def _provenance(
    folder: Path, labels: list[str], used: dict[str, list[_Examined]]
) -> dict[str, Any]:
    counts: dict[str, dict[str, int]] = {split: {} for split in used}
    sums = {}
    for split, examined in used.items():
        for index, label in enumerate(labels):
            mine = [one for one in examined if one.picture.label == index]
            counts[split][label] = len(mine)
            sums[f"{split}/{label}"] = _sum(
                f"{one.sha256}  {one.picture.path.name}" for one in mine
            )
    whole = _sum(f"{one}  {name}" for name, one in sums.items())
    return {
        "folder": folder.resolve().name,
        "source": _source(folder),
        "pictures": counts,
        "sums": sums,
        "sha256": whole,
    }


def _source(folder: Path) -> str | None:
    try:
        return (folder / SOURCE).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None


def _sum(lines: Iterable[str]) -> str:
    # A file name need not be valid UTF-8.
    text = "\n".join(lines).encode("utf-8", "surrogateescape")
    return hashlib.sha256(text).hexdigest()
