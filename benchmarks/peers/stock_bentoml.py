"""A BentoML 1.4 service as its documentation writes one: torch, and a picture as the whole body.

The picture as a form's field was tried too: no faster. Without settings it has one process; on two
cores it was fastest with one process a core and one torch thread each.

https://docs.bentoml.com/en/latest/build-with-bentoml/iotypes.html
"""

from typing import Any

import bentoml
from PIL.Image import Image

from network import WORKERS, classify, load_network


@bentoml.service(workers=WORKERS)
class Stock:
    """Says which label a picture shows."""

    def __init__(self) -> None:
        self.network = load_network()

    @bentoml.api
    def predict(self, image: Image, /) -> dict[str, Any]:
        """Classify one picture."""
        return classify(self.network, image)
