"""FastAPI with ONNX Runtime in float32, as both documentations write it.

https://fastapi.tiangolo.com/tutorial/request-files/
"""

import io
import json
import os
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import onnxruntime
from fastapi import FastAPI, File
from numpy.typing import NDArray
from PIL import Image

MODEL: Final = Path(os.environ["PEER_MODEL"])
PACKED: Final = json.loads((MODEL / "model.json").read_text())
LABELS: Final[list[str]] = PACKED["labels"]
RESIZE, CROP = (int(PACKED["preprocessing"][name]) for name in ("resize", "crop"))
MEAN: Final = np.array([0.485, 0.456, 0.406], np.float32)
STD: Final = np.array([0.229, 0.224, 0.225], np.float32)

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = int(os.environ["PEER_THREADS"])
session = onnxruntime.InferenceSession(
    MODEL / "model.onnx", options, providers=["CPUExecutionProvider"]
)
app = FastAPI()


@app.post("/predict")
def predict(file: Annotated[bytes, File()]) -> dict[str, Any]:
    """Classify the picture in the form's field `file`; FastAPI runs this in a thread."""
    (logits,) = session.run(["logits"], {"image": to_input(Image.open(io.BytesIO(file)))})
    exponentials = np.exp(logits[0] - logits[0].max())
    named = dict(zip(LABELS, (exponentials / exponentials.sum()).tolist(), strict=True))
    label = max(named, key=named.__getitem__)
    return {"label": label, "probability": named[label], "probabilities": named}


def to_input(image: Image.Image) -> NDArray[np.float32]:
    """Resize, crop and normalize as torchvision does, with Pillow and NumPy."""
    scale = RESIZE / min(image.size)
    size = (round(image.width * scale), round(image.height * scale))
    image = image.convert("RGB").resize(size, Image.Resampling.BILINEAR)
    left, top = (image.width - CROP) // 2, (image.height - CROP) // 2
    pixels = np.asarray(image.crop((left, top, left + CROP, top + CROP)), np.float32) / 255
    return np.asarray((pixels - MEAN) / STD, np.float32).transpose(2, 0, 1)[None]
