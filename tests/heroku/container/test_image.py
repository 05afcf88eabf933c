"""What is in the image, and where it runs."""

import json
import subprocess

import pytest

from tests.heroku.container.conftest import FIGURES
from tests.heroku.container.dyno import Dyno, docker, run_dyno


def test_image_is_small(image: str) -> None:
    """The image takes at most 350 MB."""
    size = int(docker("image", "inspect", "--format", "{{.Size}}", image)) / 1e6

    assert size <= 350


@pytest.mark.parametrize("command", ["gcc", "cc", "git", "pip", "make"])
def test_no_building_tools(dyno: Dyno, command: str) -> None:
    """Nothing is there that only building needs."""
    assert dyno.shell(f"command -v {command} || echo none").strip() == "none"


@pytest.mark.parametrize("module", ["torch", "torchvision", "pip", "onnx"])
def test_no_training_libraries(dyno: Dyno, module: str) -> None:
    """Nothing is there that only training needs."""
    find = f"import importlib.util as u; print(u.find_spec('{module}'))"

    assert dyno.shell(f'python -c "{find}"').strip() == "None"


def test_runs_without_a_network(image: str) -> None:
    """Nothing that the start needs is fetched, and a picture is answered."""
    with run_dyno(image, "--network", "none") as dyno:
        ask = "python heroku/smoke.py http://127.0.0.1:$PORT 2>/dev/null"
        answer = json.loads(dyno.shell(f"until {ask}; do sleep 0.2; done"))

    assert answer["label"] in answer["probabilities"]


def test_runs_as_documented(image: str) -> None:
    """`docker run -e PORT=5000 IMAGE` serves, with no further option, as the image's own user."""
    arguments = ["docker", "run", "--rm", "--detach", "--network=host", "--env", "PORT=5123", image]
    run = subprocess.run(arguments, capture_output=True, text=True, check=True)
    dyno = Dyno(run.stdout.strip(), 5123)
    try:
        dyno.wait_until_ready()
        assert dyno.shell("id -u").strip() == "10001"
    finally:
        docker("rm", "--force", dyno.name)


def test_ready_in_five_seconds(image: str) -> None:
    """The first 200 comes at most five seconds after `docker run`, with 512 MB."""
    times = []
    for _ in range(3):
        with run_dyno(image) as dyno:
            times.append(dyno.ready_after)
    FIGURES["seconds from docker run to ready (median of 3)"] = round(sorted(times)[1], 2)

    assert sorted(times)[1] <= 5


def test_a_batch_finds_the_model(dyno: Dyno) -> None:
    """The jobs of `kubernetes/` copy this folder, and take what is the latest in it."""
    name = dyno.shell("cat /bento/models/ant_bee_classifier/latest").strip()

    assert dyno.shell(f"ls /bento/models/ant_bee_classifier/{name}/model.json")


def test_a_quota_is_seen(image: str) -> None:
    """A container with one CPU, on a machine with more, has one worker with one thread."""
    options = ("--network", "host", "--cpus", "1")
    with run_dyno(image, *options, memory="2g") as dyno:
        python = "from antbee.machine import cores; print(cores())"
        seen = dyno.shell(f'python -c "{python}"').strip()
        workers = len(dyno.workers())

    assert (seen, workers) == ("1", 1)


def test_log_is_one_line_a_request(dyno: Dyno) -> None:
    """A request leaves one line, with its id, and nothing of the start looks like a fault."""
    dyno.shell("python heroku/smoke.py http://127.0.0.1:$PORT")
    log = dyno.log()

    assert log.count("POST /predict 200") == 1
    assert not any(word in log for word in ("Traceback", "WARNING", "ERROR"))
