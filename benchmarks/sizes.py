"""Train, pack and serve with pictures of several sizes, and compare.

    python benchmarks/sizes.py --data data --weights FILE

Every size is trained with every seed, one after the other in this process; other options are those
of train.py. What the first seed gave is packed, and the server's classifier answers validation
pictures on one thread, the sizes in turn. Prints a line of JSON for each training on stderr; then a
table, and one JSON line: `top1`, the share of the validation pictures that each seed's best epoch
gets right, 0 to 1; `seconds` of all epochs, in the mean of the seeds; `trained`, pictures in steps
of training on what the frozen part made, which is kept, and `served`, decoding included, by
runtime, both a second of processor time and with the sizes taking turns; `share_trained` and
`share_served`, how many times as fast that is as at 224.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import torch

from antbee.images import configure_pillow
from antbee.machine import keep_memory
from antbee.packing.pack import pack
from antbee.serving.classifier import Classifier
from antbee.serving.observe import Metrics
from antbee.serving.settings import read_settings
from antbee.training.arguments import DEFAULTS, make_parser, settle
from antbee.training.check import check_pictures
from antbee.training.checkpoint import load_checkpoint
from antbee.training.device import choose_device
from antbee.training.folder import BEST
from antbee.training.learner import Hyperparameters, Learner
from antbee.training.network import restore_model
from antbee.training.run import begin_run
from antbee.training.terminal import Stop
from training import read_metrics

SIZES: Final = "96,128,160,224,320"
SAMPLE: Final = 32  # pictures that each round serves
ROUNDS: Final = 5
BATCH: Final = DEFAULTS["batch_size"]
STEPS: Final = 20  # of training, that each size takes


def main(argv: Sequence[str] | None = None) -> int:
    """Train and serve, print the table and the JSON line, and return the exit code."""
    parser = argparse.ArgumentParser(description="Sizes of the network's input, compared.")
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--weights", required=True, help="a ResNet-18 state dict")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--sizes", default=SIZES)
    options, more = parser.parse_known_args(argv)
    configure_pillow()
    keep_memory()
    sizes = [int(size) for size in options.sizes.split(",")]
    seeds = options.seeds.split(",")

    runs: list[dict[str, Any]] = []
    checkpoints: dict[int, Path] = {}
    with tempfile.TemporaryDirectory() as temporary:
        for seed in seeds:
            for size in sizes:
                given = ["--data", options.data, "--weights", options.weights, *more]
                folder = train_here([*given, "--size", size, "--seed", seed], Path(temporary))
                checkpoints.setdefault(size, folder / BEST)
                epochs = read_metrics(folder)
                run = {
                    "size": size,
                    "seed": seed,
                    "top1": max(one["val_top1"] for one in epochs),
                    "seconds": sum(one["seconds"] for one in epochs),
                    "precision": load_checkpoint(folder / BEST).precision,
                }
                print(json.dumps(run), file=sys.stderr, flush=True)
                runs.append(run)
        trained = train_in_turn(checkpoints)
        served = serve(checkpoints, options.data, Path(temporary))

    results: list[dict[str, Any]] = []
    for size in sizes:
        own = [run for run in runs if run["size"] == size]
        result = {"size": size, "top1": [run["top1"] for run in own]}
        result["seconds"] = statistics.fmean(run["seconds"] for run in own)
        results.append(result | {"trained": trained[size], "served": served[size]})
    usual = next((one for one in results if one["size"] == DEFAULTS["size"]), results[0])
    for one in results:
        one["share_trained"] = one["trained"] / usual["trained"]
        one["share_served"] = {
            name: speed / usual["served"][name]
            for name, speed in one["served"].items()
            if name in usual["served"]
        }
    print("size  top-1 of each seed        trained/s (x)      seconds  served/s (x)")
    for one in results:
        right = " ".join(f"{share:.1%}" for share in one["top1"])
        served_at = "  ".join(
            f"{name} {speed:.1f} ({one['share_served'].get(name, 0):.2f})"
            for name, speed in one["served"].items()
        )
        speed = f"{one['trained']:.1f} ({one['share_trained']:.2f})"
        print(f"{one['size']:4}  {right:24}  {speed:17}  {one['seconds']:7.0f}  {served_at}")
    print("\n" + json.dumps({"sizes": results, "runs": runs}))
    return 0


def train_here(arguments: Sequence[object], out: Path) -> Path:
    """Train in this process by train.py's options, without a report; return the run's folder."""
    parser = make_parser()
    settled = settle(parser, parser.parse_args([*map(str, arguments)]), None)
    pictures = check_pictures(Path(settled["data"]), settled["val_fraction"], settled["seed"])
    going = begin_run(out, settled, pictures, choose_device(settled["device"]))
    going.train(Stop())
    return going.folder


def train_in_turn(checkpoints: dict[int, Path]) -> dict[int, float]:
    """Take steps of training; return the pictures a second of each size."""
    learners: dict[int, Learner] = {}
    for size, path in checkpoints.items():
        state = load_checkpoint(path)
        parameters = Hyperparameters(1e-9, 10**6, state.precision, state.arguments["freeze"], size)
        learners[size] = Learner(restore_model(state), torch.device("cpu"), parameters)
    batches = {
        size: (learner.features(torch.rand(BATCH, 3, size, size)), torch.arange(BATCH) % 2)
        for size, learner in learners.items()
    }
    seconds: dict[int, list[float]] = {size: [] for size in learners}
    for _ in range(STEPS):
        for size, learner in learners.items():
            began = time.process_time()
            learner.train(batches[size])
            seconds[size].append(time.process_time() - began)
    return {size: BATCH / statistics.median(times) for size, times in seconds.items()}


def serve(checkpoints: dict[int, Path], data: Path, folder: Path) -> dict[int, dict[str, float]]:
    """Pack each size's checkpoint; return the pictures a second of each size and runtime."""
    pictures = [path.read_bytes() for path in sorted(data.glob("val/*/[!.]*"))]
    pictures = pictures[:: max(1, len(pictures) // SAMPLE)][:SAMPLE]
    classifiers: dict[tuple[int, str], Classifier] = {}
    for size, checkpoint in checkpoints.items():
        target = folder / f"packed-{size}"
        target.mkdir()
        model = pack(checkpoint, data, "auto", target)
        for runtime in model.candidates:
            settings = read_settings({"ANTBEE_RUNTIME": runtime})
            classifier = Classifier(model, f"bench:{size}", settings, Metrics())
            classifier.warm_up()
            classifiers[size, runtime] = classifier
    seconds: dict[tuple[int, str], list[float]] = {key: [] for key in classifiers}
    for _ in range(ROUNDS):
        for key, classifier in classifiers.items():
            began = time.process_time()
            for picture in pictures:
                classifier.predict(picture)
            seconds[key].append(time.process_time() - began)
    speeds: dict[int, dict[str, float]] = {size: {} for size in checkpoints}
    for (size, runtime), times in seconds.items():
        speeds[size][runtime] = len(pictures) / statistics.median(times)
    return speeds


if __name__ == "__main__":
    raise SystemExit(main())
