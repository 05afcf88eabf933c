"""The API's description, `/docs.json`: OpenAPI 3.0, every route, every error."""

from collections.abc import Sequence
from typing import Any, Final

from antbee.errors import STATUS

Json = dict[str, Any]

_PICTURE_TYPES: Final = ("image/jpeg", "image/png", "image/webp", "image/gif", "image/bmp")
_PREDICT_STATUSES: Final = (400, 413, 415, 422, 429, 504)


def document(model: str, labels: Sequence[str]) -> Json:
    """Describe the API of a server that answers with `model` (`name:version`) and `labels`."""
    return {
        "openapi": "3.0.3",
        "info": {
            "title": "antbee",
            "version": model,
            "description": f"Says which of these a picture shows: {', '.join(labels)}.",
        },
        "servers": [{"url": "/"}],
        "paths": _paths(),
        "components": {"schemas": {"Prediction": _prediction(model, labels), "Error": _error()}},
    }


def _paths() -> Json:
    return {
        "/predict": {"post": _predict()},
        "/model": {"get": _get("What answers: labels, metrics, runtime, gate, provenance")},
        "/ping": {"get": _get("Answers pong")},
        "/livez": {"get": _get("Whether the process lives")},
        "/readyz": {"get": _get("Whether the model has answered once", 503)},
        "/health": {"get": _get("Whether pictures can be classified", 503)},
        "/docs.json": {"get": _get("This description")},
        "/metrics": {"get": _metrics()},
    }


def _predict() -> Json:
    return {
        "summary": "Classify one picture",
        "description": "However it is sent: raw bytes under any Content-Type, a multipart file in "
        "a field of any name, or JSON with the file in base64.",
        "operationId": "predict",
        "requestBody": {"required": True, "content": _bodies()},
        "responses": {
            "200": _answer("The prediction", "Prediction"),
            **{str(status): _answer(_codes(status), "Error") for status in _PREDICT_STATUSES},
        },
    }


def _bodies() -> Json:
    binary = {"type": "string", "format": "binary"}
    data = {
        "type": "string",
        "format": "byte",
        "description": "The picture's file in base64; a data URL is accepted too",
    }
    return {
        **{name: {"schema": binary} for name in (*_PICTURE_TYPES, "application/octet-stream")},
        "multipart/form-data": {"schema": _object({"image": binary})},
        "application/json": {"schema": {**_object({"data": data}), "additionalProperties": False}},
    }


def _get(summary: str, *statuses: int) -> Json:
    ok = {"description": "OK", "content": {"application/json": {"schema": {"type": "object"}}}}
    failures = {str(status): _answer(_codes(status), "Error") for status in statuses}
    return {"summary": summary, "responses": {"200": ok, **failures}}


def _metrics() -> Json:
    text = {"text/plain": {"schema": {"type": "string"}}}
    return {
        "summary": "Prometheus metrics",
        "responses": {"200": {"description": "OK", "content": text}},
    }


def _answer(description: str, schema: str) -> Json:
    reference = {"$ref": f"#/components/schemas/{schema}"}
    return {
        "description": description,
        "content": {"application/json": {"schema": reference}},
    }


def _codes(status: int) -> str:
    return ", ".join(code for code, its_status in STATUS.items() if its_status == status)


def _prediction(model: str, labels: Sequence[str]) -> Json:
    share = {"type": "number", "minimum": 0, "maximum": 1}
    return _object(
        {
            "label": {"type": "string", "enum": list(labels)},
            "probability": share,
            "probabilities": _object(dict.fromkeys(labels, share)),
            "model": {"type": "string", "example": model},
        }
    )


def _error() -> Json:
    code = {"type": "string", "enum": list(STATUS)}
    return _object({"error": _object({"code": code, "message": {"type": "string"}})})


def _object(properties: Json) -> Json:
    return {"type": "object", "required": list(properties), "properties": properties}
