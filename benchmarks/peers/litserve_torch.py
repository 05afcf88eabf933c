"""LitServe with torch, as its documentation writes it: decode, predict, encode.

https://lightning.ai/docs/litserve/home/speed-up-serving-by-200x
"""

import sys
from typing import Any

import litserve
import torch
from fastapi import Request
from PIL import Image

from network import WORKERS, answer, load_network, to_input


class Api(litserve.LitAPI):  # type: ignore[misc]  # it ships no types
    """The steps of a request; each worker process runs them."""

    def setup(self, device: str) -> None:
        """Load the network."""
        self.network = load_network().to(device)

    def decode_request(self, request: Request) -> torch.Tensor:
        """Turn the picture in the form's field `file` into a batch of one."""
        batch: torch.Tensor = to_input(Image.open(request["file"].file).convert("RGB"))[None]
        return batch

    @torch.inference_mode()
    def predict(self, batch: torch.Tensor) -> torch.Tensor:
        """Run the network."""
        return torch.softmax(self.network(batch)[0], 0)

    def encode_response(self, probabilities: torch.Tensor) -> dict[str, Any]:
        """Say what every server of this benchmark says."""
        return answer(probabilities.tolist())


if __name__ == "__main__":
    api = Api(api_path="/predict")
    server = litserve.LitServer(api, accelerator="cpu", devices=1, workers_per_device=WORKERS)
    server.run("127.0.0.1", int(sys.argv[1]), generate_client_file=False, log_level="warning")
