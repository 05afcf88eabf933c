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
from antbee.command import progress_bar, say
from antbee.errors import DataError, ImageError
from antbee.images import Preprocessing, read_array
from antbee.packing.gate import NO_LABEL
from antbee.predictor import Floats
from antbee.training.data import Picture, find_pictures, find_splits

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
        folders = (path.is_dir() for path in data.glob("[!.]*"))
        has_val = (data / "val").is_dir() or (_is_divided(model, data) and any(folders))
        self._pictures = labelled_pictures(model, data, "val") if has_val else []
        self._preprocessing = model.preprocessing
        self.labelled = bool(self._pictures)
        # Where the folder lies concerns nobody but its owner.
        name = data.resolve().name
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


def labelled_pictures(model: PackedModel, data: Path, split: str) -> list[Picture]:
    """Find the pictures of one split, `train` or `val`, divided as training divided them.

    Raises:
        DataError: the folder is missing, or its labels are not the model's.
    """
    if _is_divided(model, data):
        arguments, recorded = (model.provenance[key] for key in ("arguments", "data"))
        fraction, seed = arguments["val_fraction"], arguments["seed"]
        found = find_splits(data, fraction, seed, recorded["left_out"])[split]
    else:
        found = find_pictures(data / split)
    if found.labels != list(model.labels):
        raise DataError(
            f"{data} has the labels {', '.join(found.labels)}, and the checkpoint "
            f"{', '.join(model.labels)}: name the folder that it was trained on with --data"
        )
    return found.pictures


def calibration_arrays(model: PackedModel, data: Path, count: int) -> list[Floats]:
    """Decode up to `count` training pictures; those that cannot be read are said and left out.

    Returns:
        float32 [3, crop, crop] each; the labels take turns, so that any first part of the list is
        as even as the whole.

    Raises:
        DataError: there are no training pictures, none can be read, or their labels are others.
    """
    pictures = spread(labelled_pictures(model, data, "train"))
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


def _is_divided(model: PackedModel, data: Path) -> bool:
    """Whether training set a share aside, and these pictures have no `val` that comes first."""
    arguments = model.provenance.get("arguments", {})
    return arguments.get("val_fraction") is not None and not (data / "val").is_dir()


def _decoded(
    pictures: Iterable[Picture], preprocessing: Preprocessing
) -> Iterator[tuple[Picture, Floats]]:
    """Read the pictures as the server does; those that cannot be read are said and left out."""
    for picture in pictures:
        try:
            array = read_array(picture.path.read_bytes(), preprocessing)
        except (ImageError, OSError) as error:
            say(f"left out {picture.path}: {error}")
        else:
            yield picture, array
