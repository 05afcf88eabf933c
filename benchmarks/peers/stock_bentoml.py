"""A BentoML 1.4 service as its documentation's first pages leave it: torch, and no settings.

What who follows them gets today: one process, torch's own threads, torchvision's preprocessing.

https://docs.bentoml.com/en/latest/build-with-bentoml/iotypes.html
"""

import json
import os
from pathlib import Path
from typing import Any

import bentoml
import torch
import torchvision
from PIL.Image import Image
from torchvision import transforms


@bentoml.service
class Stock:
    """Says which label a picture shows."""

    def __init__(self) -> None:
        folder = Path(os.environ["PEER_MODEL"])
        packed = json.loads((folder / "model.json").read_text())
        self.labels: list[str] = packed["labels"]
        self.to_input = transforms.Compose(
            [
                transforms.Resize(packed["preprocessing"]["resize"]),
                transforms.CenterCrop(packed["preprocessing"]["crop"]),
                transforms.ToTensor(),
                transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
            ]
        )
        network = torchvision.models.get_model(packed["arch"], num_classes=len(self.labels))
        network.load_state_dict(torch.load(folder / "weights.pt", weights_only=True))
        self.network: torch.nn.Module = network.eval()

    @bentoml.api
    @torch.inference_mode()
    def predict(self, image: Image, /) -> dict[str, Any]:
        """Classify one picture."""
        logits = self.network(self.to_input(image.convert("RGB"))[None])[0]
        named = dict(zip(self.labels, torch.softmax(logits, 0).tolist(), strict=True))
        label = max(named, key=named.__getitem__)
        return {"label": label, "probability": named[label], "probabilities": named}
