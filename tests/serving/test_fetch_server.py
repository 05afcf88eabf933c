"""A picture at an address, all the way: a real server, a real look-up, a real site with TLS."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.serving.site import NAME

OWN_NETWORK = ["unshare", "--map-root-user", "--net", "--mount"]


def own_networks() -> bool:
    """Tell whether a process may have a network of its own here."""
    if shutil.which(OWN_NETWORK[0]) is None:
        return False
    return subprocess.run([*OWN_NETWORK, "true"], capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not own_networks(), reason="no process may have a network of its own here")
def test_a_server_fetches_from_a_public_address(bentoml_home: Path, tmp_path: Path) -> None:
    """A picture's address gets what the picture itself gets; what is not a public name, nothing."""
    script = [*OWN_NETWORK, sys.executable, "-m", "tests.serving.internet"]
    run = subprocess.run(
        [*script, str(bentoml_home), str(tmp_path / "hosts")],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout.splitlines()[-1])
    fetched, *refused = found["linked"]

    assert fetched == found["sent"]
    assert [one["error"]["code"] for one in refused] == ["url_not_allowed"] * 2
    assert found["many"] == {"images": found["linked"]}
    assert found["explained"] == fetched["label"]
    assert [head.split("\r\n")[:2] for head in found["heads"]] == [
        ["GET /ant.jpg HTTP/1.1", f"Host: {NAME}"]
    ] * 3
