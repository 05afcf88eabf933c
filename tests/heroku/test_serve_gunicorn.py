"""serve-gunicorn outside a container."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from tests.conftest import REPOSITORY, Server, environment, free_port, wait_until_ready

pytestmark = pytest.mark.xdist_group("heroku")
SCRIPT = str(REPOSITORY / "heroku/serve-gunicorn")


def variables(home: Path, **settings: str) -> dict[str, str]:
    """Return an environment in which this Python's gunicorn and bentoml are found first."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return environment(home, **{"PATH": path, **settings})


def ended(*command: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def served(bento_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Serve the bento from another folder than this repository."""
    folder = tmp_path_factory.mktemp("elsewhere")
    port, log = free_port(), folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [SCRIPT, "ant_bee_classifier:latest"],
            cwd=folder,
            env=variables(bento_home, PORT=str(port), WEB_CONCURRENCY="2"),
            stdout=output,
            stderr=subprocess.STDOUT,
            process_group=0,
        )
    server = Server(f"http://127.0.0.1:{port}", process, log)
    try:
        wait_until_ready(server)
        yield server
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


def test_serves_a_bento_by_its_tag(served: Server, jpeg: bytes) -> None:
    """The script serves a stored bento, with as many workers as `WEB_CONCURRENCY` says."""
    answer = served.predict(jpeg)

    assert answer.status_code == 200
    assert len(psutil.Process(served.process.pid).children()) == 2


def test_code_is_the_bentos(served: Server) -> None:
    """What runs is what was packed, not what lies where the script is."""
    (worker, _) = psutil.Process(served.process.pid).children()

    assert "bentos" in Path(worker.cwd()).parts


def test_metrics_are_of_all_workers(served: Server, jpeg: bytes) -> None:
    """Whichever worker is asked knows what all have answered."""
    for _ in range(10):
        served.predict(jpeg)
    texts = [httpx.get(f"{served.url}/metrics").text for _ in range(6)]
    counts = {
        line for text in texts for line in text.splitlines() if "antbee_predictions_total" in line
    }

    assert len([line for line in counts if not line.startswith("#")]) == 1


def test_nothing_unusual_is_logged(served: Server) -> None:
    """A start, a few requests: nothing that looks like a fault."""
    log = served.log.read_text()

    assert not any(word in log for word in ("Traceback", "WARNING", "ERROR", "Error"))


def test_client_behind_a_router_is_logged(served: Server, jpeg: bytes) -> None:
    """The log names the client that a router on a trusted address tells; IPv4 as what it is."""
    served.predict(jpeg, X_Request_ID="direct")
    served.predict(jpeg, X_Request_ID="routed", X_Forwarded_For="203.0.113.7")

    assert " 127.0.0.1 POST /predict" in served.logged("id=direct")
    assert " 203.0.113.7 POST /predict" in served.logged("id=routed")


def start_failing(bento: Path, **settings: str) -> None:
    """Start what cannot serve: each worker says why in a line, is tried once, and gunicorn ends."""
    home = bento.parents[2]
    settings = {"PORT": str(free_port()), "WEB_CONCURRENCY": "1", **settings}
    run = ended(SCRIPT, str(bento), environment=variables(home, **settings))
    lines = [line for line in run.stderr.splitlines() if " [INFO] " not in line]

    assert run.returncode == 1
    reasons = [line for line in lines if line.startswith("error: ")]
    assert 1 <= len(reasons) <= int(settings["WEB_CONCURRENCY"])
    assert len(set(reasons)) == 1
    assert run.stderr.count("Booting worker") <= int(settings["WEB_CONCURRENCY"])
    assert "Traceback" not in run.stderr


def test_bad_setting_stops_gunicorn(bento_home: Path) -> None:
    """A setting that cannot be ends gunicorn with 1, as it ends `bentoml serve`."""
    (bento,) = bento_home.glob("bentos/ant_bee_classifier/*/")
    start_failing(bento, ANTBEE_THREADS="x", WEB_CONCURRENCY="2")


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["damaged", "newer", "missing", "unreadable", "package"])
def test_bento_that_cannot_be_served_stops_gunicorn(
    bento_home: Path, tmp_path: Path, fault: str
) -> None:
    """So does whatever else makes every worker fail."""
    home = shutil.copytree(bento_home, tmp_path / "home", symlinks=True)
    (bento,) = home.glob("bentos/ant_bee_classifier/*/")
    (model,) = home.glob("models/ant_bee_classifier/*/")
    index = model / "model.json"
    match fault:
        case "damaged":
            (model / "model.onnx").write_bytes(b"damaged")
        case "newer":
            index.write_text(index.read_text().replace('"format": ', '"format": 9'))
        case "missing":
            shutil.rmtree(model)
        case "unreadable":
            index.unlink()
            index.mkdir()
        case "package":
            service = bento / "src/service.py"
            service.write_text(f"import a_package_that_is_not_there\n{service.read_text()}")
    start_failing(bento)


def test_unknown_bento_is_named(tmp_path: Path) -> None:
    """A tag that is not there ends the start with one line that says what to do."""
    run = ended(SCRIPT, "nothing:here", environment=variables(tmp_path))

    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr.splitlines() == [
        "serve-gunicorn: there is no bento nothing:here: run save_to_bento.py, or name another"
    ]


def test_missing_gunicorn_is_named(tmp_path: Path) -> None:
    """Without gunicorn, a line says how to get it."""
    copy = tmp_path / "heroku" / "serve-gunicorn"
    copy.parent.mkdir()
    copy.write_bytes(Path(SCRIPT).read_bytes())
    run = ended("sh", str(copy), environment={"PATH": "/usr/bin:/bin"})

    assert run.returncode == 1
    assert "there is no gunicorn: pip install -r" in run.stderr
