"""The manifests before other people's judges."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.conftest import tool
from tests.kubernetes.conftest import IMAGE, MANIFESTS, OVERLAYS

RELEASES = ("1.30", "1.35", "1.37")
"""The oldest that has all that is used here, and two that are maintained."""


def judged(name: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a tool."""
    return subprocess.run([tool(name), *arguments], capture_output=True, text=True, check=False)


@pytest.fixture
def manifests(built: Callable[[str], Path], tmp_path: Path) -> list[Path]:
    """Return every overlay, built, every job, and the pods that KubeRay will make."""
    files = list(map(built, OVERLAYS))
    for name in ("batch-job", "train-job", "raycluster"):
        text = (MANIFESTS / f"{name}.yaml").read_text()
        objects = list(yaml.safe_load_all(re.sub("image: .*", f"image: {IMAGE}", text)))
        if name == "raycluster":
            spec = objects.pop(0)["spec"]
            for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
                pod = {"apiVersion": "v1", "kind": "Pod", **group["template"]}
                pod["metadata"]["name"] = group.get("groupName", "head")
                objects.append(pod)
        files.append(tmp_path / f"{name}.yaml")
        files[-1].write_text(yaml.safe_dump_all(objects))
    return files


@pytest.mark.slow
@pytest.mark.parametrize("release", RELEASES)
def test_kubernetes_takes_them(release: str, manifests: list[Path]) -> None:
    """Every field is one that this release knows, and every value of its kind."""
    run = judged("kubernetes-validate", "--strict", "-k", release, *manifests)
    unknown = set(re.findall(r"find schema for kind (\w+)", run.stdout))

    assert run.returncode == 0, run.stdout
    assert unknown <= {"ScaledObject"}  # KEDA's own


@pytest.mark.slow
def test_a_field_that_is_none_is_refused(manifests: list[Path], tmp_path: Path) -> None:
    """The judge above can say no."""
    (wrong := tmp_path / "wrong.yaml").write_text(
        manifests[0].read_text().replace("enableServiceLinks:", "enableServiceLink:")
    )

    assert judged("kubernetes-validate", "--strict", wrong).returncode != 0


@pytest.mark.slow
def test_checkov_passes_them(manifests: list[Path]) -> None:
    """No rule is broken but those that `checkov.yaml` passes over and gives a reason for."""
    files = [argument for path in manifests for argument in ("--file", path)]
    run = judged("checkov", "--config-file", MANIFESTS / "checkov.yaml", *files)

    assert "Failed checks: 0" in run.stdout, run.stdout
    assert run.returncode == 0
