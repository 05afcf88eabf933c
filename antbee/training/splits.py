"""Which pictures are set aside to validate on, where the pictures' folder has no `val` of its own.

Knows folders and the sums of contents; opens nothing.
"""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from antbee.errors import DataError
from antbee.pictures.get import SPLITS


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
            raise DataError(f"{folder} has no folder {split}: {_advice(folder, has)}")
    return {split: folder / split for split in SPLITS}


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
    chosen = set[str]().union(*(_first(set(sums), fraction, seed) for sums in contents.values()))
    for label, sums in contents.items():
        different = set(sums)
        if not different & chosen or different <= chosen:
            raise DataError(
                f"{label} has too few pictures of its own for --val-fraction ({len(different)} "
                "with different contents, and one is needed to train on and one to validate on): "
                "add some, or remove the label"
            )
    return chosen


def _first(sums: set[str], fraction: float, seed: int) -> list[str]:
    order = sorted(sums, key=lambda one: hashlib.sha256(f"{seed} {one}".encode()).digest())
    count = max(1, round(fraction * len(order)))
    return order[: min(count, len(order) - 1)]


def _advice(folder: Path, has: dict[str, bool]) -> str:
    advice = f"pictures belong in {folder}/train/<label>/ and {folder}/val/<label>/"
    if has["val"]:
        return advice
    root = f"{folder}/train/<label>/" if has["train"] else f"{folder}/<label>/"
    return f"{advice}; or --val-fraction 0.2 validates on a fifth of {root}"
