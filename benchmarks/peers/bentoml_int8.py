"""A BentoML 1.4 service as its documentation tunes one, with our int8 network.

Worker processes, threads in each, no access log.

https://docs.bentoml.com/en/latest/build-with-bentoml/parallelize-requests.html
https://docs.bentoml.com/en/latest/reference/bentoml/configurations.html
"""

from typing import Any

import bentoml
from PIL.Image import Image

from packed import THREADS, WORKERS, load


@bentoml.service(
    workers=WORKERS,
    threads=THREADS,
    logging={"access": {"enabled": False}},
    metrics={"enabled": False},
)
class Tuned:
    """Says which label a picture shows."""

    def __init__(self) -> None:
        self.packed = load()

    @bentoml.api
    def predict(self, image: Image, /) -> dict[str, Any]:
        """Classify one picture; it comes opened and not yet decoded."""
        return self.packed.classify_image(image)
