"""The service as an ASGI application, for servers other than `bentoml serve`.

gunicorn -k asgi "antbee.serving.asgi:app('ant_bee_classifier:latest')"
"""

import bentoml
from starlette.types import ASGIApp


def app(bento: str = ".") -> ASGIApp:
    """Load a bento by its tag, or the service in a folder."""
    asgi: ASGIApp = bentoml.load(bento).to_asgi()  # type: ignore[union-attr]  # no legacy service
    return asgi
