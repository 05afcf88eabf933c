"""What the server answers: a prediction or an error, each one JSON object."""

from starlette.responses import JSONResponse

from antbee.errors import RequestError
from antbee.predictor import Prediction


def prediction_answer(prediction: Prediction, model: str) -> JSONResponse:
    """Answer with a prediction, saying which model made it (`name:version`)."""
    content = {
        "label": prediction.label,
        "probability": prediction.probability,
        "probabilities": prediction.probabilities,
        "model": model,
    }
    return JSONResponse(content)


def error_answer(error: RequestError) -> JSONResponse:
    """Answer with an error's status, code and message."""
    headers = {"Retry-After": "1"} if error.code == "overloaded" else None
    return JSONResponse(error_body(error.code, str(error)), error.status, headers)


def error_body(code: str, message: str) -> dict[str, dict[str, str]]:
    """Shape an error as clients read it."""
    return {"error": {"code": code, "message": message}}
