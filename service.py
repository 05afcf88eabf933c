"""The BentoML service: what BentoML runs, and how; the addresses are in `antbee.serving.app`.

`bentoml serve` serves the newest packed model, a bento the one that it was built with. The
model's name is BentoML's argument `model`: `bentoml serve --arg model=my_flowers:latest`.
"""

import logging
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import bentoml
from bentoml.models import BentoModel
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from uvicorn.protocols.http import auto

from antbee.command import ended_by_signals, exit_on_error

with ended_by_signals():
    from antbee.artifact import read_model
    from antbee.errors import ModelError
    from antbee.explain import load_head
    from antbee.images import configure_pillow
    from antbee.machine import give_back_large_memory
    from antbee.predictor import check_runtime
    from antbee.serving import assets
    from antbee.serving.api import Api
    from antbee.serving.app import create_app
    from antbee.serving.bento_io import Answer, Picture
    from antbee.serving.observe import Metrics, log_to_stderr
    from antbee.serving.process import end_with_parent, keep_metrics_apart, prepare_parent
    from antbee.serving.settings import read_settings

if TYPE_CHECKING:
    from antbee.serving.fetch import Downloader

packed = BentoModel(getattr(bentoml.use_arguments(), "model", "ant_bee_classifier:latest"))

NO_ACCESS_LOG: Final = {"access": {"enabled": False}}

with exit_on_error():
    settings = read_settings()
    metrics = Metrics()
    if packed.stored is None:
        raise ModelError(f"there is no packed model {packed.tag}: run save_to_bento.py first")
keep_metrics_apart()


def api() -> Api:
    """Return what answers in the running service."""
    return bentoml.get_current_service().api  # type: ignore[no-any-return]


class App(bentoml.Service[Any]):
    """A BentoML service whose routes are answered by us."""

    def to_asgi(self, is_main: bool = True) -> Starlette:
        """Make the ASGI application; every server asks for it once."""
        self.inner.check()
        end_with_parent()
        with suppress(ImportError):  # on Windows uvicorn has no httptools, and another protocol
            from antbee.serving.http1 import Connection  # noqa: PLC0415 - likewise

            auto.AutoHTTPProtocol = Connection  # the name by which uvicorn makes its connections
        log_to_stderr(settings.log)
        # A broken form is the client's mistake and is answered; it is no news for the log.
        logging.getLogger("python_multipart").setLevel(logging.ERROR)
        return create_app(super().to_asgi(is_main), api, assets.routes, metrics, settings)


@bentoml.service(
    service_class=App, workers=settings.workers, metrics={"enabled": False}, logging=NO_ACCESS_LOG
)
class AntBeeClassifier:
    """Says which of its labels a picture shows."""

    packed = packed

    def __init__(self) -> None:
        configure_pillow()
        give_back_large_memory()
        model = read_model(Path(self.packed.path))
        self.downloader: Downloader | None = None
        if settings.allow_urls:
            from antbee.serving import fetch  # noqa: PLC0415 - 0.16 s that few servers need

            limits = settings.download_threads, settings.download_timeout, settings.max_body
            self.downloader = fetch.Downloader(*limits)
        fetch_picture = self.downloader.fetch if self.downloader is not None else None
        self.api = Api(model, str(self.packed.tag), settings, metrics, fetch_picture)
        self.api.classifier.warm_up()

    @bentoml.api(input_spec=Picture, output_spec=Answer)
    async def predict(self, request: Request) -> Response:
        """Tell BentoML's clients what `/predict` takes and gives; our own route answers."""
        return await self.api.predict(request)

    @bentoml.on_deployment
    @staticmethod
    def check() -> None:
        """Refuse a model that cannot be served, before any worker starts and in each."""
        with exit_on_error():
            model = read_model(Path(packed.resolve().path))
            check_runtime(model, settings.runtime)
            load_head(model)

    @bentoml.on_deployment
    @staticmethod
    def prepare() -> None:
        """Do what the parent of the workers has to, which only `bentoml serve` has."""
        with exit_on_error():
            prepare_parent()

    @bentoml.on_shutdown
    def close(self) -> None:
        """Stop the threads."""
        self.api.close()
        if self.downloader is not None:
            self.downloader.close()
