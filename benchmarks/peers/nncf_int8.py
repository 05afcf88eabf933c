"""Make int8 of a packed model's float32 network with NNCF, as OpenVINO's documentation does.

    python benchmarks/peers/nncf_int8.py FOLDER DATA

FOLDER holds `model.onnx`; `nncf.xml` is written beside it. Calibrated on the training pictures.

https://docs.openvino.ai/2025/openvino-workflow/model-optimization-guide/quantizing-models-post-training/basic-quantization-flow.html
"""

import sys
from pathlib import Path
from typing import Any

import nncf
import numpy as np
import openvino as ov
from numpy.typing import NDArray
from PIL import Image

from packed import MEAN, STD, Packed


def main(folder: Path, data: Path) -> None:
    """Quantize, and write."""
    packed = Packed(folder, "onnx")
    whole = ov.Core().read_model(folder / "model.onnx")
    network = ov.Model([whole.output("logits")], whole.get_parameters())

    def read(path: Path) -> NDArray[Any]:
        pixels = np.asarray(packed.square(Image.open(path)), np.float32)
        return ((pixels - MEAN) / STD).transpose(2, 0, 1)[None]

    pictures = sorted((data / "train").glob("*/[!.]*.jp*g"))
    ov.save_model(nncf.quantize(network, nncf.Dataset(pictures, read)), folder / "nncf.xml")
    print("{}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
