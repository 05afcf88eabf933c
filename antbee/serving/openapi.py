"""The API's description, `/docs.json`: OpenAPI 3.0, every route, every error, and examples.

The examples are sent as they stand by whoever tries them, so each of them works.
"""

from collections.abc import Sequence
from typing import Any, Final

from antbee.errors import STATUS
from antbee.serving.settings import Settings

Json = dict[str, Any]

EXAMPLE: Final = (
    "iVBORw0KGgoAAAANSUhEUgAAABAAAAAQCAIAAACQkWg2AAAAGklEQVR42mN8tFyPgRTAxEAiGNUwqmHoaAAAchEB"
    "16zB4AYAAAAASUVORK5CYII="
)
"""A picture to try with: a yellow PNG of 16 by 16 pixels, in base64."""
_PICTURE_TYPES: Final = ("image/jpeg", "image/png", "image/webp", "image/gif", "image/bmp")
_PICTURE_STATUSES: Final = (400, 413, 415, 422, 429, 504)
_MANY_STATUSES: Final = (400, 413, 429, 504)
_SENDING: Final = (
    "However it is sent: raw bytes under any Content-Type, a multipart file in a field of any "
    "name, or JSON with the file in base64 or, where the server allows it, with its address."
)
_BINARY: Final = {"type": "string", "format": "binary"}
_SHARE: Final = {"type": "number", "minimum": 0, "maximum": 1}
_OPEN: Final[Json] = {"security": []}


def document(model: str, labels: Sequence[str], settings: Settings) -> Json:
    """Describe the API of a server.

    Args:
        model: what answers, `name:version`.
        labels: those that it knows.
        settings: whether clients need a key, how many pictures a request may have, and whether
            addresses are fetched.
    """
    described: Json = {
        "openapi": "3.0.3",
        "info": {
            "title": "antbee",
            "version": model,
            "description": f"Says which of these a picture shows: {', '.join(labels)}.",
        },
        "servers": [{"url": "/"}],
        "paths": _paths(labels, settings),
        "components": {"schemas": _schemas(model, labels, urls=settings.allow_urls)},
    }
    if settings.api_key is not None:
        described["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        described["security"] = [{"key": []}]
    return described


def _paths(labels: Sequence[str], settings: Settings) -> Json:
    locked: Json = {
        "/predict": {"post": _predict()},
        "/v1/predict": {"post": _predict_many(settings.max_images)},
        "/explain": {"post": _explain(labels)},
        "/model": {
            "get": _get("What answers: labels, metrics, calibration, runtime, gate, provenance")
        },
        "/docs.json": {"get": _get("This description")},
        "/metrics": {"get": _text("Prometheus metrics", "text/plain")},
    }
    free: Json = {
        "/ping": {"get": _get("Answers pong")},
        "/livez": {"get": _get("Whether the process lives")},
        "/healthz": {"get": _get("Whether the process lives, by its other name")},
        "/readyz": {"get": _get("Whether the model has answered once", 503)},
        "/health": {"get": _get("Whether pictures can be classified", 503)},
        "/": {"get": _text("A page to classify pictures on", "text/html")},
        "/docs": {"get": _text("A page to read this description and to try it", "text/html")},
    }
    if settings.api_key is not None:
        for methods in locked.values():
            for operation in methods.values():
                operation["responses"]["401"] = _failure(401)
        for methods in free.values():
            methods["get"] |= _OPEN
    return locked | free


def _predict() -> Json:
    return {
        "summary": "Classify one picture",
        "description": _SENDING,
        "operationId": "predict",
        "requestBody": {"required": True, "content": _bodies()},
        "responses": {
            "200": _answer("The prediction", "Prediction"),
            **{str(status): _failure(status) for status in _PICTURE_STATUSES},
        },
    }


def _predict_many(most: int) -> Json:
    some: Json = {"type": "array", "minItems": 1, "maxItems": most}
    pictures = some | {"items": {"$ref": "#/components/schemas/Picture"}}
    files = some | {"items": _BINARY}
    return {
        "summary": "Classify several pictures",
        "description": "Answers in the order in which they were sent. One that cannot be answered "
        "has an error in its place, with the code that it would have had alone. The body's limit "
        "is for all of them together.",
        "operationId": "predict_many",
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": _closed({"images": pictures}),
                    "example": {"images": [{"data": EXAMPLE}, {"data": EXAMPLE}]},
                },
                "multipart/form-data": {"schema": _object({"images": files})},
            },
        },
        "responses": {
            "200": _answer("Predictions and errors", "Predictions"),
            **{str(status): _failure(status) for status in _MANY_STATUSES},
        },
    }


def _explain(labels: Sequence[str]) -> Json:
    label = {
        "name": "label",
        "in": "query",
        "description": f"What to ask about: {', '.join(labels)}; by default the most probable",
        "schema": {"type": "string", "enum": list(labels)},
    }
    header = {"description": "The label, percent-encoded", "schema": {"type": "string"}}
    share = {"description": "Its probability", "schema": _SHARE}
    return {
        "summary": "Show which parts of a picture speak for a label",
        "description": f"{_SENDING} The answer is the picture with the label's class activation "
        "map over it. Colours are as strong as what speaks for the label, beside the strongest "
        "that speaks for any; what the network did not see is dimmed.",
        "operationId": "explain",
        "parameters": [label],
        "requestBody": {"required": True, "content": _bodies()},
        "responses": {
            "200": {
                "description": "The picture, its longer side at most 1024 pixels",
                "headers": {"X-Label": header, "X-Probability": share},
                "content": {"image/png": {"schema": _BINARY}},
            },
            "404": _answer("not_explainable: the model was packed without what it takes", "Error"),
            **{str(status): _failure(status) for status in _PICTURE_STATUSES},
        },
    }


def _bodies() -> Json:
    example = {"data": EXAMPLE}
    picture = {"$ref": "#/components/schemas/Picture"}
    return {
        **{name: {"schema": _BINARY} for name in (*_PICTURE_TYPES, "application/octet-stream")},
        "multipart/form-data": {"schema": _object({"image": _BINARY})},
        "application/json": {"schema": picture, "example": example},
    }


def _get(summary: str, *statuses: int) -> Json:
    ok = {"description": "OK", "content": {"application/json": {"schema": {"type": "object"}}}}
    failures = {str(status): ok | {"description": "Not yet"} for status in statuses}
    return {"summary": summary, "responses": {"200": ok, **failures}}


def _text(summary: str, media_type: str) -> Json:
    text = {media_type: {"schema": {"type": "string"}}}
    return {"summary": summary, "responses": {"200": {"description": "OK", "content": text}}}


def _answer(description: str, schema: str) -> Json:
    reference = {"$ref": f"#/components/schemas/{schema}"}
    return {
        "description": description,
        "content": {"application/json": {"schema": reference}},
    }


def _failure(status: int) -> Json:
    codes = ", ".join(code for code, its_status in STATUS.items() if its_status == status)
    return _answer(codes, "Error")


def _schemas(model: str, labels: Sequence[str], *, urls: bool) -> Json:
    one_of = [{"$ref": f"#/components/schemas/{name}"} for name in ("Prediction", "Error")]
    return {
        "Picture": _picture(urls=urls),
        "Prediction": _prediction(model, labels),
        "Predictions": _object({"images": {"type": "array", "items": {"oneOf": one_of}}}),
        "Error": _error(),
    }


def _picture(*, urls: bool) -> Json:
    data = {
        "type": "string",
        "format": "byte",
        "minLength": 1,
        "description": "The picture's file in base64; a data URL is accepted too",
        "example": EXAMPLE,
    }
    if not urls:
        return _closed({"data": data})
    url = {
        "type": "string",
        "format": "uri",
        "description": "Where the picture lies, at https://, on a public host",
    }
    return {"oneOf": [_closed({"data": data}), _closed({"url": url})]}


def _prediction(model: str, labels: Sequence[str]) -> Json:
    return _object(
        {
            "label": {"type": "string", "enum": list(labels)},
            "probability": _SHARE,
            "probabilities": _object(dict.fromkeys(labels, _SHARE)),
            "model": {"type": "string", "example": model},
        }
    )


def _error() -> Json:
    code = {"type": "string", "enum": list(STATUS)}
    return _object({"error": _object({"code": code, "message": {"type": "string"}})})


def _object(properties: Json) -> Json:
    return {"type": "object", "required": list(properties), "properties": properties}


def _closed(properties: Json) -> Json:
    return {**_object(properties), "additionalProperties": False}
