"""Our request without HTTP: what its parts take, what the threads could do at most, and batches.

    python benchmarks/parts.py bound --model FOLDER --threads 2 --seconds 5 *.jpg
    python benchmarks/parts.py parts --model FOLDER *.jpg
    python benchmarks/parts.py batches --model FOLDER *.jpg

`bound` lets threads run the server's own classifier on pictures in memory, and prints pictures a
second, percentiles and processor time. Each ends with one JSON line. Run it in a process of its
own.
"""

import argparse
import itertools
import json
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import numpy as np
from starlette.responses import JSONResponse

from antbee.artifact import PackedModel, read_model
from antbee.images import decode_image, to_array
from antbee.machine import cores
from antbee.predictor import load_predictor, to_prediction
from antbee.serving.api import prediction_content
from antbee.serving.classifier import Classifier
from antbee.serving.observe import Metrics
from antbee.serving.settings import read_settings
from load import percentiles

BATCHES: Final = (1, 2, 4, 8)
SAMPLE: Final = 32  # how many pictures the parts and the batches are measured on
ROUNDS: Final = 5  # how often every part is measured; the median is taken
WARM_UP: Final = 30


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit code."""
    parser = argparse.ArgumentParser(description="Our request without HTTP.")
    add = parser.add_argument
    add("what", choices=("bound", "parts", "batches"))
    add("pictures", type=Path, nargs="+")
    add("--model", type=Path, required=True, help="a packed model's folder")
    add("--threads", type=int, default=read_settings().threads, help="as the server (%(default)s)")
    add("--seconds", type=float, default=5.0)
    options = parser.parse_args(argv)
    pictures = [path.read_bytes() for path in options.pictures]
    model = read_model(options.model)
    if options.what == "bound":
        result: dict[str, Any] = measure_bound(model, pictures, options.threads, options.seconds)
    elif options.what == "parts":
        result = measure_parts(model, pictures[:SAMPLE])
    else:
        result = {str(threads): measure_batches(model, threads) for threads in {1, cores()}}
    print(json.dumps(result))
    return 0


def measure_bound(
    model: PackedModel, pictures: Sequence[bytes], threads: int, seconds: float
) -> dict[str, Any]:
    """Let threads classify pictures in memory for a while, with what the server's threads run."""
    classifier = Classifier(model, "bench:bound", read_settings(), Metrics())
    classifier.warm_up()
    turn = itertools.cycle(pictures)
    for picture in itertools.islice(turn, WARM_UP):
        classifier.predict(picture)
    computed, start = time.process_time(), time.perf_counter()

    def work(_: int) -> list[float]:
        times = []
        while (began := time.perf_counter()) < start + seconds:
            classifier.predict(next(turn))
            times.append((time.perf_counter() - began) * 1e3)
        return times

    with ThreadPoolExecutor(threads) as pool:
        times = list(itertools.chain.from_iterable(pool.map(work, range(threads))))
    return {
        "threads": threads,
        "pictures_per_second": len(times) / (time.perf_counter() - start),
        "latency_ms": percentiles(times),
        "cpu_ms": (time.process_time() - computed) * 1e3 / len(times),
    }


def measure_parts(model: PackedModel, pictures: Sequence[bytes]) -> dict[str, float]:
    """Time each part on one thread: milliseconds a picture, the median of several rounds."""
    predictor = load_predictor(model, read_settings().runtime)
    side = model.preprocessing.resize
    images = [decode_image(picture, shorter_side=side) for picture in pictures]
    batches = [to_array(image, model.preprocessing)[np.newaxis] for image in images]
    rows = [predictor.logits(batch)[0] for batch in batches]
    return {
        "decode_image": time_each(lambda data: decode_image(data, shorter_side=side), pictures),
        "to_array": time_each(lambda image: to_array(image, model.preprocessing), images),
        "network": time_each(predictor.logits, batches),
        "softmax and answer": time_each(
            lambda row: JSONResponse(prediction_content(to_prediction(model, row), "bench:parts")),
            rows,
        ),
    }


def measure_batches(model: PackedModel, threads: int) -> dict[str, float]:
    """Time the network by the size of the batch: milliseconds a picture."""
    predictor = load_predictor(model, read_settings().runtime, threads)
    side = model.preprocessing.crop
    times = {}
    for size in BATCHES:
        batch = np.random.default_rng(0).normal(size=(size, 3, side, side)).astype(np.float32)
        predictor.logits(batch)
        times[str(size)] = time_each(predictor.logits, [batch] * (SAMPLE // size)) / size
    return times


def time_each(work: Callable[[Any], object], inputs: Sequence[Any]) -> float:
    """Run `work` on every input; milliseconds an input, the median of several rounds."""
    rounds = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for one in inputs:
            work(one)
        rounds.append((time.perf_counter() - began) / len(inputs) * 1e3)
    return statistics.median(rounds)


if __name__ == "__main__":
    raise SystemExit(main())
