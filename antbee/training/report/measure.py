"""The best network on pictures: its logits, and what in a few spoke for its answer.

Pictures come through `read_array` and the network in float32, as in validation and when served.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Final, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import nn
from torchvision.models.feature_extraction import create_feature_extractor

from antbee.ahead import open_pool, work_ahead
from antbee.artifact import FEATURES
from antbee.calibration import Calibration, calibrate, softmax
from antbee.command import printable, progress_bar
from antbee.errors import AntBeeError, DataError
from antbee.explain import activation_maps, displayed, overlay, strength
from antbee.images import Preprocessing, decode_image, read_array, read_picture, to_array
from antbee.predictor import OUTPUT_NODES, Floats
from antbee.training.checkpoint import Checkpoint
from antbee.training.data import Picture
from antbee.training.network import HEAD, restore_model

BATCH: Final = 32
AHEAD: Final = 2
"""Batches that are read ahead."""
THUMBNAIL: Final = 224
"""The longer side of a picture in the report, in pixels."""
FULL: Final = 1024
"""The same of the picture that a click opens, which is no larger than it came."""
T = TypeVar("T")


class Answers:
    """What the network says of pictures, such as those to validate on.

    Attributes:
        pictures: the pictures.
        logits: float32 [N, classes].
        truth: the true labels' indices, int64 [N].
        labels: the answers' indices, int64 [N].
        calibration: the temperature that packing will find, too; 1 if it is not to be `calibrated`.
        probabilities: what will be served, calibrated, [N, classes].
    """

    def __init__(
        self, pictures: Sequence[Picture], logits: Floats, *, calibrated: bool = True
    ) -> None:
        self.pictures = pictures
        self.logits = logits
        self.truth = np.array([picture.label for picture in pictures], np.int64)
        self.labels = np.asarray(logits.argmax(1), np.int64)
        self.calibration = calibrate(logits, self.truth) if calibrated else Calibration()
        self.probabilities = softmax(logits, self.calibration.temperature)

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
class Illustration:
    """A picture, and what in it speaks for an answer.

    Attributes:
        picture: small.
        heat_map: the picture with the answer's class activation map over it, of the same size.
        full: the picture, its longer side at most `FULL`.
    """

    picture: Image.Image
    heat_map: Image.Image
    full: Image.Image


def load_network(checkpoint: Checkpoint, device: torch.device) -> nn.Module:
    """Load a checkpoint's network, in float32 and its evaluation mode.

    Channels come last in its memory: on a processor it answers in seven tenths of the time.

    Raises:
        CheckpointError: the weights are another network's.
    """
    network = restore_model(checkpoint)
    return network.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload, no-any-return]


@torch.inference_mode()
def answer(
    network: nn.Module,
    pictures: Sequence[Picture],
    device: torch.device,
    preprocessing: Preprocessing,
    *,
    calibrated: bool = True,
) -> Answers:
    """Ask a network, in its evaluation mode, about every picture, of which there is one at least.

    Raises:
        DataError: a picture can no longer be read.
    """
    logits = []
    with open_pool() as pool, progress_bar("report", len(pictures)) as bar:
        read = partial(_read, partial(read_array, preprocessing=preprocessing))
        arrays = work_ahead(pool, read, [one.path for one in pictures], AHEAD * BATCH)
        while batch := list(islice(arrays, BATCH)):
            logits.append(network(torch.from_numpy(np.stack(batch)).to(device)).cpu().numpy())
            bar.update(len(batch))
    return Answers(pictures, np.concatenate(logits), calibrated=calibrated)


@torch.inference_mode()
def explain(
    network: nn.Module,
    answers: Answers,
    indices: Iterable[int],
    device: torch.device,
    preprocessing: Preprocessing,
) -> dict[int, Illustration]:
    """Draw what in some of the pictures, by index, spoke for their answers.

    Raises:
        DataError: a picture can no longer be read.
    """
    extractor = create_feature_extractor(network, OUTPUT_NODES).eval()
    head = network.get_parameter(f"{HEAD}.weight").detach().cpu().numpy()
    decode = partial(decode_image, shorter_side=preprocessing.resize)
    explanations = {}
    for index in indices:
        path = answers.pictures[index].path
        picture = _read(decode, path)
        # The network's own is reduced as it is decoded, further than a person would like.
        full = _read(partial(decode_image, shorter_side=FULL), path)
        full.thumbnail((FULL, FULL))
        batch = torch.from_numpy(to_array(picture, preprocessing)[np.newaxis]).to(device)
        maps = activation_maps(extractor(batch)[FEATURES][0].cpu().numpy(), head)
        small, square = displayed(picture, preprocessing, THUMBNAIL)
        heat_map = overlay(small, strength(maps, answers.labels[index]), square)
        explanations[index] = Illustration(small, heat_map, full)
    return explanations


def shrink(path: Path) -> Image.Image:
    """Read a picture as small as the report shows it.

    Raises:
        DataError: it can no longer be read.
    """
    image = _read(partial(decode_image, shorter_side=THUMBNAIL), path)
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    return image


def _read(decode: Callable[[bytes], T], path: Path) -> T:
    try:
        return decode(read_picture(path))
    except (OSError, AntBeeError) as error:
        raise DataError(f"{printable(path)} can no longer be read: {error}") from error
