"""fastai's way to classify many pictures, `test_dl` and `get_preds`, for `predicting.py` to run.

https://docs.fast.ai/tutorial.vision.html. Its network has a head of its own, for which there are no
weights here: what is measured is the speed. Batches of 64 and as many loading processes as cores
are its defaults. Writes a line `path,label,probability` for each picture.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from fastai.vision.all import ImageDataLoaders, Resize, get_image_files, model_meta, vision_learner
from torchvision import models


def main(argv: Sequence[str] | None = None) -> int:
    """Classify, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--arch", default="resnet18")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(argv)
    files = get_image_files(options.pictures)

    def network(*, pretrained: bool) -> object:  # noqa: ARG001 - how fastai calls it
        return models.get_model(options.arch)

    known = model_meta[models.resnet18]
    model_meta[network] = {name: known[name] for name in ("cut", "split", "stats")}
    # Every second file is one of the other label: fastai wants to know of two.
    labels = [str(number % 2) for number, _ in enumerate(files)]
    loaders = ImageDataLoaders.from_lists(options.pictures, files, labels, item_tfms=Resize(224))
    learner = vision_learner(loaders, network)
    chances, _ = learner.get_preds(dl=loaders.test_dl(files))
    with options.out.open("w") as file:
        for path, row in zip(files, chances.tolist(), strict=True):
            file.write(f"{path},{row.index(max(row))},{max(row):.4f}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
