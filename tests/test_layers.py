"""What an import loads and changes; who may import whom is held by import-linter."""

import subprocess
import sys

from tests.conftest import REPOSITORY

IMPORT_ALL = """
import importlib, pkgutil, sys
import antbee

def import_all(package, *left_out):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if not module.name.startswith(left_out):
            importlib.import_module(module.name)
"""


def test_files_are_classified_without_a_server() -> None:
    """`predict` and `batch` load no torch, no Ray and no BentoML before its store is asked."""
    loaded = _loaded_by("import antbee.predict, antbee.batch.run")

    others = {"torch", "ray", "bentoml", "starlette", "antbee.serving", "antbee.training"}
    assert loaded & others == set()


def test_serving_needs_no_torch() -> None:
    """All of serving together loads no torch, no training and no packing."""
    loaded = _loaded_by(f"{IMPORT_ALL}\nimport antbee.serving\nimport_all(antbee.serving)")

    assert "antbee.serving.app" in loaded
    assert loaded & {"torch", "torchvision", "onnx", "antbee.training", "antbee.packing"} == set()


def test_training_needs_no_server_and_no_charts() -> None:
    """train.py loads no BentoML and no ONNX Runtime; matplotlib waits until charts are drawn."""
    loaded = _loaded_by(
        f"{IMPORT_ALL}\nimport train, antbee.training, antbee.pictures, antbee.training.report\n"
        "import_all(antbee.training, 'antbee.training.report')\nimport_all(antbee.pictures)"
    )

    assert "antbee.training.run" in loaded
    assert loaded & {"bentoml", "onnxruntime", "antbee.serving", "antbee.packing"} == set()
    assert "matplotlib" not in loaded


def test_importing_changes_nothing_outside_the_module() -> None:
    """No module of ours sets a variable, a filter of warnings, Pillow's limit or a logger's level.

    The second import counts, because other libraries do such things at their first.
    """
    script = f"""{IMPORT_ALL}
import logging, os, signal, warnings
from PIL import Image

environment, filters = dict(os.environ), list(warnings.filters)
import_all(antbee)
for name in [name for name in sys.modules if name.partition(".")[0] == "antbee"]:
    del sys.modules[name]

# As if nothing had been imported yet.
os.environ.clear()
os.environ.update(environment)
warnings.filters[:] = filters
Image.MAX_IMAGE_PIXELS = 12345
loggers = [one for one in logging.root.manager.loggerDict.values() if hasattr(one, "setLevel")]
for logger in loggers:
    logger.setLevel(logging.NOTSET)
hooks = sys.excepthook, sys.unraisablehook, *map(signal.getsignal, signal.valid_signals())

import antbee
import_all(antbee)
assert dict(os.environ) == environment
assert list(warnings.filters) == filters
assert Image.MAX_IMAGE_PIXELS == 12345
changed = [logger.name for logger in loggers if logger.level != logging.NOTSET]
assert changed == [], changed
assert hooks == (sys.excepthook, sys.unraisablehook, *map(signal.getsignal, signal.valid_signals()))
"""

    assert "antbee.packing.quantize" in _loaded_by(script)


def _loaded_by(script: str) -> set[str]:
    run = subprocess.run(
        [sys.executable, "-c", f"import sys\n{script}\nprint(*sys.modules, sep='\\n')"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return set(run.stdout.split())
