"""Ask a running server about every validation picture, and compare with PyTorch.

    python benchmarks/agreement.py saved_models/<run>/best.pt --data data --url http://127.0.0.1:3000

PyTorch runs the checkpoint itself, on the pictures as torchvision's network takes them, and its
logits are divided by the temperature that the server names; the server gets the files as a client
sends them. Prints the largest difference in any probability and the
accuracy of both, then one JSON line.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import httpx
import torch

from antbee.images import read_array
from antbee.training.checkpoint import Checkpoint, load_checkpoint
from antbee.training.data import find_pictures
from antbee.training.network import restore_model


def main(argv: Sequence[str] | None = None) -> int:
    """Ask, compare, print, and return the exit code."""
    options = parse(argv)
    checkpoint = load_checkpoint(options.checkpoint)
    pictures = find_pictures(options.data / "val").pictures
    paths = [picture.path for picture in pictures]
    reference = predict(checkpoint, paths, temperature(options.url))
    served = [ask(options.url, path, checkpoint.labels) for path in paths]
    truth = torch.tensor([picture.label for picture in pictures])
    result = summarise(reference, torch.tensor(served, dtype=torch.float64), truth)
    for name, value in result.items():
        print(f"{name:20} {value}")
    print("\n" + json.dumps(result))
    return 0


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="A server's answers beside PyTorch's.")
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--url", default="http://127.0.0.1:3000")
    return parser.parse_args(argv)


@torch.inference_mode()
def predict(checkpoint: Checkpoint, paths: list[Path], temperature: float) -> torch.Tensor:
    """Run the checkpoint's network: float64 probabilities [pictures, labels]."""
    network = restore_model(checkpoint).eval()
    arrays = (read_array(path.read_bytes()) for path in paths)
    logits = [network(torch.from_numpy(array)[None]) for array in arrays]
    return (torch.cat(logits).double() / temperature).softmax(1)


def temperature(url: str) -> float:
    """Ask the server what its model's logits are divided by."""
    answer = httpx.get(f"{url}/model", timeout=30).raise_for_status().json()
    return float(answer["calibration"]["temperature"])


def ask(url: str, path: Path, labels: list[str]) -> list[float]:
    """Post a file; return its probabilities in the order of `labels`."""
    headers = {"Content-Type": "image/*"}
    answer = httpx.post(f"{url}/predict", content=path.read_bytes(), headers=headers, timeout=30)
    probabilities = answer.raise_for_status().json()["probabilities"]
    return [probabilities[label] for label in labels]


def summarise(
    reference: torch.Tensor, served: torch.Tensor, truth: torch.Tensor
) -> dict[str, float]:
    """Compare two tables of probabilities with each other and with the truth."""
    return {
        "pictures": len(truth),
        "largest_difference": float((reference - served).abs().max()),
        "labels_changed": int((reference.argmax(1) != served.argmax(1)).sum()),
        "right_pytorch": int((reference.argmax(1) == truth).sum()),
        "right_served": int((served.argmax(1) == truth).sum()),
    }


if __name__ == "__main__":
    raise SystemExit(main())
