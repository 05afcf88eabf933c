"""The BentoML service: what BentoML runs, and how; the addresses are in `antbee.serving.app`.

`bentoml serve` serves the newest packed model, a bento the one that it was built with. The
model's name is BentoML's argument `model`: `bentoml serve --arg model=my_flowers:latest`.

What you add to the class or to the service works as BentoML's documentation says; docs/bentoml.md.
"""

import gc
import io
import logging
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

import bentoml
from bentoml.models import BentoModel
from PIL import Image
from starlette.applications import Starlette

from antbee.command import ended_by_signals, exit_on_error, say

with ended_by_signals():
    from antbee.artifact import CARD, read_model
    from antbee.errors import ModelError
    from antbee.explain import load_head
    from antbee.images import configure_pillow
    from antbee.machine import give_back_large_memory
    from antbee.predictor import Predictor, check_runtime, load_ahead
    from antbee.serving import assets, bento_io
    from antbee.serving.api import Answer, Api
    from antbee.serving.app import api_routes, create_app
    from antbee.serving.bento_io import Answers, Picture
    from antbee.serving.observe import Metrics, log_to_stderr
    from antbee.serving.openapi import describe
    from antbee.serving.process import end_with_parent, keep_metrics_apart, prepare_parent
    from antbee.serving.settings import read_settings
    from antbee.typicality import load_judge

if TYPE_CHECKING:
    from antbee.serving.fetch import Downloader

packed = BentoModel(getattr(bentoml.use_arguments(), "model", "ant_bee_classifier:latest"))

with exit_on_error():
    settings = read_settings()
    metrics = Metrics()
    if packed.stored is None:
        raise ModelError(f"there is no packed model {packed.tag}: run save_to_bento.py first")
    model = read_model(Path(packed.stored.path))
    card = model.folder / CARD
keep_metrics_apart()

CONFIG: Final[dict[str, Any]] = {
    "workers": settings.workers,
    "threads": settings.threads,  # for the methods that BentoML calls
    "metrics": {"enabled": False},
    "logging": {"access": {"enabled": False}},
    "tracing": bento_io.tracing_config(),
}


current_service = bentoml.get_current_service
"""What BentoML looks for anew, in all of its modules, each time that it is asked by name."""


def api() -> Api:
    """Return what answers in the running service."""
    return current_service().api  # type: ignore[no-any-return]


class App(bentoml.Service[Any]):
    """A BentoML service whose routes are answered by us.

    Attributes:
        made: every one that this process has; the one that is served is among them.
        loading: gives what a server has begun to load, to the instance that BentoML then makes.
    """

    made: ClassVar[list["App"]] = []
    loading: ClassVar[list[Callable[[], Predictor]]] = []

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self.made.append(self)

    def to_asgi(self, is_main: bool = True) -> Starlette:
        """Make the ASGI application; every server asks for it once.

        A service that is only depended on is BentoML's alone: the two talk its own protocol.
        """
        # What has been imported stays; each look through all of it takes 0.07 s of the start.
        gc.freeze()
        self.inject_config()
        self.inner.check()
        end_with_parent()
        routes = bento_io.routes(self, api_routes(settings))
        metrics.tracer = bento_io.tracer()
        self.loading[:] = [load_ahead(model, settings.runtime)]
        theirs: Starlette = super().to_asgi(is_main)
        if not is_main:
            return theirs
        with suppress(ImportError):  # on Windows uvicorn has no httptools, and another protocol
            from uvicorn.protocols.http import auto  # noqa: PLC0415 - only where it serves

            from antbee.serving.http1 import Connection  # noqa: PLC0415 - likewise

            auto.AutoHTTPProtocol = Connection  # the name by which uvicorn makes its connections
        log_to_stderr(settings.log)
        # A broken form is the client's mistake and is answered; it is no news for the log.
        logging.getLogger("python_multipart").setLevel(logging.ERROR)
        in_front = bento_io.take_middleware(self, theirs, traced=metrics.tracer is not None)
        return create_app(theirs, api, assets.routes, metrics, settings, routes, in_front)

    @classmethod
    def report(cls) -> None:
        """Say which part of BentoML's configuration has no effect."""
        lines = (line for one in cls.made for line in bento_io.without_effect(one.name, CONFIG))
        for line in dict.fromkeys(lines):
            say(line)

    @property
    def openapi_spec(self) -> dict[str, Any]:
        """The description that a bento carries."""
        return describe(str(packed.tag), model.labels, settings)


@bentoml.service(
    service_class=App,
    description=card.read_text("utf-8") if card.is_file() else None,
    **CONFIG,
)
class AntBeeClassifier:
    """Says which of its labels a picture shows."""

    packed = packed

    def __init__(self) -> None:
        configure_pillow()
        give_back_large_memory()
        self.downloader: Downloader | None = None
        if settings.allow_urls:
            from antbee.serving import fetch  # noqa: PLC0415 - 0.16 s that few servers need

            limits = settings.download_threads, settings.download_timeout, settings.max_body
            self.downloader = fetch.Downloader(*limits)
        fetch_picture = self.downloader.fetch if self.downloader is not None else None
        load = App.loading.pop() if App.loading else None
        self.api = Api(model, str(self.packed.tag), settings, metrics, fetch_picture, load)
        self.api.classifier.warm_up()

    # What BentoML calls, in a test and for services that depend on this one. Over HTTP, our own
    # routes answer at the same addresses, with limits.

    @bentoml.api
    def predict(self, image: Picture) -> Answer:
        """Classify a picture."""
        with bento_io.bentoml_errors():
            return self.api.classify(Path(image).read_bytes())

    @bentoml.api(route="/v1/predict")
    def predict_many(self, images: list[Picture]) -> Answers:
        """Classify several pictures; one that cannot be read fails alone."""
        return {
            "images": [{**self.api.classify_alone(Path(image).read_bytes())} for image in images]
        }

    @bentoml.api
    def explain(self, image: Picture) -> Image.Image:
        """Show which parts of a picture speak for its label."""
        with bento_io.bentoml_errors():
            return Image.open(io.BytesIO(self.api.classifier.explain(Path(image).read_bytes()).png))

    @bentoml.on_deployment
    @staticmethod
    def check() -> None:
        """Refuse a model that cannot be served, before any worker starts and in each."""
        with exit_on_error():
            load_judge(model, check_runtime(model, settings.runtime))
            load_head(model)
            for service in App.made:
                bento_io.routes(service, api_routes(settings))
            bento_io.tracer()

    @bentoml.on_deployment
    @staticmethod
    def prepare() -> None:
        """Do what the parent of the workers has to, which only `bentoml serve` has."""
        with exit_on_error():
            prepare_parent()
        App.report()

    @bentoml.on_shutdown
    def close(self) -> None:
        """Stop the threads."""
        self.api.close()
        if self.downloader is not None:
            self.downloader.close()
