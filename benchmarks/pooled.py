"""What the third output costs: two packages of one checkpoint, with and without it.

    python benchmarks/pooled.py CHECKPOINT *.jpg

They answer each picture in turn, on one thread; `calls` pairs are made. Prints for each runtime
whether the logits are the same bit for bit, and milliseconds of processor time, as one JSON line:
medians, and the median difference of a pair.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np

from antbee.artifact import INT8, LOGITS, ONNX, POOLED, PackedModel, read_model, write_model
from antbee.images import IMAGENET, configure_pillow, read_array, read_picture
from antbee.packing.export import export_onnx
from antbee.packing.quantize import QUANTIZATIONS, quantize
from antbee.predictor import Floats, load_predictor, to_prediction
from antbee.training.checkpoint import load_checkpoint
from antbee.training.network import restore_model
from antbee.typicality import Boundary, Judge

STAGE: Final = "layer3"
CHANNELS: Final = 256
KNOWN: Final = 153
"""Scores to look up a picture's place among."""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit code."""
    parser = argparse.ArgumentParser(description="What the third output costs.")
    add = parser.add_argument
    add("checkpoint", type=Path)
    add("pictures", type=Path, nargs="+")
    add("--calls", type=int, default=300)
    options = parser.parse_args(argv)
    configure_pillow()
    checkpoint = load_checkpoint(options.checkpoint)
    arrays = [read_array(read_picture(path), IMAGENET) for path in options.pictures[:64]]
    with TemporaryDirectory() as folder:
        models = []
        for stage in (None, STAGE):
            place = Path(folder, str(stage))
            place.mkdir()
            export_onnx(restore_model(checkpoint), place / ONNX, IMAGENET.crop, stage)
            quantize(place / ONNX, place / INT8, arrays, QUANTIZATIONS[0])
            labels = tuple(checkpoint.labels)
            write_model(PackedModel(checkpoint.arch, labels, "int8", folder=place, pooled=stage))
            models.append(read_model(place))
        plain, pooled = models
        result = {
            name: measure(plain, pooled, name, arrays, options.calls) for name in ("int8", "onnx")
        }
    print(json.dumps(result))
    return 0


def measure(
    plain: PackedModel, pooled: PackedModel, runtime: str, arrays: Sequence[Floats], calls: int
) -> dict[str, Any]:
    """Let both packages answer in turn, each first in every other pair."""
    one, other = load_predictor(plain, runtime), load_predictor(pooled, runtime)
    scores = np.random.default_rng(0).normal(size=KNOWN)
    judge = Judge(Boundary(np.ones(CHANNELS), 0.0), np.sort(scores).tolist())

    def without(batch: Floats) -> Floats:
        logits = one.outputs(batch, (LOGITS,))[0]
        to_prediction(plain, logits[0])
        return logits

    def with_it(batch: Floats) -> Floats:
        logits, vectors = other.outputs(batch, (LOGITS, POOLED))
        to_prediction(pooled, logits[0], judge.typicality(vectors[0]))
        return logits

    ways: tuple[Callable[[Floats], Floats], ...] = (without, with_it)
    batches = [array[np.newaxis] for array in arrays]
    same = all(np.array_equal(without(batch), with_it(batch)) for batch in batches)
    times: dict[Callable[[Floats], Floats], list[float]] = {way: [] for way in ways}
    for call in range(calls):
        batch = batches[call % len(batches)]
        for way in ways if call % 2 else ways[::-1]:
            began = time.thread_time()
            way(batch)
            times[way].append(1e3 * (time.thread_time() - began))
    return {
        "same_logits": same,
        "without_ms": float(np.median(times[without])),
        "with_ms": float(np.median(times[with_it])),
        "difference_ms": float(np.median(np.subtract(times[with_it], times[without]))),
    }


if __name__ == "__main__":
    raise SystemExit(main())
