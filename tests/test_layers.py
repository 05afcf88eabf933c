"""Who may import whom."""

import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY

SERVING = (
    "antbee.serving.address",
    "antbee.serving.answers",
    "antbee.serving.api",
    "antbee.serving.app",
    "antbee.serving.asgi",
    "antbee.serving.auth",
    "antbee.serving.classifier",
    "antbee.serving.download",
    "antbee.serving.drain",
    "antbee.serving.handler",
    "antbee.serving.metrics",
    "antbee.serving.openapi",
    "antbee.serving.page",
    "antbee.serving.pool",
    "antbee.serving.routes",
    "antbee.serving.schema",
    "antbee.serving.settings",
    "antbee.serving.telemetry",
    "antbee.serving.uploads",
    "antbee.serving.worker",
)
TRAINING = (
    "train",
    "antbee.training.run",
    "antbee.training.check",
    "antbee.training.report",
    "antbee.pictures.download",
    "antbee.pictures.sample",
)


@pytest.mark.parametrize("module", SERVING)
def test_serving_needs_no_torch(module: str) -> None:
    """Serving imports no torch, no training and no packing."""
    loaded = _loaded_by(module)

    assert _among(loaded, "torch", "torchvision", "onnx", "antbee.training", "antbee.packing") == []


@pytest.mark.parametrize("module", TRAINING)
def test_training_needs_no_bentoml(module: str) -> None:
    """Training imports no BentoML, no ONNX Runtime, no serving and no packing."""
    loaded = _loaded_by(module)

    assert _among(loaded, "bentoml", "onnxruntime", "antbee.serving", "antbee.packing") == []


def test_charts_are_not_loaded_before_they_are_drawn() -> None:
    """A run begins without matplotlib, which takes a second to load."""
    assert _among(_loaded_by("antbee.training.report"), "matplotlib") == []


@pytest.mark.parametrize("module", ["antbee.calibration", "antbee.heatmap"])
def test_what_training_and_serving_share_needs_neither(module: str) -> None:
    """Calibration and heat maps take NumPy and Pillow only."""
    heavy = ("torch", "onnxruntime", "bentoml", "starlette", "antbee.training", "antbee.serving")

    assert _among(_loaded_by(module), *heavy) == []


def test_every_serving_module_is_held_to_the_rule() -> None:
    """A new module of serving is added to the list above."""
    found = {path.stem for path in (REPOSITORY / "antbee/serving").glob("*.py")} - {"__init__"}

    assert {name.rpartition(".")[2] for name in SERVING} == found


def test_pictures_need_only_pillow_and_numpy() -> None:
    """The one way in can be used by anything."""
    loaded = _loaded_by("antbee.images")

    assert _among(loaded, "torch", "bentoml", "onnxruntime", "starlette") == []


def test_the_predict_command_needs_no_server() -> None:
    """Files are classified without BentoML, whose store is opened when asked for, and torch."""
    loaded = _loaded_by("antbee.predict")

    assert (
        _among(loaded, "torch", "bentoml", "starlette", "antbee.serving", "antbee.training") == []
    )


def _loaded_by(module: str) -> set[str]:
    script = f"import sys, {module}; print(*sys.modules, sep='\\n')"
    run = subprocess.run(
        [sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    return set(run.stdout.split())


def _among(loaded: set[str], *forbidden: str) -> list[str]:
    return sorted(name for name in loaded if name in forbidden)
