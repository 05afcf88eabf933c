"""Flask, with the picture as the whole body, for gunicorn's threads to run.

https://flask.palletsprojects.com/en/stable/deploying/gunicorn/
"""

from typing import Any

from flask import Flask, request

from packed import load

app = Flask(__name__)
packed = load()


@app.post("/predict")
def predict() -> dict[str, Any]:
    """Classify the picture that the body is."""
    return packed.classify(request.get_data(cache=False))
