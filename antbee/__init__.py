"""Fine-tune a ResNet on a folder of pictures, pack it as a bento, serve it over HTTP."""

import os

# ONNX Runtime reports to its makers otherwise, and it reads this when it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
