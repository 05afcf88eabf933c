"""Those who wish a server ill: what they send, and how its answers are judged."""

import json
import random
import subprocess
import sys
import time
from typing import Any

import httpx
import pytest

import hostile
from antbee.images import decode_image
from hostile_answers import OffShape, outcome
from hostile_files import other_formats, polyglots
from hostile_pictures import cut, find_pictures, mutated, originals
from hostile_requests import PARTS, all_requests
from tests.conftest import LABELS, Server, encode, noise
from watch import Watch

FILES = originals(find_pictures(None))
PREDICTION = {
    "label": "circle",
    "probability": 0.5,
    "probabilities": {"circle": 0.5, "square": 0.25, "triangle": 0.25},
    "model": "name:version",
}
ERROR = {"error": {"code": "corrupt_image", "message": "broken"}}


def test_what_is_broken_was_whole() -> None:
    """Every file that is mutated or cut is a picture that is read."""
    assert all(decode_image(data) for several in FILES.values() for data in several)


def test_everything_is_the_same_each_time() -> None:
    """The same seed makes the same requests, another one others."""
    names = ("mutated", "cut", "bodies")
    first, again, other = (
        [request for name in names for request in all_requests(FILES, 30, seed)[name]]
        for seed in (0, 0, 1)
    )

    assert first == again
    assert first != other


def test_a_mutation_changes_the_file() -> None:
    """Hardly any mutated file is what it was."""
    files = FILES["PNG"]
    generator = random.Random(0)  # noqa: S311 - no secret
    changed = [mutated(generator, files) not in files for _ in range(100)]

    assert sum(changed) > 90


def test_a_file_is_cut_at_every_percent() -> None:
    """The pieces go from nothing to 99 in a hundred."""
    pieces = list(cut([bytes(200)]))

    assert [len(piece) for piece in pieces] == list(range(0, 200, 2))


def test_there_are_many_of_each_kind() -> None:
    """Formats that are not allowed, and files that are two things, come by name."""
    whole = {name: several[0] for name, several in FILES.items()}

    assert {"TIFF", "SVG", "PSD", "PDF", "EPS", "HEIC", "ICO"} <= dict(other_formats()).keys()
    assert {"JPEG and ZIP", "GIF and JavaScript", "PNG and HTML"} <= dict(polyglots(whole)).keys()


@pytest.mark.parametrize(
    ("path", "status", "content", "expected"),
    [
        ("/predict", 200, PREDICTION, "ok"),
        ("/predict", 422, ERROR, "corrupt_image"),
        ("/v1/predict", 200, {"images": [PREDICTION]}, "ok"),
        ("/v1/predict", 200, {"images": [PREDICTION, ERROR]}, "some failed"),
    ],
)
def test_documented_answers_have_a_name(
    path: str, status: int, content: dict[str, Any], expected: str
) -> None:
    """Predictions and errors, alone and several together."""
    assert outcome(httpx.Response(status, json=content), path, LABELS) == expected


def test_a_heat_map_is_a_png() -> None:
    """With its label and its probability."""
    headers = {"Content-Type": "image/png", "X-Label": "circle", "X-Probability": "0.5"}
    answer = httpx.Response(200, content=encode(noise(32, 32), "PNG"), headers=headers)

    assert outcome(answer, "/explain?label=circle", LABELS) == "ok"


@pytest.mark.parametrize(
    ("path", "status", "content"),
    [
        ("/predict", 200, ERROR),
        ("/predict", 200, {"images": [PREDICTION]}),
        ("/predict", 200, {**PREDICTION, "more": 1}),
        ("/predict", 200, {**PREDICTION, "label": "square"}),
        ("/predict", 200, {**PREDICTION, "probability": 1}),
        ("/predict", 200, {**PREDICTION, "probabilities": {"circle": 0.5}}),
        ("/predict", 400, ERROR),
        ("/predict", 422, PREDICTION),
        ("/predict", 422, {"error": "corrupt_image"}),
        ("/predict", 422, {"error": {"code": "new", "message": "x"}}),
        ("/predict", 422, [ERROR]),
        ("/v1/predict", 200, PREDICTION),
        ("/v1/predict", 200, {"images": []}),
        ("/explain", 200, PREDICTION),
    ],
)
def test_other_answers_are_faults(path: str, status: int, content: Any) -> None:  # noqa: ANN401 - whatever JSON holds
    """Another shape, another status than the code's, another type."""
    with pytest.raises(OffShape):
        outcome(httpx.Response(status, json=content), path, LABELS)


def test_text_and_numbers_that_are_none_are_faults() -> None:
    """Not JSON, whatever its status and type say."""
    nan = json.dumps({**PREDICTION, "probability": float("nan")})
    for content, kind in ((nan, "application/json"), ("Internal Server Error", "text/plain")):
        answer = httpx.Response(200, content=content, headers={"Content-Type": kind})
        with pytest.raises(OffShape):
            outcome(answer, "/predict", LABELS)


@pytest.mark.parametrize("seconds", [0, 1])
def test_a_child_is_seen(seconds: float) -> None:
    """However short it lives: its parent remembers."""
    script = (
        "import subprocess, sys\n"
        "input()\n"
        "subprocess.run([sys.executable, '-c', f'import time; time.sleep({sys.argv[1]})'])\n"
        "print(flush=True)\n"
        "input()\n"
    )
    command = [sys.executable, "-c", script, str(seconds)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        with Watch(process.pid) as watch:
            quiet = watch.came()
            process.stdin.write(b"\n")
            process.stdin.flush()
            process.stdout.readline()
            came = watch.came()
        process.communicate(b"\n")

    assert quiet == 0
    assert came > 0


def test_an_end_is_seen() -> None:
    """A process that is no more has gone, and its memory was counted while it was there."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        time.sleep(0.2)
        with Watch(process.pid) as watch:
            lap = watch.lap()
            here = watch.went()
            process.communicate(b"\n")
            gone = watch.went()

    assert lap.peak >= lap.end > 1
    assert (here, gone) == (0, 1)


def test_a_server_stands_it(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    """A few of everything but the bombs, sent to a real server: the exit code says that it did."""
    parts = [name for name in PARTS if name not in ("bombs", "lengths", "types", "json")]
    watched = ["--url", server.url, "--pid", str(server.process.pid)]
    code = hostile.main([*watched, "--count", "50", "--only", *parts])
    result = json.loads(capsys.readouterr().out.splitlines()[-1])

    assert result["faults"] == []
    assert code == 0
    assert result["requests"] > 300
    assert result["children"] == result["ended"] == 0
    assert result["kinds"]["cut"]["answers"]["422 corrupt_image"] > 50
