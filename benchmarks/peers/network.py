"""What the peers share: the packed weights as PyTorch's own documentation loads and feeds them."""

import json
import os
from pathlib import Path
from typing import Any, Final

import torch
import torchvision
from PIL import Image
from torchvision import transforms

MODEL: Final = Path(os.environ["PEER_MODEL"])
PACKED: Final = json.loads((MODEL / "model.json").read_text())
LABELS: Final[list[str]] = PACKED["labels"]
THREADS: Final = int(os.environ["PEER_THREADS"])
WORKERS: Final = int(os.environ["PEER_WORKERS"])

to_input = transforms.Compose(
    [
        transforms.Resize(PACKED["preprocessing"]["resize"]),
        transforms.CenterCrop(PACKED["preprocessing"]["crop"]),
        transforms.ToTensor(),
        transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    ]
)


def load_network() -> torch.nn.Module:
    """Load the packed network in float32."""
    torch.set_num_threads(THREADS)
    network: torch.nn.Module = torchvision.models.get_model(PACKED["arch"], num_classes=len(LABELS))
    network.load_state_dict(torch.load(MODEL / "weights.pt", weights_only=True))
    return network.eval()


@torch.inference_mode()
def classify(network: torch.nn.Module, image: Image.Image) -> dict[str, Any]:
    """Classify one picture."""
    logits = network(to_input(image.convert("RGB"))[None])[0]
    return answer(torch.softmax(logits, 0).tolist())


def answer(probabilities: list[float]) -> dict[str, Any]:
    """Say what every server of this benchmark says."""
    named = dict(zip(LABELS, probabilities, strict=True))
    label = max(named, key=named.__getitem__)
    return {"label": label, "probability": named[label], "probabilities": named}
