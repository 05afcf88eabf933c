"""A bento of the shared packed model."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY, environment

BUILD = """
import bentoml, yaml
options = yaml.safe_load(open("bentofile.yaml"))
model = bentoml.models.get("ant_bee_classifier:latest")
bentoml.build(**options, name="ant_bee_classifier", args={"model": str(model.tag)}, build_ctx=".")
"""


@pytest.fixture(scope="session")
def bento_home(bentoml_home: Path) -> Path:
    """Build a bento in the BentoML home that has the packed model."""
    command = [sys.executable, "-c", BUILD]
    subprocess.run(
        command, cwd=REPOSITORY, env=environment(bentoml_home), check=True, capture_output=True
    )
    return bentoml_home
