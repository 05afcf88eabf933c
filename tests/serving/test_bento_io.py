"""The service in this process, as a unit test or another service has it."""

import atexit
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import bentoml
import pytest
from bentoml._internal.configuration.containers import BentoMLContainer
from bentoml._internal.models import ModelStore
from opentelemetry.util.http import parse_excluded_urls

from antbee.artifact import PackedModel
from antbee.errors import SettingsError
from antbee.machine import METRICS_FOLDER
from antbee.predictor import load_ahead
from antbee.serving import classifier as module
from antbee.serving import process
from antbee.serving.app import api_routes
from antbee.serving.classifier import Classifier
from antbee.serving.observe import Metrics
from antbee.serving.settings import Settings

# BentoML's, as it is imported and as it makes a method's schema.
pytestmark = [
    pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince211"),
]


@pytest.fixture(scope="module")
def service(bentoml_home: Path) -> Iterator[ModuleType]:
    """Import `service.py` beside a store with a packed model."""
    with BentoMLContainer.model_store.patch(ModelStore(bentoml_home / "models")):
        import service  # noqa: PLC0415 - where its model is found

        yield service
        del sys.modules["service"]


@pytest.fixture
def picture(tmp_path: Path, jpeg: bytes) -> Path:
    """Write a picture's file."""
    path = tmp_path / "x.jpg"
    path.write_bytes(jpeg)
    return path


def test_unit_test_calls_the_service(
    service: ModuleType, packed: PackedModel, picture: Path
) -> None:
    """A test calls the service's methods with a path, and gets the dictionary that HTTP gives."""
    classifier = service.AntBeeClassifier()
    expected = Classifier(packed, "x:1", Settings(), Metrics()).predict(picture.read_bytes())
    answer = classifier.predict(image=picture)

    assert (answer["label"], answer["probability"]) == (expected.label, expected.probability)
    assert answer["probabilities"] == expected.probabilities
    assert answer["model"] == str(service.packed.tag)
    assert classifier.predict(picture) == answer
    many = classifier.predict_many([picture, Path(__file__)])["images"]
    assert (many[0], many[1]["error"]["code"]) == (answer, "unsupported_image")
    assert classifier.explain(image=picture).size == (320, 240)
    with pytest.raises(
        bentoml.exceptions.BentoMLException, match=r"^unsupported_image: "
    ) as caught:
        classifier.predict(image=Path(__file__))
    assert caught.value.error_code == 415


def test_instance_takes_what_its_server_has_begun_to_load(
    service: ModuleType, packed: PackedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The network is loaded once; without a server, as in a unit test, the instance does it."""
    monkeypatch.setattr(module, "load_predictor", lambda *_: pytest.fail("loaded again"))
    service.App.loading.append(load_ahead(packed, "onnx"))

    assert service.AntBeeClassifier().api.classifier.runtime == "onnx"
    assert not service.App.loading


def test_dependency_in_process(service: ModuleType, picture: Path) -> None:
    """A service that depends on the classifier calls it in the same process, too."""

    @bentoml.service
    class Desk:
        classifier = bentoml.depends(service.AntBeeClassifier)

        @bentoml.api
        def ask(self, image: Path) -> list[Any]:
            return [self.classifier.predict(image=image), self.classifier.predict(image)]

    named, placed = Desk().ask(picture)

    assert named == placed
    assert named["model"] == str(service.packed.tag)


def test_every_service_is_checked_before_the_workers_start(
    service: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What would end each worker ends their parent, whichever of our services is served."""
    monkeypatch.setattr(service.App, "made", [service.AntBeeClassifier])

    class Taken(service.AntBeeClassifier.inner):  # type: ignore[name-defined]
        @bentoml.api
        def model(self) -> str:
            return "mine"

    Taken.check()
    service.App("x", inner=Taken)
    with pytest.raises(SystemExit, match="1"):
        Taken.check()

    assert capsys.readouterr().err.startswith("error: model has the route /model")


def test_metrics_folder_goes_however_the_start_ends(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """BentoML makes the folder before the first check: whoever names it removes it."""
    registered: list[Any] = []
    monkeypatch.setattr(atexit, "register", lambda *given, **_: registered.append(given))
    with BentoMLContainer.prometheus_multiproc_dir.patch(str(tmp_path)):
        process.keep_metrics_apart()
        process.keep_metrics_apart()  # as a bento's service is imported again
        folder = BentoMLContainer.prometheus_multiproc_dir.get()
    with BentoMLContainer.prometheus_multiproc_dir.patch(f"/x/{METRICS_FOLDER}of-the-parent"):
        process.keep_metrics_apart()

    assert registered == [(shutil.rmtree, folder)]


def test_what_cannot_be_beside_our_routes_is_refused(
    service: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A route that is ours, a prefix, and a hook that we do not call are refused in words."""
    monkeypatch.setattr(service.App, "made", [])

    class Taken(service.AntBeeClassifier.inner):  # type: ignore[name-defined]
        @bentoml.api
        def model(self) -> str:
            return "mine"

    class Measured(service.AntBeeClassifier.inner):  # type: ignore[name-defined]
        def __metrics__(self, text: str) -> str:
            return text

    class Page(service.AntBeeClassifier.inner):  # type: ignore[name-defined]
        @bentoml.api(route="/docs")
        def handbook(self) -> str:
            return "mine"

    for made, reason in (
        (service.App("x", inner=Page), "handbook has the route /docs, antbee's own"),
        (service.App("x", inner=Taken), "model has the route /model, antbee's own"),
        (service.App("x", inner=Measured), "__metrics__ has no effect on antbee's /metrics"),
        (service.App("x", inner=Taken.__base__, path_prefix="/v2"), "path_prefix moves none"),
    ):
        with pytest.raises(SettingsError, match=reason):
            service.bento_io.routes(made)


def test_a_method_may_have_a_route_that_is_off(service: ModuleType) -> None:
    """Only where we take feedback ourselves is its address ours."""

    class Asks(service.AntBeeClassifier.inner):  # type: ignore[name-defined]
        @bentoml.api
        def feedback(self) -> str:
            return "mine"

    made = service.App("x", inner=Asks)

    service.bento_io.routes(made, api_routes(Settings()))
    with pytest.raises(SettingsError, match="feedback has the route /feedback, antbee's own"):
        service.bento_io.routes(made, api_routes(Settings(feedback=True)))


def test_probes_of_ones_own_are_bentomls(service: ModuleType) -> None:
    """A service that says itself whether it is alive is asked, and so are its dependencies."""

    class Dying(service.AntBeeClassifier.inner):  # type: ignore[name-defined]
        def __is_alive__(self) -> bool:
            return False

    class Depends(service.AntBeeClassifier.inner):  # type: ignore[name-defined]
        other = bentoml.depends(service.AntBeeClassifier)

    left = [{route.path for route in service.bento_io.routes(service.App("x", inner=inner))}
            for inner in (Dying, Depends, Dying.__base__)]  # fmt: skip

    assert left[2] - left[0] == {"/livez", "/healthz"}
    assert left[2] - left[1] == {"/readyz"}


def test_configuration_without_effect(
    service: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is set and does nothing for our routes is named; what works, or is default, is not."""
    config = tmp_path / "config.yaml"
    config.write_text(
        "services:\n"
        "  http: {port: 3001, cors: {access_control_max_age: 5}, response: {trace_id: true}}\n"
        "  traffic: {timeout: 5, max_concurrency: 2}\n"
        "  logging: {access: {skip_paths: [/a]}}\n"
        "  metrics: {namespace: mine}\n"
        "  workers: 7\n"
        "  tracing: {exporter_type: in_memory}\n"
    )
    service.AntBeeClassifier.inject_config()
    assert service.bento_io.without_effect("AntBeeClassifier", service.CONFIG) == []
    monkeypatch.setenv("BENTOML_CONFIG", str(config))
    service.AntBeeClassifier.inject_config()
    lines = service.bento_io.without_effect("AntBeeClassifier", service.CONFIG)
    monkeypatch.undo()
    service.AntBeeClassifier.inject_config()

    named = sorted(line.removeprefix("BentoML's ").partition(" ")[0] for line in lines)
    assert named == [
        "http.cors.access_control_max_age=5",
        "http.response.trace_id=True",
        "logging.access.skip_paths=['/a']",
        "metrics.namespace='mine'",
        "tracing.sample_rate",
        "traffic.max_concurrency=2",
        "traffic.timeout=5",
        "workers=7",
    ]


def test_traces_are_off_until_there_is_an_exporter(service: ModuleType) -> None:
    """OpenTelemetry's own variables are BentoML's configuration; without, nothing is exported."""
    name = "OTEL_EXPORTER_OTLP_ENDPOINT"
    protocol = "OTEL_EXPORTER_OTLP_PROTOCOL"
    usual, told = (
        service.bento_io.tracing_config(given) for given in ({}, {name: "http://x:4318"})
    )
    grpc = service.bento_io.tracing_config({name: "http://x:4317", protocol: "grpc"})

    excluded = parse_excluded_urls(usual["excluded_urls"])
    assert [excluded.url_disabled(f"http://x/{path}") for path in ("livez", "healthy")] == [1, 0]
    assert "exporter_type" not in usual
    assert (told["exporter_type"], told["sample_rate"]) == ("otlp", 1.0)
    assert (told["otlp"], grpc["otlp"]) == ({"protocol": "http"}, {"protocol": "grpc"})
    assert service.bento_io.tracer() is None
    assert Metrics().tracer is None
