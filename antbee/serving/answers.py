"""What the server answers: a prediction or an error, each one JSON object."""

from typing import Any, Final

from starlette.responses import JSONResponse

from antbee.errors import RequestError
from antbee.predictor import Prediction

_HEADERS: Final = {
    "overloaded": {"Retry-After": "1"},
    "unauthorized": {"WWW-Authenticate": "Bearer"},
}


def prediction_answer(prediction: Prediction, model: str) -> JSONResponse:
    """Answer with a prediction, saying which model made it (`name:version`)."""
    return JSONResponse(prediction_body(prediction, model))


def prediction_body(prediction: Prediction, model: str) -> dict[str, Any]:
    """Shape a prediction as clients read it."""
    return {
        "label": prediction.label,
        "probability": prediction.probability,
        "probabilities": prediction.probabilities,
        "model": model,
    }


def error_answer(error: RequestError) -> JSONResponse:
    """Answer with an error's status, code and message."""
    headers = _HEADERS.get(error.code)
    return JSONResponse(error_body(error), error.status, headers)


def error_body(error: RequestError) -> dict[str, Any]:
    """Shape an error as clients read it."""
    return {"error": {"code": error.code, "message": str(error)}}
