"""The exceptions that a user's or a client's mistake raises, and what each becomes.

A command turns one into a line on stderr and exit code 1 (`antbee.command`); the server turns
one into `{"error": {"code", "message"}}` with the code's HTTP status (`antbee.serving`). Anything
that is not an `AntBeeError` is a bug of ours.
"""

from typing import Final

NO_REQUEST: Final = {
    "bad_request": 400,
    "uri_too_long": 414,
    "upgrade_required": 426,
    "headers_too_large": 431,
    "not_implemented": 501,
}
"""Codes of what is no request that could be answered: none of our routes ever gives one."""
STATUS: Final = {
    **NO_REQUEST,
    "empty_body": 400,
    "no_image": 400,
    "invalid_json": 400,
    "invalid_base64": 400,
    "too_many_images": 400,
    "unknown_label": 400,
    "url_not_allowed": 400,
    "download_failed": 400,
    "unauthorized": 401,
    "not_found": 404,
    "unknown_id": 404,
    "not_explainable": 404,
    "method_not_allowed": 405,
    "body_too_large": 413,
    "image_too_large": 413,
    "unsupported_encoding": 415,
    "unsupported_image": 415,
    "corrupt_image": 422,
    "overloaded": 429,
    "internal_error": 500,
    "not_ready": 503,
    "timeout": 504,
}
"""HTTP status of each error code. Other people's clients branch on these names."""


class AntBeeError(Exception):
    """Something a person can mend; the message says what is wrong and what to do about it."""


class DataError(AntBeeError):
    """The pictures' folder, archive or download is not what it should be."""


class CheckpointError(AntBeeError):
    """A checkpoint or a file of weights is missing, damaged or not ours."""


class OutputError(AntBeeError):
    """What a command was asked for cannot be handed over."""


class ModelError(AntBeeError):
    """A packed model is missing, damaged, or cannot be made or run here."""


class SettingsError(AntBeeError):
    """A setting has a value that it cannot have."""


class DistributedError(AntBeeError):
    """Processes that train together have lost one another."""


class RequestError(AntBeeError):
    """What a client sent cannot be answered.

    Args:
        code: a key of `STATUS`.
        message: what is wrong and what to do about it, for whoever sent the request.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.status = STATUS[code]


class ImageError(RequestError):
    """The bytes are not a picture that can be read: unsupported, corrupt or too large."""
