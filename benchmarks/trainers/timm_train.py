"""timm's way to train: its factories, put together as its `train.py` does, which no wheel has.

https://huggingface.co/docs/timm/training_script, whose one command line that fine-tunes asks for
batches of 32, 30 epochs, AdamW at 1e-4 with a weight decay of 0.01; everything else is train.py's
default: random crop, mirroring, colours shaken by 0.4, labels smoothed by 0.1, five epochs to warm
up from 1e-5, a cosine for every epoch, four loading processes. Without `--amp`, which is for GPUs.
"""

import time
from collections.abc import Sequence

import torch
from timm import create_model
from timm.data import create_dataset, create_loader, resolve_data_config
from timm.loss import LabelSmoothingCrossEntropy
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2
from timm.utils import random_seed

from common import Record, load_start, parse_arguments


def main(argv: Sequence[str] | None = None) -> int:
    """Train, and return the exit code."""
    options = parse_arguments(__doc__, 30, argv)
    random_seed(options.seed)
    device = torch.device("cpu")
    datasets = {
        split: create_dataset("", root=str(options.data), split=split) for split in ("train", "val")
    }
    classes = len(datasets["train"].reader.class_to_idx)
    model = create_model("resnet18.tv_in1k", num_classes=classes)
    load_start(model, options.weights)
    view = resolve_data_config(model=model)
    shared = {
        "batch_size": 32,
        "input_size": view["input_size"],
        "mean": view["mean"],
        "std": view["std"],
        "num_workers": 4,
        "device": device,
        "use_prefetcher": False,
        "persistent_workers": True,
    }
    training = create_loader(
        datasets["train"], is_training=True, color_jitter=0.4, interpolation="random", **shared
    )
    validation = create_loader(
        datasets["val"], interpolation=view["interpolation"], crop_pct=view["crop_pct"], **shared
    )

    optimizer = create_optimizer_v2(model, opt="adamw", lr=1e-4, weight_decay=0.01)
    warm_up = min(5, options.epochs // 2)
    scheduler, epochs = create_scheduler_v2(
        optimizer,
        sched="cosine",
        num_epochs=options.epochs,
        warmup_epochs=warm_up,
        warmup_lr=1e-5,
        cooldown_epochs=0,
    )
    scheduler.step(0)
    loss_of = LabelSmoothingCrossEntropy(0.1)
    record = Record(options.out)
    for epoch in range(epochs):
        model.train()
        seen, began = 0, time.perf_counter()
        for pictures, labels in training:
            loss = loss_of(model(pictures), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            seen += len(labels)
        speed = seen / (time.perf_counter() - began)
        model.eval()
        with torch.inference_mode():
            right = [(model(one).argmax(1) == labels).float() for one, labels in validation]
        record.add(model, float(torch.cat(right).mean()), speed)
        scheduler.step(epoch + 1)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
