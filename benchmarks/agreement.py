"""Ask a running server about every validation picture, and compare with PyTorch.

    python benchmarks/agreement.py saved_models/<run>/best.pt --data data --url http://127.0.0.1:3000

PyTorch runs the checkpoint itself, on the pictures as torchvision's network takes them, and its
logits are divided by the temperature that the server names; the server gets the files as a client
sends them. Prints the largest difference in any probability and how many pictures both get right,
then one JSON line.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import httpx
import torch

from antbee.images import read_array
from antbee.training.checkpoint import load_checkpoint
from antbee.training.data import find_pictures
from antbee.training.network import restore_model


def main(argv: Sequence[str] | None = None) -> int:
    """Ask, compare, print, and return the exit code."""
    parser = argparse.ArgumentParser(description="A server's answers beside PyTorch's.")
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--url", default="http://127.0.0.1:3000")
    options = parser.parse_args(argv)
    checkpoint = load_checkpoint(options.checkpoint)
    network = restore_model(checkpoint).eval()
    pictures = find_pictures(options.data / "val").pictures
    logits, answers = [], []
    with httpx.Client(base_url=options.url, timeout=30) as client, torch.inference_mode():
        model = client.get("/model").raise_for_status().json()
        for picture in pictures:
            data = picture.path.read_bytes()
            logits.append(network(torch.from_numpy(read_array(data))[None]))
            answer = client.post("/predict", content=data).raise_for_status().json()
            answers.append([answer["probabilities"][label] for label in checkpoint.labels])
    # Both are probabilities in float64: [pictures, labels].
    reference = (torch.cat(logits).double() / model["calibration"]["temperature"]).softmax(1)
    served = torch.tensor(answers, dtype=torch.float64)
    truth = torch.tensor([picture.label for picture in pictures])
    result = {
        "pictures": len(truth),
        "largest_difference": float((reference - served).abs().max()),
        "labels_changed": int((reference.argmax(1) != served.argmax(1)).sum()),
        "right_pytorch": int((reference.argmax(1) == truth).sum()),
        "right_served": int((served.argmax(1) == truth).sum()),
    }
    for name, value in result.items():
        print(f"{name:20} {value}")
    print("\n" + json.dumps(result))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
