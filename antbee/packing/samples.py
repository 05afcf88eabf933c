"""The pictures that packing needs: validation pictures for the gate, training ones to calibrate on.

All of them come through the server's own decoding.
"""

import random
from collections.abc import Iterable, Iterator
from itertools import chain, islice, zip_longest
from pathlib import Path
from typing import Final

import numpy as np

from antbee.artifact import PackedModel
from antbee.command import printable, progress_bar, say
from antbee.errors import AntBeeError, DataError
from antbee.images import Preprocessing, read_array, read_picture
from antbee.packing.gate import NO_LABEL
from antbee.pictures.get import SPLITS
from antbee.predictor import Floats
from antbee.training.data import (
    Picture,
    Split,
    canonical,
    describe_change,
    describe_origin,
    find_pictures,
    find_splits,
    find_val,
    hash_files,
    leave_out,
    reach_folder,
    refuse_empty,
)

NOISE_ARRAYS: Final = 8
SEED: Final = 0


class Validation:
    """The validation pictures, or noise where there are none; iterating anew decodes anew.

    Yields float32 [3, crop, crop] and the index of the true label, or `NO_LABEL`, one at a time.

    Attributes:
        inputs: what the samples are, for a person.
        labelled: whether they are pictures.

    Raises:
        DataError: the validation pictures have other labels.
    """

    def __init__(self, model: PackedModel, data: Path) -> None:
        split = find_split(model, data, "val")
        self._pictures = split.pictures if split else []
        self._preprocessing = model.preprocessing
        self.labelled = bool(self._pictures)
        # Where the folder lies concerns nobody but its owner.
        name = printable(data.resolve().name)
        self.inputs = f"validation pictures of {name}" if self.labelled else "random noise"

    def __iter__(self) -> Iterator[tuple[Floats, int]]:
        """Decode the pictures; those that cannot be read are said and left out for good."""
        if not self.labelled:
            generator = np.random.default_rng(SEED)
            shape = (3, self._preprocessing.crop, self._preprocessing.crop)
            for _ in range(NOISE_ARRAYS):
                yield generator.standard_normal(shape, np.float32), NO_LABEL
        readable = []
        with progress_bar("comparing", len(self._pictures)) as bar:
            for picture, array in _decoded(self._pictures, self._preprocessing):
                readable.append(picture)
                yield array, picture.label
                bar.update(1)
        self._pictures = readable


def find_split(model: PackedModel, data: Path, split: str) -> Split | None:
    """Find the pictures of one split, `train` or `val`, divided as training divided them.

    What is no picture, and what training could not decode, is left out.

    Returns:
        The split, in the model's order of labels; None if there are no such folders.

    Raises:
        DataError: the labels are not the model's, or a folder cannot be looked into.
    """
    recorded = model.provenance.get("data", {})
    unreadable = recorded.get("unreadable", recorded.get("left_out", ()))  # an earlier run's
    val = find_val(data)
    arguments = model.provenance.get("arguments", {})
    fraction = arguments.get("val_fraction")
    root = val if split == "val" else data / "train"
    # Pictures that have a val of their own are not divided.
    if fraction is not None and val is None:
        if not reach_folder(data) or not any(path.is_dir() for path in data.glob("[!.]*")):
            return None
        found = find_splits(data, fraction, arguments["seed"], unreadable)[split]
    elif root is None or not reach_folder(root):
        return None
    else:
        found = leave_out(find_pictures(root), data, unreadable)
    refuse_empty(found)
    if set(map(canonical, found.labels)) != set(map(canonical, model.labels)):
        raise DataError(
            f"{data} has the labels {', '.join(found.labels)}, and the checkpoint "
            f"{', '.join(model.labels)}: name the folder that it was trained on with --data"
        )
    return found.respelt(model.labels)


def describe_difference(model: PackedModel, data: Path) -> str | None:
    """Say where the pictures are not those that the run recorded; None if nowhere, or it did not.

    Raises:
        DataError: see `find_split`.
    """
    recorded = model.provenance.get("data", {})
    if "sums" not in recorded:
        return None
    found = {name: find_split(model, data, name) for name in SPLITS}
    used = {name: split for name, split in found.items() if split}
    sums = hash_files([one.path for split in used.values() for one in split.pictures])
    used = {name: split.only(sums) for name, split in used.items()}
    return describe_change(recorded, describe_origin(data, used, sums))


def calibration_arrays(model: PackedModel, data: Path, count: int) -> list[Floats]:
    """Decode up to `count` training pictures; those that cannot be read are said and left out.

    Returns:
        float32 [3, crop, crop] each; the labels take turns, so that any first part of the list is
        as even as the whole.

    Raises:
        DataError: there are no training pictures, none can be read, or their labels are others.
    """
    split = find_split(model, data, "train")
    pictures = spread(split.pictures if split else ())
    arrays = [array for _, array in islice(_decoded(pictures, model.preprocessing), count)]
    if not arrays:
        raise DataError(f"no training picture in {data} can be read")
    return arrays


def spread(pictures: Iterable[Picture]) -> list[Picture]:
    """Shuffle the pictures, the same way every time, and let the labels take turns."""
    by_label: dict[int, list[Picture]] = {}
    for picture in pictures:
        by_label.setdefault(picture.label, []).append(picture)
    generator = random.Random(SEED)  # noqa: S311 - nothing secret
    for group in by_label.values():
        generator.shuffle(group)
    turns = chain.from_iterable(zip_longest(*by_label.values()))
    return [picture for picture in turns if picture is not None]


def _decoded(
    pictures: Iterable[Picture], preprocessing: Preprocessing
) -> Iterator[tuple[Picture, Floats]]:
    """Read the pictures as the server does; those that cannot be read are said and left out."""
    for picture in pictures:
        try:
            array = read_array(read_picture(picture.path), preprocessing)
        except (AntBeeError, OSError) as error:
            say(f"left out {picture.path}: {error}")
        else:
            yield picture, array
