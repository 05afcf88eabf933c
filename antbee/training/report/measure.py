"""The best network on the validation pictures: its logits, and what it looked at in a few.

Pictures come through `read_array` and the network in float32, as in validation and when served.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torchvision.models.feature_extraction import create_feature_extractor

from antbee import heatmap
from antbee.activation import activation_maps, strength
from antbee.ahead import open_pool, work_ahead
from antbee.artifact import FEATURES
from antbee.calibration import Calibration, Shares, calibrate, softmax
from antbee.errors import DataError, ImageError
from antbee.images import IMAGENET, decode_image, read_array, to_array
from antbee.predictor import OUTPUT_NODES, Floats
from antbee.results import shown
from antbee.training.checkpoint import Checkpoint
from antbee.training.data import Picture
from antbee.training.network import HEAD, restore_model
from antbee.training.progress import Bar

BATCH: Final = 32
AHEAD: Final = 2
"""Batches that are read ahead."""
THUMBNAIL: Final = 224
"""The longer side of a picture in the report, in pixels."""


@dataclass(frozen=True)
class Answers:
    """What the network says of the validation pictures.

    Attributes:
        pictures: the pictures.
        logits: float32 [N, classes].
    """

    pictures: Sequence[Picture]
    logits: Floats

    @cached_property
    def truth(self) -> NDArray[np.int64]:
        """The true labels' indices, [N]."""
        return np.array([picture.label for picture in self.pictures], np.int64)

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """The answers' indices, [N]."""
        return np.asarray(self.logits.argmax(1), np.int64)

    @cached_property
    def calibration(self) -> Calibration:
        """The temperature that packing will find, too."""
        return calibrate(self.logits, self.truth)

    @cached_property
    def probabilities(self) -> Shares:
        """What will be served, calibrated, [N, classes]."""
        return softmax(self.logits, self.calibration.temperature)

    def worst(self, most: int) -> list[int]:
        """Up to `most` wrong answers, by index, the most confident first."""
        wrong = np.flatnonzero(self.labels != self.truth)
        order = np.argsort(-self.probabilities[wrong].max(1), kind="stable")
        return [int(index) for index in wrong[order[:most]]]

    def least_certain(self, most: int) -> list[int]:
        """Up to `most` answers, right or wrong, by index, the least probable first."""
        order = np.argsort(self.probabilities.max(1), kind="stable")
        return [int(index) for index in order[:most]]


@dataclass(frozen=True)
class Looked:
    """A picture, and what in it speaks for an answer.

    Attributes:
        picture: small.
        heat: the picture with the answer's class activation map over it, of the same size.
    """

    picture: Image.Image
    heat: Image.Image


class Network:
    """A checkpoint's network, ready to answer.

    Raises:
        CheckpointError: the weights are another network's.
    """

    def __init__(self, checkpoint: Checkpoint, device: torch.device) -> None:
        self._device = device
        self._network = restore_model(checkpoint).to(device).eval()

    @torch.inference_mode()
    def logits(self, batch: Iterable[Floats]) -> Floats:
        """Answer pictures, float32 [3, 224, 224] each, with float32 [N, classes]."""
        return _array(self._network(self._tensor(batch)))

    @torch.inference_mode()
    def look(self, data: bytes, label: int) -> Looked:
        """Draw what in a picture's file speaks for a label.

        Raises:
            ImageError: the bytes are not a picture that can be read.
        """
        picture = decode_image(data, shorter_side=IMAGENET.resize)
        features = self._features(self._tensor([to_array(picture)]))[FEATURES]
        head = _array(self._network.get_parameter(f"{HEAD}.weight"))
        found = strength(activation_maps(_array(features)[0], head), label)
        small, square = heatmap.shown(picture, IMAGENET, THUMBNAIL)
        return Looked(small, heatmap.overlay(small, found, square))

    @cached_property
    def _features(self) -> nn.Module:
        extractor: nn.Module = create_feature_extractor(self._network, OUTPUT_NODES)
        return extractor.eval()

    def _tensor(self, batch: Iterable[Floats]) -> Tensor:
        return torch.from_numpy(np.stack(list(batch))).to(self._device)


def answer(network: Network, pictures: Sequence[Picture]) -> Answers:
    """Ask the network about every picture.

    Raises:
        DataError: a picture can no longer be read.
    """
    logits = []
    with open_pool() as pool, Bar("report", len(pictures)) as bar:
        arrays = work_ahead(pool, _read, pictures, AHEAD * BATCH)
        while batch := list(islice(arrays, BATCH)):
            logits.append(network.logits(batch))
            bar.update(len(batch))
    return Answers(pictures, np.concatenate(logits))


def look(network: Network, answers: Answers, index: int) -> Looked:
    """Draw what in a picture spoke for its answer.

    Raises:
        DataError: the picture can no longer be read.
    """
    with _faults_named(answers.pictures[index]) as data:
        return network.look(data, int(answers.labels[index]))


def _read(picture: Picture) -> Floats:
    with _faults_named(picture) as data:
        return read_array(data)


@contextmanager
def _faults_named(picture: Picture) -> Iterator[bytes]:
    try:
        yield picture.path.read_bytes()
    except (OSError, ImageError) as error:
        raise DataError(f"{shown(picture.path)} can no longer be read: {error}") from error


def _array(tensor: Tensor) -> Floats:
    return np.asarray(tensor.detach().float().cpu().numpy(), np.float32)
