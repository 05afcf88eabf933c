"""The best network on the test pictures, measured once a run and kept in `test.json`.

The epoch is the best one on the validation pictures, which makes their accuracy too good to be
true. Nothing was chosen by the test pictures. What was measured stays: it is of one network and of
one set of pictures, whose checksums stand beside it, and is measured again only where either is
another.
"""

import json
import shlex
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import torch

from antbee.accuracy import HeldOut, confusion, describe_accuracy, recall
from antbee.command import say
from antbee.errors import AntBeeError
from antbee.files import sha256_of
from antbee.images import Preprocessing
from antbee.training.checkpoint import Checkpoint, load_checkpoint
from antbee.training.data import Pictures
from antbee.training.device import choose_device
from antbee.training.folder import BEST, write_file
from antbee.training.report.measure import Answers, answer, load_network

RESULT: Final = "test.json"
RESULT_BYTES: Final = 10_000_000
"""In which a label takes some 80; what is longer is no result."""


def read_result(checkpoint: Path) -> HeldOut | None:
    """What was measured with the network in a checkpoint's file; None if nothing was.

    What is damaged, or of another network, counts as nothing: it can be measured again.
    """
    path = checkpoint.with_name(RESULT)
    with suppress(OSError, ValueError, AttributeError, KeyError, TypeError):
        if path.is_file() and path.stat().st_size <= RESULT_BYTES:
            result = HeldOut.from_json(json.loads(path.read_text("utf-8")))
            if result.checkpoint == sha256_of(checkpoint):
                return result
    return None


def write_result(
    folder: Path, checkpoint: Checkpoint, answers: Answers, pictures: Pictures
) -> HeldOut:
    """Keep what the best network of a run's folder answers to the test pictures, and say it.

    Raises:
        CheckpointError: the disk is full or cannot be written to.
    """
    counts = confusion(answers.truth, answers.labels, len(checkpoint.labels))
    tested = pictures.provenance["test"]
    result = HeldOut(
        measured="training",
        checkpoint=sha256_of(folder / BEST),
        sha256=tested["sha256"],
        copies=tested["copies"],
        labels={label: recall(counts, index) for index, label in enumerate(checkpoint.labels)},
    )
    write_file(folder / RESULT, (json.dumps(result.describe(), indent=2) + "\n").encode())
    say(f"test: {describe_accuracy(result.right)}")
    return result


def try_test(folder: Path, pictures: Pictures, device: torch.device | None = None) -> None:
    """Measure the best network on the test pictures at the end of a run, which no failure may lose.

    A run that goes on when all its epochs are done is measured if it was interrupted before that.

    Args:
        folder: of the run: `best.pt` is read, and `RESULT` written.
        pictures: `test` is used; if there is none, nothing is done.
        device: where the network runs; None for the first that is there.
    """
    if not pictures.test:
        return
    with try_again_later("not tested", folder, " --split test"):
        done = read_result(folder / BEST)
        if done and done.sha256 == pictures.provenance["test"]["sha256"]:
            say(f"test, measured before: {describe_accuracy(done.right)}")
            return
        checkpoint = load_checkpoint(folder / BEST)
        own = pictures.respelt(checkpoint.labels)
        device = device or choose_device("auto")
        network = load_network(checkpoint, device)
        preprocessing = Preprocessing.of_size(checkpoint.arguments["size"])
        write_result(folder, checkpoint, answer(network, own.test, device, preprocessing), own)


@contextmanager
def try_again_later(lacking: str, folder: Path, options: str = "") -> Iterator[None]:
    """Say what fails or is interrupted at the end of a run, whatever it is, and how to try again.

    A failure ends here, as the run has ended before it; an interruption goes on.

    `options` follow the command that makes the report of the run's folder.
    """
    try:
        yield
    except (Exception, KeyboardInterrupt) as error:  # whatever it is, the run is worth more
        again = f"python -m antbee.training.report {shlex.quote(str(folder))}{options}"
        interrupted = isinstance(error, KeyboardInterrupt)
        known = str(error) if isinstance(error, AntBeeError) else repr(error)
        say(f"{lacking}: {'interrupted' if interrupted else known}; to try again: {again}")
        if interrupted:
            raise
