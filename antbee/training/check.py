"""A data set before anybody trains on it: every file is read, and what is wrong with it is said.

Decodes each file once. Knows nothing of networks, and loads no torch.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from antbee.command import printable, say, table
from antbee.errors import AntBeeError
from antbee.files import is_folder
from antbee.images import decode_image, read_picture
from antbee.pictures.get import SPLITS
from antbee.training.copies import find_copies, thumbnail
from antbee.training.data import (
    OTHERS,
    TEST,
    Picture,
    Pictures,
    Split,
    divide,
    find_files,
    find_roots,
    find_test,
    name_in,
    read_files,
    refuse_empty,
)
from antbee.training.provenance import describe_origin, describe_test, group, list_names

RATIO: Final = 4
"""From the largest label's training pictures to another's; above it the labels are unbalanced. Of
two labels the smaller then has less than a fifth of all, where Google's guide "Imbalanced datasets"
no longer calls an imbalance mild."""
FEW: Final = 10
"""Pictures of a label in a split; below it, each is more than a tenth of the label's accuracy."""
NAMED: Final = 10
"""Labels that a warning names before it only counts."""


@dataclass(frozen=True)
class Examined:
    """A file's SHA-256, its width and height when upright in pixels; or why it is of no use."""

    sha256: str = ""
    size: tuple[int, int] = (0, 0)
    thumbnail: bytes = b""
    fault: str | None = None
    is_picture: bool = True  # by its first bytes


def check_pictures(folder: Path, val_fraction: float | None = None, seed: int = 0) -> Pictures:
    """Read every picture once; name those that cannot be read and leave them out.

    Args:
        folder: has `train/<label>/*` and `val/<label>/*`.
        val_fraction: the share of each label to validate on, above 0 and below 1, where `folder`
            has no `val`: of `train/<label>/*`, or of `<label>/*` where there is no `train` either.
        seed: of the choice of that share, see `antbee.training.data.choose_val`.

    Raises:
        DataError: a folder is missing, empty, or in one split only; there is a `val` as well as a
            `val_fraction`; or a label has too few pictures to be divided.
    """
    roots = find_roots(folder, val_fraction)
    found = find_files(roots)
    if is_folder(folder / OTHERS):
        say(f"{folder / OTHERS} is left alone: nothing is trained or validated on it")
    files = [one.path for split in found.values() for one in split.pictures]
    examined = read_files("reading", examine, files)

    faults = {path: one.fault for path, one in examined.items() if one.fault is not None}
    left_out: dict[Path, str] = dict(faults)
    by_label = Counter[str]()
    for split in found.values():
        left_out |= split.faults
        by_label.update(split.labels[one.label] for one in split.pictures if one.path in faults)
    groups = say_left_out(folder, left_out)
    if left_out:
        say(f"left out {len(left_out)} of {len(files) + len(left_out) - len(faults)} files")

    sums = {path: one.sha256 for path, one in examined.items() if one.fault is None}
    used = {name: split.only(sums) for name, split in found.items()}
    for split in used.values():
        refuse_empty(split)
    if val_fraction is not None:
        used = divide(used["train"], sums, val_fraction, seed)
    train, val = (used[name].pictures for name in SPLITS)
    unreadable = [name_in(folder, path) for path in faults if examined[path].is_picture]
    labels = found["train"].labels
    known = {sums[one.path]: name_in(folder, one.path) for one in (*train, *val)}
    test, tested, seen = check_test(folder, labels, known)
    examined |= seen
    copies = find_copies(
        used | {TEST: Split(labels, test, folder / TEST)},
        {path: one.sha256 for path, one in examined.items()},
        {path: one.thumbnail for path, one in examined.items()},
    )
    return Pictures(
        labels=labels,
        train=train,
        val=val,
        provenance=describe_origin(folder, used, sums)
        | {"left_out": groups, "unreadable": unreadable}
        | ({"test": tested} if tested else {}),
        sizes=[examined[picture.path].size for picture in (*train, *val)],
        left_out=by_label,
        test=test,
        folder=folder,
        copies=copies,
    )


def check_test(
    folder: Path, labels: Sequence[str], known: Mapping[str, str]
) -> tuple[list[Picture], dict[str, Any], dict[Path, Examined]]:
    """Read every picture of `folder/test/<label>/*` once; say what is not used, and why.

    Args:
        folder: the pictures' folder.
        labels: those that are trained on.
        known: names, by SHA-256, of what is trained and validated on.

    Returns:
        What can be read, its `describe_test`, and what was seen of each file; nothing if there is
        nothing.
    """
    found = find_test(folder, labels)
    if found is None:
        return [], {}, {}
    examined = read_files("reading test", examine, [one.path for one in found.pictures])
    faults = {path: one.fault for path, one in examined.items() if one.fault is not None}
    left_out = dict(found.faults) | faults
    say_left_out(folder, left_out)
    sums = {path: one.sha256 for path, one in examined.items() if one.fault is None}
    test = found.only(sums)
    if not test.pictures:
        say(f"{test.root} holds no picture of these labels that can be read: nothing is tested")
        return [], {}, {}
    say(f"{len(test.pictures)} pictures in {test.root}: nothing is learned or chosen by them")
    return test.pictures, describe_test(test, sums, known), examined


def examine(path: Path) -> Examined:
    """Read and decode a file."""
    contents = b""
    try:
        contents = read_picture(path)
        image = decode_image(contents)
    except OSError as error:
        return Examined(fault=str(error.strerror), is_picture=False)
    except AntBeeError as error:
        # What follows the colon is advice to whoever sends a picture to the server.
        return Examined(fault=str(error).partition(":")[0], is_picture=bool(contents))
    return Examined(hashlib.sha256(contents).hexdigest(), image.size, thumbnail(image))


def say_left_out(folder: Path, left_out: Mapping[Path, str]) -> list[dict[str, Any]]:
    """Say which files are not used, and why; return the `group`s of them that have a line each."""
    groups = group({name_in(folder, path): left_out[path] for path in sorted(left_out)})
    for one in groups:
        say(describe_group(one))
    return groups


def describe_group(one: Mapping[str, Any]) -> str:
    """Say in a line what is left out for the same reason; see `group`."""
    count, names, reason = one["count"], list_names(one), one["reason"]
    if count == 1:
        return f"left out {names}: {reason}"
    ending = f" that end in {one['ending']}" if one["ending"] else ""
    return f"left out {count} files{ending}: {reason}: {names}"


def list_warnings(pictures: Pictures, *, balance: bool = False) -> list[str]:
    """Say what makes pictures poor to learn from, or their accuracy untrue, in lines; or nothing.

    Unbalanced labels are warned of, and weighed alike only where `--balance` asks for that: whether
    a small label is rare in the world too, or was only harder to photograph, is what the pictures
    do not tell. Duplicates are named and not removed: the files are the user's.

    `balance` says whether the labels are weighed alike.
    """
    counts, duplicates = (pictures.provenance[key] for key in ("pictures", "duplicates"))
    lines = []
    label, most = max(counts["train"].items(), key=lambda item: item[1])
    if small := {name: count for name, count in counts["train"].items() if count * RATIO < most}:
        meaning = (
            "they weigh alike, but so few show little: better add pictures of the small ones"
            if balance
            else "the small ones will be answered too seldom, which the accuracy over all pictures "
            "hides: add pictures of them, remove some of the large ones, or train with --balance"
        )
        lines.append(
            f"warning: unbalanced labels: {most} training pictures of {label}, and "
            f"{_listed(small)}: {meaning}"
        )
    for split, purpose, meaning in (
        ("train", "to learn from", "too few to tell a label by"),
        ("val", "to validate on", "each is more than a tenth of its label's accuracy"),
    ):
        if few := {name: count for name, count in counts[split].items() if count < FEW}:
            lines.append(f"warning: fewer than {FEW} pictures {purpose}: {_listed(few)}: {meaning}")
    flattering = "the accuracy comes out better than it is: remove one of each pair"
    for kind, where, meaning in (
        ("across", "in both train and val", flattering),
        ("contradicting", "under more than one label", "one of them must be wrong: remove it"),
    ):
        if count := duplicates[kind]:
            pairs = duplicates["names"][kind]
            lines.append(f"warning: the same contents {where}, {count} time(s): {meaning}")
            lines += _examples(pairs, count, "=")
    near = [one for one in pictures.copies or () if one.similarity < 1]
    if near:
        lines.append(
            f"warning: nearly the same picture in two splits or under two labels, {len(near)} "
            "time(s): saved anew, made smaller or cut a little"
        )
        ends = ((one.picture, one.other) for one in near[:NAMED])
        named = [[name_in(pictures.folder, end.path) for end in pair] for pair in ends]
        lines += _examples(named, len(near), "~")
    return lines + list_copies(pictures.provenance.get("test", {}))


def list_copies(test: Mapping[str, Any]) -> list[str]:
    """Say in lines which test pictures were trained or chosen on; see `describe_test`."""
    count, pairs = test.get("copies", 0), test.get("names", [])
    if not count:
        return []
    flattering = "the test accuracy comes out better than it is: remove them from test"
    warning = f"warning: the same contents in test and in train or val, {count} time(s): "
    return [warning + flattering, *_examples(pairs, count, "=")]


def _examples(pairs: Sequence[Sequence[str]], count: int, between: str) -> list[str]:
    """Name pairs of pictures, a line each, and say how many of `count` are not among them."""
    lines = [f"  {first} {between} {second}" for first, second in pairs]
    return lines + ([f"  and {count - len(pairs)} more"] if count > len(pairs) else [])


def _listed(counts: Mapping[str, int]) -> str:
    smallest = sorted(counts.items(), key=lambda item: item[1])
    named = ", ".join(f"{label} {count}" for label, count in smallest[:NAMED])
    return f"{named} and {len(counts) - NAMED} more" if len(counts) > NAMED else named


def describe_pictures(pictures: Pictures, *, balance: bool = False) -> str:
    """Describe a data set in lines: pictures by label, their sizes, duplicates, and warnings.

    `balance` is that of `list_warnings`.
    """
    counts, duplicates = (pictures.provenance[key] for key in ("pictures", "duplicates"))
    if test := pictures.provenance.get("test"):
        counts = counts | {"test": test["pictures"]}
    numbers = [
        [*(split[label] for split in counts.values()), pictures.left_out.get(label, 0)]
        for label in pictures.labels
    ]
    rows: list[Sequence[object]] = [
        [printable(label), *row] for label, row in zip(pictures.labels, numbers, strict=True)
    ]
    rows.append(["total", *map(sum, zip(*numbers, strict=True))])
    by_area = sorted(pictures.sizes, key=lambda size: size[0] * size[1])
    sizes = {"smallest": by_area[0], "median": by_area[len(by_area) // 2], "largest": by_area[-1]}
    across, contradicting = (duplicates[kind] for kind in ("across", "contradicting"))
    lines = [
        table(["label", *counts, "left out"], rows),
        "",
        "pixels: " + ", ".join(f"{name} {size[0]} x {size[1]}" for name, size in sizes.items()),
        f"duplicates: {across} in both train and val, {contradicting} under more than one label",
        *map(printable, list_warnings(pictures, balance=balance)),
    ]
    return "\n".join(lines)
