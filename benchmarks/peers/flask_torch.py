"""Flask with torch, as PyTorch's and Flask's documentation write it, for gunicorn to run.

https://docs.pytorch.org/tutorials/intermediate/flask_rest_api_tutorial.html
"""

from typing import Any

from flask import Flask, request
from PIL import Image

from network import classify, load_network

app = Flask(__name__)
network = load_network()


@app.post("/predict")
def predict() -> dict[str, Any]:
    """Classify the picture in the form's field `file`."""
    return classify(network, Image.open(request.files["file"].stream))
