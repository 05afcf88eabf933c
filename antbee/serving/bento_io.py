"""Where the service meets BentoML: the shapes of a request and an answer, and ASGI.

Other servers than `bentoml serve` run the application that `app` loads:
gunicorn -k asgi "antbee.serving.bento_io:app('ant_bee_classifier:latest')"
"""

from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, cast

import bentoml
from bentoml.exceptions import BentoMLException
from bentoml.validators import ContentType
from pydantic import BaseModel
from starlette.requests import Request
from starlette.types import ASGIApp

from antbee.command import say

NO_APP: Final = 4
"""The exit code of a worker that tells gunicorn to stop; after most others it starts another."""


class Picture(bentoml.IODescriptor):
    """One picture: a BentoML client sends it as a multipart file named `image`.

    The server takes it in any form, so the request is handed over unread: BentoML would read a
    body without a limit, decode it as text, and answer a broken one with a 500.
    """

    # The service's method gets what `from_http_request` returns, whole.
    __root_input__: ClassVar[bool] = True

    image: Annotated[Path, ContentType("image/*")]

    @classmethod
    async def from_http_request(cls, request: Request, serde: Any) -> "Picture":  # noqa: ANN401, ARG003 - BentoML's signature
        """Return the request itself."""
        return cast("Picture", request)

    @classmethod
    def model_json_schema(cls, *args: Any, **kwargs: Any) -> dict[str, Any]:  # noqa: ANN401 - pydantic's signature
        """Describe `image` as a named field: clients may pass it by position or by name."""
        schema: dict[str, Any] = super().model_json_schema(*args, **kwargs)
        schema.pop("root_input", None)
        return schema


class Answer(BaseModel):
    """The prediction for one picture."""

    label: str
    probability: float
    probabilities: dict[str, float]
    model: str


def app(bento: str = ".") -> ASGIApp:
    """Load a bento by its tag, or the service in a folder.

    Raises:
        SystemExit: it cannot be served, and stderr says why.
    """
    try:
        asgi: ASGIApp = bentoml.load(bento).to_asgi()  # type: ignore[union-attr]  # no legacy service
    except SystemExit:  # said already
        raise SystemExit(NO_APP) from None
    except (BentoMLException, ImportError) as error:
        say(f"error: {error}")
        raise SystemExit(NO_APP) from error
    return asgi
