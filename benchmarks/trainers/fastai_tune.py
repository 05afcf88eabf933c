"""fastai's way to fine-tune, as its quick start has it, for `training.py` to run.

https://docs.fast.ai/quick_start.html: `ImageDataLoaders`, pictures resized to 224, batches of 64,
`vision_learner(...)` with its own head, and `fine_tune(1)`: an epoch of the head, then one of
everything. Its course's first lesson, on a few hundred pictures as here, has `fine_tune(3)`.
"""

import time
from collections.abc import Sequence
from typing import Any

from fastai.vision.all import (
    Callback,
    ImageDataLoaders,
    Resize,
    accuracy,
    model_meta,
    set_seed,
    vision_learner,
)
from torch import nn
from torchvision import models

from common import Record, load_start, parse_arguments


class Recorded(Callback):
    """Hands each epoch to the record.

    Args:
        record: of all epochs, those of the head alone, too.
    """

    def __init__(self, record: Record) -> None:
        self.record = record

    def before_train(self) -> None:
        """Start the clock, which leaves validation out."""
        self.began = time.perf_counter()

    def after_train(self) -> None:
        """Stop it."""
        self.seconds = time.perf_counter() - self.began

    def after_validate(self) -> None:
        """Take the accuracy of an epoch."""
        learner: Any = self.learn
        right = float(learner.recorder.metrics[-1].value)
        seen = len(learner.dls.train) * learner.dls.train.bs
        self.record.add(learner.model, right, seen / self.seconds)


def main(argv: Sequence[str] | None = None) -> int:
    """Train, and return the exit code."""
    options = parse_arguments(__doc__, 1, argv)
    set_seed(options.seed)

    def resnet18(*, pretrained: bool) -> nn.Module:
        model: nn.Module = models.resnet18()
        if pretrained:
            load_start(model, options.weights)
        return model

    # What fastai knows of its own: where the body ends, the groups of layers, how to normalize.
    known = model_meta[models.resnet18]
    model_meta[resnet18] = {name: known[name] for name in ("cut", "split", "stats")}
    loaders = ImageDataLoaders.from_folder(options.data, valid="val", item_tfms=Resize(224))
    learner = vision_learner(loaders, resnet18, metrics=accuracy)
    learner.add_cb(Recorded(Record(options.out)))
    learner.fine_tune(options.epochs)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
