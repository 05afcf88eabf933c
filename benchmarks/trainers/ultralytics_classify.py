"""Ultralytics' way to classify with torchvision's ResNet-18, for `training.py` to run.

https://docs.ultralytics.com/tasks/classify/ has `yolo classify train model=… data=… epochs=100
imgsz=64`; its description of this network is `yolo11-cls-resnet18.yaml`, and 224 pixels are what
all others see. Its program runs as a process of its own and nothing of it is imported here, for its
licence is the AGPL. It takes torchvision's weights from torch's cache, so a cache is made for it.
"""

import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torchvision import models

from common import load_start, parse_arguments

CONFIG = "yolo11-cls-resnet18.yaml"


def main(argv: Sequence[str] | None = None) -> int:
    """Train, and return the exit code."""
    options = parse_arguments(__doc__, 100, argv)
    out = options.out.resolve()
    torch.manual_seed(options.seed)
    model = models.resnet18()
    load_start(model, options.weights)
    cache = out / "hub" / "checkpoints"
    cache.mkdir(parents=True)
    url: str = models.ResNet18_Weights.DEFAULT.url
    torch.save(model.state_dict(), cache / url.rpartition("/")[2])

    program = str(Path(sys.executable).with_name("yolo"))
    command = [program, "classify", "train", f"model={CONFIG}", f"data={options.data.resolve()}"]
    command += [f"epochs={options.epochs}", "imgsz=224", f"seed={options.seed}", "plots=False"]
    command += ["device=cpu", f"project={out}", "name=run", "exist_ok=True"]
    own = {"TORCH_HOME": str(out), "YOLO_CONFIG_DIR": str(out), "YOLO_OFFLINE": "true"}
    subprocess.run(command, env=os.environ | own, check=True)  # noqa: S603 - ours

    # Its times are those of training and validation together.
    before, lines = 0.0, []
    pictures = sum(1 for _ in options.data.glob("train/*/*"))
    with (out / "run" / "results.csv").open() as file:
        for row in csv.DictReader(file):
            ended = float(row["time"])
            line = {"epoch": int(row["epoch"]), "val_top1": float(row["metrics/accuracy_top1"])}
            lines.append(line | {"pictures_per_second": pictures / (ended - before)})
            before = ended
    (out / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    shutil.copy2(out / "run" / "weights" / "best.pt", out / "best.pt")  # with its time
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
