"""The files that other tools read."""

import json
from pathlib import Path

import yaml

from tests.conftest import REPOSITORY


def test_bento_holds_what_its_image_needs() -> None:
    """What Dockerfile, compose.yaml and Procfile name in the bento is packed into it."""
    included = yaml.safe_load((REPOSITORY / "bentofile.yaml").read_text())["include"]
    texts = [(REPOSITORY / name).read_text() for name in ("heroku/Dockerfile", "compose.yaml")]
    ours = [path.name for path in (REPOSITORY / "heroku").iterdir() if path.is_file()]
    named = {name for name in ours for text in texts if f"heroku/{name}" in text}

    named |= {Path((REPOSITORY / "heroku/Procfile").read_text().split()[2]).name}

    assert named - {"Dockerfile", "build.sh", "export.sh"} <= {
        path.removeprefix("heroku/") for path in included
    }
    needed = {"heroku/serve-gunicorn", "heroku/gunicorn.conf.py", "heroku/worker.py"}
    needed |= {f"aws/{name}" for name in ("serve-lambda", "function.py", "requirements.txt")}
    assert needed <= set(included)


def test_compose_runs_it_as_a_dyno() -> None:
    """compose.yaml gives the container a dyno's memory and no writable disk."""
    services = yaml.safe_load((REPOSITORY / "compose.yaml").read_text())["services"]

    assert (services["web"]["mem_limit"], services["web"]["memswap_limit"]) == ("512m", "512m")
    assert services["web"]["read_only"] is True
    assert services["smoke"]["profiles"] == ["test"]
    assert {"web", "test"} <= set(services["web"]["profiles"])
    assert "COMPOSE_PROFILES=web\n" in (REPOSITORY / ".env").read_text()


def test_compose_serves_the_source() -> None:
    """The profile dev mounts this folder and the packed models, and restarts on a change."""
    dev = yaml.safe_load((REPOSITORY / "compose.yaml").read_text())["services"]["dev"]

    assert dev["profiles"] == ["dev"]
    assert dev["volumes"][0] == f".:{dev['working_dir']}:ro"
    assert "bentoml serve --reload" in dev["command"][-1]


def test_heroku_builds_from_the_root() -> None:
    """heroku.yml names a Dockerfile beside it: both are for the root of what Heroku builds."""
    manifest = yaml.safe_load((REPOSITORY / "heroku/heroku.yml").read_text())

    assert manifest == {"build": {"docker": {"web": "Dockerfile"}}}


def test_app_is_on_the_container_stack() -> None:
    """app.json makes an app that takes images."""
    app = json.loads((REPOSITORY / "heroku/app.json").read_text())

    assert app["stack"] == "container"
