"""The pictures that packing needs: validation pictures for the gate, training ones to calibrate on.

All of them come through the server's own decoding.
"""

import random
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice, zip_longest
from pathlib import Path
from typing import Final

import numpy as np

from antbee.artifact import PackedModel
from antbee.command import printable, progress_bar, say
from antbee.errors import AntBeeError, DataError
from antbee.files import canonical, is_folder, walk
from antbee.images import Preprocessing, read_array, read_picture
from antbee.packing.gate import NO_LABEL
from antbee.predictor import Floats
from antbee.training.data import (
    OTHERS,
    Picture,
    Split,
    find_pictures,
    find_splits,
    find_val,
    hash_files,
    leave_out,
    reach_folder,
    refuse_empty,
)
from antbee.training.provenance import describe_change, describe_origin

NOISE_ARRAYS: Final = 8
SEED: Final = 0


class Validation:
    """The validation pictures, or noise where there are none; iterating anew decodes anew.

    Yields float32 [3, crop, crop] and the index of the true label, or `NO_LABEL`, one at a time.
    `used` is what `find_used` finds in the folder `data`.

    Attributes:
        inputs: what the samples are, for a person.
        labelled: whether they are pictures.
    """

    def __init__(self, model: PackedModel, data: Path, used: Mapping[str, Split]) -> None:
        self._pictures = used["val"].pictures if "val" in used else []
        self._preprocessing = model.preprocessing
        self.labelled = bool(self._pictures)
        # Where the folder lies concerns nobody but its owner.
        name = printable(data.resolve().name)
        self.inputs = f"validation pictures of {name}" if self.labelled else "random noise"

    @property
    def labels(self) -> list[int]:
        """The true labels of the pictures that were read, in the order of reading."""
        return [picture.label for picture in self._pictures]

    def __iter__(self) -> Iterator[tuple[Floats, int]]:
        """Decode the pictures; those that cannot be read are said and left out for good."""
        if not self.labelled:
            generator = np.random.default_rng(SEED)
            shape = (3, self._preprocessing.crop, self._preprocessing.crop)
            for _ in range(NOISE_ARRAYS):
                yield generator.standard_normal(shape, np.float32), NO_LABEL
        readable = []
        with progress_bar("comparing", len(self._pictures)) as bar:
            for picture, array in decoded(self._pictures, self._preprocessing):
                readable.append(picture)
                yield array, picture.label
                bar.update(1)
        self._pictures = readable


def find_used(model: PackedModel, data: Path) -> dict[str, Split]:
    """Find the pictures of `train` and `val`, divided as training divided them.

    What is no picture, and what training could not decode, is left out.

    Returns:
        The splits that there are, in the model's order of labels. A `train` that cannot be used is
        said and left out: only int8 needs one.

    Raises:
        DataError: the validation pictures have other labels, or a folder cannot be looked into.
    """
    unreadable = model.provenance.get("data", {}).get("unreadable", ())
    val = find_val(data)
    arguments = model.provenance.get("arguments", {})
    fraction = arguments.get("val_fraction")
    # Pictures that have a val of their own are not divided.
    if fraction is not None and val is None:
        if not reach_folder(data) or not any(map(is_folder, data.glob("[!.]*"))):
            return {}
        found = find_splits(data, fraction, arguments["seed"], unreadable)
        return {name: _as_the_model_s(split, model, data) for name, split in found.items()}
    used = {}
    for name, root in (("val", val), ("train", data / "train")):
        try:
            if root and reach_folder(root):
                split = leave_out(find_pictures(root), data, unreadable)
                used[name] = _as_the_model_s(split, model, data)
        except DataError as error:
            if name == "val":
                raise
            say(f"the training pictures cannot be used: {error}")
    return used


def _as_the_model_s(split: Split, model: PackedModel, data: Path) -> Split:
    """Spell and sort the labels as the model's, which they must be."""
    refuse_empty(split)
    if set(map(canonical, split.labels)) != set(map(canonical, model.labels)):
        raise DataError(
            f"{data} has the labels {', '.join(split.labels)}, and the checkpoint "
            f"{', '.join(model.labels)}: name the folder that it was trained on with --data"
        )
    return split.respelt(model.labels)


def describe_difference(model: PackedModel, data: Path, used: Mapping[str, Split]) -> str | None:
    """Say where the pictures are not those that the run recorded; None if nowhere, or it did not.

    `used` is what `find_used` finds in the folder `data`.
    """
    recorded = model.provenance.get("data", {})
    if "sums" not in recorded:
        return None
    sums = hash_files([one.path for split in used.values() for one in split.pictures])
    hashed = {name: split.only(sums) for name, split in used.items()}
    return describe_change(recorded, describe_origin(data, hashed, sums))


def calibration_arrays(model: PackedModel, train: Split, count: int) -> list[Floats]:
    """Decode up to `count` training pictures; those that cannot be read are said and left out.

    Returns:
        float32 [3, crop, crop] each; the labels take turns, so that any first part of the list is
        as even as the whole.

    Raises:
        DataError: none can be read.
    """
    arrays = list(islice(training_arrays(model, train), count))
    if not arrays:
        raise DataError(f"no training picture in {train.root} can be read")
    return arrays


def training_arrays(model: PackedModel, train: Split) -> Iterator[Floats]:
    """Decode the training pictures, the labels in turns; what cannot be read is left out, and said.

    Yields float32 [3, crop, crop], one at a time.
    """
    for _, array in decoded(spread(train.pictures), model.preprocessing):
        yield array


def other_arrays(model: PackedModel, data: Path) -> Iterator[Floats]:
    """Decode the pictures of none of the labels, which somebody put into the folder `others`.

    Yields float32 [3, crop, crop], one at a time; none where there is no such folder.
    """
    root = data / OTHERS
    if not is_folder(root):
        return
    pictures = [Picture(path, NO_LABEL) for path in sorted(walk(root)[0])]
    random.Random(SEED).shuffle(pictures)  # noqa: S311 - nothing secret
    for _, array in decoded(pictures, model.preprocessing):
        yield array


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


def decoded(
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
