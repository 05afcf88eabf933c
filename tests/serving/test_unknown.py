"""Pictures of none of the labels, as the server answers them; in this process."""

import base64
import csv
import io
from collections.abc import Iterator
from dataclasses import replace

import pytest
from PIL import Image

from antbee.artifact import PackedModel
from antbee.typicality import FEWEST
from tests.conftest import LABELS, encode
from tests.serving.in_process import SETTINGS, Server

WHITE = encode(Image.new("RGB", (320, 240), "white"))


@pytest.fixture(scope="module")
def server(telling: PackedModel) -> Iterator[Server]:
    """Return a server of a model that can tell."""
    shared = Server(telling)
    yield shared
    shared.api.close()


@pytest.fixture(scope="module")
def older(packed: PackedModel) -> Iterator[Server]:
    """Return a server of the same model, which cannot."""
    shared = Server(packed)
    yield shared
    shared.api.close()


def test_stranger_is_unknown(server: Server, jpeg: bytes) -> None:
    """What is like no picture of the labels is unknown, what is like them is not."""
    stranger, usual = (server.post("/predict", content=one).json() for one in (WHITE, jpeg))

    assert (stranger["known"], stranger["typicality"]) == (False, 1 / (FEWEST + 1))
    assert usual["known"]
    assert 1 / (FEWEST + 1) < usual["typicality"] <= 1


def test_label_and_probabilities_stay(server: Server, older: Server) -> None:
    """A model that can tell answers everything else as one that cannot, which has no such field."""
    told, plain = (one.post("/predict", content=WHITE).json() for one in (server, older))

    assert set(told) - set(plain) == {"known", "typicality"}
    for name in ("label", "probability", "probabilities"):
        assert told[name] == plain[name]


def test_many_are_told(server: Server, older: Server, jpeg: bytes) -> None:
    """Each of several pictures has it, in JSON and in a table of its own columns."""
    sent = {"images": [{"data": base64.b64encode(one).decode()} for one in (WHITE, jpeg, b"no")]}
    answers = server.post("/v1/predict", json=sent).json()["images"]
    table = server.post("/v1/predict", json=sent, headers={"Accept": "text/csv"}).text
    head, *rows = csv.reader(io.StringIO(table))
    plain = older.post("/v1/predict", json=sent, headers={"Accept": "text/csv"}).text

    shares = [f"probability_{label}" for label in LABELS]
    assert head == ["name", "label", "probability", *shares, "known", "typicality", "error"]
    assert [row[-3] for row in rows] == ["false", "true", ""]
    assert [row[-2] for row in rows[:2]] == [str(one["typicality"]) for one in answers[:2]]
    assert {len(row) for row in rows} == {len(head)}
    assert plain.splitlines()[0] == ",".join(["name", "label", "probability", *shares, "error"])


def test_explanation_says_it_in_headers(server: Server, older: Server, jpeg: bytes) -> None:
    """Headers of a heat map say what the prediction says, where the model can tell."""
    for picture, known in ((WHITE, "false"), (jpeg, "true")):
        answer = server.post("/explain", content=picture)
        prediction = server.post("/predict", content=picture).json()

        assert answer.headers["x-known"] == known
        assert float(answer.headers["x-typicality"]) == prediction["typicality"]
    assert "x-known" not in older.post("/explain", content=jpeg).headers


@pytest.mark.parametrize(("below", "known"), [(0.0, True), (0.05, False), (1.0, False)])
def test_level_is_a_setting(telling: PackedModel, below: float, *, known: bool) -> None:
    """The typicality up to which a picture is unknown can be set; with 0 none is."""
    server = Server(telling, replace(SETTINGS, unknown_below=below))
    answer = server.post("/predict", content=WHITE).json()
    server.api.close()

    assert answer["known"] is known


def test_unknown_pictures_are_counted(telling: PackedModel, jpeg: bytes) -> None:
    """Both kinds are in the histogram, and strangers in a counter of their own."""
    server = Server(telling)
    for picture in (WHITE, WHITE, jpeg):
        server.post("/predict", content=picture)
    server.api.close()

    assert server.counted("antbee_unknown_total") == 2
    assert server.counted("antbee_typicality_ratio_count") == 3
