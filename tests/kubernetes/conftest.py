"""What kustomize makes of `kubernetes/`."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.conftest import REPOSITORY

MANIFESTS: Final = REPOSITORY / "kubernetes"
OVERLAYS: Final = sorted(path.name for path in MANIFESTS.glob("overlays/*"))
IMAGE: Final = f"registry.example.com/antbee@sha256:{'0123456789abcdef' * 4}"

Objects = list[dict[str, Any]]
Build = Callable[[str], Objects]


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return what builds an overlay, its image set as its first lines say, into a file."""
    path = f"{REPOSITORY / '.venv-tools/bin'}{os.pathsep}{os.environ['PATH']}"
    if (kubectl := shutil.which("kubectl", path=path)) is None:
        pytest.skip("there is no kubectl here: make tools")
    folder = tmp_path_factory.mktemp("kubernetes")
    shutil.copytree(MANIFESTS, folder, dirs_exist_ok=True)

    def build(overlay: str) -> Path:
        path = folder / f"{overlay}.yaml"
        if not path.exists():
            name, digest = IMAGE.split("@")
            with (folder / "overlays" / overlay / "kustomization.yaml").open("a") as file:
                image = {"name": "antbee", "newName": name, "digest": digest}
                yaml.safe_dump({"images": [image]}, file)
            run = subprocess.run(
                [kubectl, "kustomize", folder / "overlays" / overlay],
                capture_output=True,
                text=True,
                check=False,
            )
            assert run.returncode == 0, run.stderr
            path.write_text(run.stdout)
        return path

    return build


@pytest.fixture(scope="session")
def overlay(built: Callable[[str], Path]) -> Build:
    """Return what reads the objects of an overlay."""
    return lambda name: list(yaml.safe_load_all(built(name).read_text()))
