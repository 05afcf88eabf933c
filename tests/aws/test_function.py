"""The function itself: how it starts, what it says where it cannot, and what a pause does to it."""

import json
import re
import signal
import subprocess
import time
from pathlib import Path

import httpx
import psutil
import pytest

from tests.aws.conftest import emulated
from tests.conftest import REPOSITORY, Server, encode, environment, noise

PICTURE = encode(noise(64, 48))


def test_is_started_by_lambda_alone(tmp_path: Path) -> None:
    """By hand, the image's command says in one line what it is for."""
    run = subprocess.run(
        [REPOSITORY / "aws/serve-lambda"],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )

    assert (run.returncode, run.stdout, run.stderr.count("\n")) == (1, "", 1)
    assert run.stderr.startswith("serve-lambda: this is for AWS Lambda, or its emulator: ")


@pytest.mark.slow
def test_answers_are_gunicorns_byte_for_byte(server: Server, gunicorn_server: Server) -> None:
    """The same requests get the same answers, whoever serves."""
    asked = [
        ("GET", "/", b""), ("GET", "/page/page.js", b""), ("GET", "/docs.json", b""),
        ("GET", "/model", b""), ("GET", "/nothing", b""), ("POST", "/predict", PICTURE),
        ("POST", "/predict", b"none"), ("POST", "/explain?label=circle", PICTURE),
        ("POST", "/v1/predict", b""),
    ]  # fmt: skip
    for method, path, body in asked:
        mine, theirs = (
            httpx.request(method, one.url + path, content=body) for one in (server, gunicorn_server)
        )

        assert mine.content == theirs.content, path
        assert mine.status_code == theirs.status_code, path
        told = [{**one.headers} for one in (mine, theirs)]
        for headers in told:
            for name in ("date", "server", "connection", "x-request-id"):
                headers.pop(name, None)
        assert told[0] == told[1], path


@pytest.mark.slow
def test_head_has_no_body(server: Server) -> None:
    """HEAD is answered as GET is, without the body."""
    answer = httpx.head(f"{server.url}/model")

    assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.slow
def test_lines_of_the_log_have_awss_id(server: Server) -> None:
    """A request's line has the id that AWS's own lines have."""
    id_ = server.predict(PICTURE).headers["x-request-id"]
    log = server.log.read_text()

    assert log.count(f"START RequestId: {id_} ") == 1
    assert re.search(f"POST /predict 200 .* id={id_} ", log)


@pytest.mark.slow
def test_size_of_a_picture(server: Server) -> None:
    """One of 4.4 MB comes through; one of 4.8 MB does not come as far as the function."""
    side = 1208  # three bytes a pixel: 4.38 MB
    largest = encode(noise(side, side), "BMP")

    assert server.predict(largest).status_code == 200
    assert server.predict(largest + bytes(400_000)).json().keys() == {"Message"}


@pytest.mark.slow
def test_a_pause_is_not_noticed(server: Server) -> None:
    """Between two requests AWS stops the sandbox for as long as it likes."""
    before = server.predict(PICTURE).json()
    processes = psutil.Process(server.process.pid).children(recursive=True)
    for one in processes:
        one.send_signal(signal.SIGSTOP)
    time.sleep(2)
    for one in processes:
        one.send_signal(signal.SIGCONT)

    assert server.predict(PICTURE).json() == before


@pytest.mark.slow
def test_what_is_wrong_is_one_line_a_start(bentoml_home: Path, tmp_path: Path) -> None:
    """AWS starts a function that ends once for each request, and each time its log says why."""
    log = tmp_path / "log"
    settings = {"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256", "ANTBEE_MAX_IMAGES": "0"}
    variables = environment(bentoml_home, **settings)
    with emulated(["aws/serve-lambda"], log, variables) as server:
        status = [server.predict(PICTURE).status_code for _ in range(2)]
        time.sleep(1)
        left = psutil.Process(server.process.pid).children()
    lines = [line for line in log.read_text().splitlines() if "ANTBEE" in line]

    assert status == [502, 502]
    assert lines == ["error: ANTBEE_MAX_IMAGES='0': it must be a whole number from 1 to 1000"] * 2
    assert log.read_text().count("256 MB of memory are too few") == 2
    assert "Traceback" not in log.read_text()
    assert not left


@pytest.mark.slow
def test_memory_sets_the_largest_picture(bentoml_home: Path, tmp_path: Path) -> None:
    """The function's memory, not the machine's, says how large a picture may be."""
    variables = environment(bentoml_home, AWS_LAMBDA_FUNCTION_MEMORY_SIZE="512")
    with emulated(["aws/serve-lambda"], tmp_path / "log", variables) as server:
        answer = server.predict(encode(noise(1, 1).resize((60_000, 1000))))

    assert json.loads(answer.content)["error"]["code"] == "image_too_large"
    assert "at most 27 megapixels" in answer.text
