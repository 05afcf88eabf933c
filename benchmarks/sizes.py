"""Train, pack and serve with pictures of several sizes, and compare.

    python benchmarks/sizes.py --data data --weights FILE

Every size is trained with every seed, the sizes one after the other, each in a process of its own;
other options are handed on to train.py. What the first seed gave is packed, and the server's
classifier answers the validation pictures in this process on one thread, the sizes in turn. Prints
a table, then one JSON line: `top1`, the share of the validation pictures that each seed's best
epoch gets right, 0 to 1; `trained`, pictures a second in the median of the second half of the
epochs, and `seconds`, from the start of the process to its end, both in the mean of the seeds;
`served`, pictures a second, decoding included, by runtime.
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

from antbee.images import configure_pillow
from antbee.packing.pack import pack
from antbee.serving.classifier import Classifier
from antbee.serving.observe import Metrics
from antbee.serving.settings import read_settings
from training import COMMANDS, read_metrics, train

SIZES: Final = "96,128,160,224,320"
SAMPLE: Final = 32  # pictures that each round serves
ROUNDS: Final = 5
ROW: Final = "{size:4}  {top1:24}  {trained:9.1f}  {seconds:7.0f}  {served}"


def main(argv: Sequence[str] | None = None) -> int:
    """Train and serve, print the table and the JSON line, and return the exit code."""
    parser = argparse.ArgumentParser(description="Sizes of the network's input, compared.")
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--weights", required=True, help="a ResNet-18 state dict")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--sizes", default=SIZES)
    options, more = parser.parse_known_args(argv)
    configure_pillow()
    sizes = [int(size) for size in options.sizes.split(",")]
    seeds = options.seeds.split(",")

    runs: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as temporary:
        for seed in seeds:
            for size in sizes:
                folder = Path(temporary, f"{size}-{seed}")
                folder.mkdir()
                command = [*COMMANDS["antbee"], "--data", options.data, "--size", size, *more]
                began = time.perf_counter()
                train([*command, "--weights", options.weights, "--seed", seed], folder)
                seconds = time.perf_counter() - began
                epochs = read_metrics(folder)
                speeds = [one["pictures_per_second"] for one in epochs]
                run = {
                    "size": size,
                    "seed": seed,
                    "top1": max(one["val_top1"] for one in epochs),
                    "trained": statistics.median(speeds[len(speeds) // 2 :]),
                    "seconds": seconds,
                }
                print(json.dumps(run), file=sys.stderr, flush=True)
                runs.append(run)
        checkpoints = [next(Path(temporary).glob(f"{size}-{seeds[0]}/*/best.pt")) for size in sizes]
        served = serve(dict(zip(sizes, checkpoints, strict=True)), options.data, Path(temporary))

    print("size  top-1 of each seed        trained/s  seconds  served/s")
    results = []
    for size in sizes:
        own = [run for run in runs if run["size"] == size]
        result: dict[str, Any] = {
            "size": size,
            "top1": [run["top1"] for run in own],
            **{name: statistics.fmean(run[name] for run in own) for name in ("trained", "seconds")},
            "served": served[size],
        }
        top1 = " ".join(f"{one:.1%}" for one in result["top1"])
        speeds_of = "  ".join(f"{name} {speed:.1f}" for name, speed in served[size].items())
        print(ROW.format(**result | {"top1": top1, "served": speeds_of}))
        results.append(result)
    print("\n" + json.dumps({"sizes": results, "runs": runs}))
    return 0


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
            began = time.perf_counter()
            for picture in pictures:
                classifier.predict(picture)
            seconds[key].append(time.perf_counter() - began)
    speeds: dict[int, dict[str, float]] = {size: {} for size in checkpoints}
    for (size, runtime), times in seconds.items():
        speeds[size][runtime] = len(pictures) / statistics.median(times)
    return speeds


if __name__ == "__main__":
    raise SystemExit(main())
