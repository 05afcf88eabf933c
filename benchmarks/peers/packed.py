"""What the peers share: our packed model, read as a user would who wants to be as fast as we are.

They get our own int8 network, or float32 where int8 was refused, and with Pillow and NumPy do what
is known to be fast: JPEGs decoded at reduced scale, one resampling straight to the cropped square,
one thread a picture. They do less than our server: they turn no picture upright, have no limits,
and do not tell strangers.
"""

import io
import json
import os
import queue
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Run = Callable[[Image.Image], NDArray[np.float32]]
"""From the square to the logits, [1, classes]; from several threads at once."""
RUNTIME: Final = "PEER_RUNTIME"
THREADS: Final = int(os.environ.get("PEER_THREADS", "1"))
WORKERS: Final = int(os.environ.get("PEER_WORKERS", "1"))
MEAN: Final = 255 * np.array([0.485, 0.456, 0.406], np.float32)
STD: Final = 255 * np.array([0.229, 0.224, 0.225], np.float32)


class Packed:
    """A packed model, on the runtime that the environment names.

    Args:
        folder: of `model.json` and the networks.
        runtime: `onnx`, ONNX Runtime; `openvino`, OpenVINO with the same file; `nncf`, OpenVINO
            with the file that `nncf_int8.py` wrote.
    """

    def __init__(self, folder: Path, runtime: str) -> None:
        packed = json.loads((folder / "model.json").read_text())
        self.labels: list[str] = packed["labels"]
        self.resize, self.crop = (packed["preprocessing"][key] for key in ("resize", "crop"))
        int8 = folder / "model.int8.onnx"
        network = int8 if int8.exists() else folder / "model.onnx"
        if runtime == "onnx":
            self._run = onnx_runtime(network)
        else:
            self._run = openvino(folder / "nncf.xml" if runtime == "nncf" else network)

    def classify(self, data: bytes) -> dict[str, Any]:
        """Classify a picture's file."""
        return self.classify_image(Image.open(io.BytesIO(data)))

    def classify_image(self, image: Image.Image) -> dict[str, Any]:
        """Classify a picture that was opened, and not yet decoded."""
        logits = self._run(self.square(image))[0]
        exponentials = np.exp(logits - logits.max())
        named = dict(zip(self.labels, (exponentials / exponentials.sum()).tolist(), strict=True))
        label = max(named, key=named.__getitem__)
        return {"label": label, "probability": named[label], "probabilities": named}

    def square(self, image: Image.Image) -> Image.Image:
        """Decode as little as is needed, and resample the middle to the network's input."""
        image.draft("RGB", (self.resize, self.resize))
        if image.mode != "RGB":
            image = image.convert("RGB")
        side = min(image.size) * self.crop / self.resize
        left, top = (image.width - side) / 2, (image.height - side) / 2
        return image.resize(
            (self.crop, self.crop),
            Image.Resampling.BILINEAR,
            (left, top, left + side, top + side),
        )


def load() -> Packed:
    """Load the model that the environment names."""
    return Packed(Path(os.environ["PEER_MODEL"]), os.environ.get(RUNTIME, "onnx"))


def onnx_runtime(network: Path) -> Run:
    """Load the network on ONNX Runtime: a thread a request wastes least on few cores.

    https://onnxruntime.ai/docs/performance/tune-performance/threading.html
    """
    import onnxruntime  # noqa: PLC0415 - a peer loads one runtime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session: Any = onnxruntime.InferenceSession(
        network, options, providers=["CPUExecutionProvider"]
    )
    bytes_suffice = session.get_inputs()[0].type == "tensor(uint8)"
    scale, shift = (1 / STD)[:, None, None], (-MEAN / STD)[:, None, None]

    def run(square: Image.Image) -> NDArray[np.float32]:
        pixels = np.asarray(square).transpose(2, 0, 1)
        if bytes_suffice:
            array: NDArray[Any] = np.ascontiguousarray(pixels)
        else:
            array = pixels.astype(np.float32, order="C")
            array *= scale
            array += shift
        logits: NDArray[np.float32] = session.run(["logits"], {"image": array[None]})[0]
        return logits

    return run


def openvino(network: Path) -> Run:
    """Load the network on OpenVINO: for throughput, a request for each thread, bytes as input.

    https://docs.openvino.ai/2025/openvino-workflow/running-inference/optimize-inference.html
    """
    import openvino as ov  # noqa: PLC0415 - a peer loads one runtime

    core = ov.Core()
    whole = core.read_model(network)
    model = ov.Model([whole.output("logits")], whole.get_parameters())
    if model.input().get_element_type() == ov.Type.f32:
        steps = ov.preprocess.PrePostProcessor(model)
        steps.input().tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC"))
        steps.input().model().set_layout(ov.Layout("NCHW"))
        steps.input().preprocess().convert_element_type(ov.Type.f32)
        steps.input().preprocess().mean(MEAN.tolist()).scale(STD.tolist())
        model, channels = steps.build(), (0, 1, 2)
    else:
        channels = (2, 0, 1)
    compiled = core.compile_model(model, "CPU", {"PERFORMANCE_HINT": "THROUGHPUT"})
    idle: queue.SimpleQueue[Any] = queue.SimpleQueue()  # not one a thread: threads come and go
    for _ in range(THREADS):
        idle.put(compiled.create_infer_request())

    def run(square: Image.Image) -> NDArray[np.float32]:
        array = np.ascontiguousarray(np.asarray(square).transpose(channels))
        request = idle.get()
        try:
            logits: NDArray[np.float32] = request.infer({0: array[None]}, share_inputs=True)[0]
        finally:
            idle.put(request)
        return logits

    return run
