"""Wrong labels and near copies made of a run's pictures, and what of them is found.

python benchmarks/suspects.py saved_models/RUN

A share of the training labels is changed; of every second picture a copy is put into another split.
Prints a table, then one JSON line, means of three seeds: the recall, of what was made the share
that is found, and the precision, of what is found the share that was made.
"""

import io
import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from antbee.training.check import check_pictures
from antbee.training.checkpoint import load_checkpoint
from antbee.training.copies import find_copies, thumbnail
from antbee.training.data import Picture, Split
from antbee.training.device import choose_device
from antbee.training.suspects import confident_answers, pool_features, predict_out_of_fold

COPIES = {"JPEG of quality 30": (30, 1.0, 1.0), "half size": (90, 0.5, 1.0)} | {
    f"cut to {share:.0%} of each side": (90, 1.0, share) for share in (0.95, 0.9, 0.8)
}  # quality, scale, and the share of each side that a cut at random leaves

checkpoint = load_checkpoint(Path(sys.argv[1]) / "best.pt")
pictures = check_pictures(Path(checkpoint.arguments["data"]))
features = pool_features(checkpoint, pictures, choose_device("auto")).numpy()
labels, classes = np.array([one.label for one in pictures.train]), len(pictures.labels)
images = {one.path: Image.open(one.path).convert("RGB") for one in (*pictures.train, *pictures.val)}
measured: dict[str, list[tuple[float, float]]] = {}
for random in map(np.random.default_rng, range(3)):
    for share in (0.05, 0.1):
        wrong = random.permutation(len(labels)) < round(share * len(labels))
        given = (labels + wrong * random.integers(1, classes, len(labels))) % classes
        named = confident_answers(predict_out_of_fold(features, given, classes), given) != given
        both = (named & wrong).sum()
        row = measured.setdefault(f"{share:.0%} of the labels", [])
        row.append((both / wrong.sum(), both / max(named.sum(), 1)))
    for kind, (quality, scale, kept) in COPIES.items():
        small = {path: thumbnail(image) for path, image in images.items()}
        copies = {}
        for path, image in list(images.items())[::2]:
            left, top = (side * (1 - kept) * random.random() for side in image.size)
            box = (left, top, left + image.width * kept, top + image.height * kept)
            width, height = (round(side * kept * scale) for side in image.size)
            image.resize((width, height), box=box).save(
                file := io.BytesIO(), "JPEG", quality=quality
            )
            copies[path / "copy"] = thumbnail(Image.open(file))
        splits = [Split([], [Picture(path, 0) for path in one], Path()) for one in (small, copies)]
        sums = {path: str(path) for path in (*small, *copies)}
        found = find_copies(dict(zip("ab", splits, strict=True)), sums, small | copies)
        right = sum(one.picture.path == one.other.path.parent for one in found)
        measured.setdefault(kind, []).append((right / len(copies), right / max(len(found), 1)))
means = {kind: np.mean(runs, 0).tolist() for kind, runs in measured.items()}
for kind, one in means.items():
    print(f"{kind:25}  recall {one[0]:6.1%}  precision {one[1]:6.1%}")
print(json.dumps(means))
