"""`/explain`, answered in this process."""

import io
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from antbee.artifact import HEAD, PackedModel, read_model, write_model
from antbee.serving import classifier
from tests.conftest import LABELS, encode, noise
from tests.serving.in_process import Json, Server, coded


@pytest.fixture(scope="module")
def server(packed: PackedModel) -> Iterator[Server]:
    """Return a server that nothing is changed in."""
    shared = Server(packed)
    yield shared
    shared.api.close()


@pytest.mark.parametrize("size", [(320, 240), (2000, 3000)])
@pytest.mark.parametrize("form", [True, False])
def test_explanation_is_a_picture(
    server: Server,
    size: tuple[int, int],
    form: bool,
) -> None:
    """The answer is a PNG of the picture, and its headers are the prediction's."""
    data = encode(noise(*size))
    prediction = server.post("/predict", content=data).json()
    sent: Json = {"files": {"any": data}} if form else {"json": coded(data)}
    answer = server.post("/explain", **sent)
    picture = Image.open(io.BytesIO(answer.content))

    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
    assert (picture.format, picture.mode) == ("PNG", "RGB")
    assert max(picture.size) <= 1024
    assert abs(picture.width / picture.height - size[0] / size[1]) < 0.01
    assert answer.headers["x-label"] == prediction["label"]
    assert float(answer.headers["x-probability"]) == prediction["probability"]


def test_explanation_is_upright(server: Server) -> None:
    """A picture that its camera turned is shown as a person sees it."""
    exif = Image.Exif()
    exif[274] = 6
    answer = server.post("/explain", content=encode(noise(320, 240), exif=exif))

    assert Image.open(io.BytesIO(answer.content)).size == (240, 320)


@pytest.mark.parametrize(("side", "more", "trims"), [(900, 0, 0), (1100, 0, 1), (9, 5_000_000, 1)])
@pytest.mark.parametrize("path", ["/predict", "/explain"])
def test_large_picture_s_memory_is_given_back(
    server: Server, monkeypatch: pytest.MonkeyPatch, path: str, side: int, more: int, trims: int
) -> None:
    """What a large picture or file took goes back to the system; a small one's is kept."""
    trimmed: list[int] = []
    monkeypatch.setattr(classifier, "trim_memory", lambda: trimmed.append(1))
    data = encode(Image.new("RGB", (side, side)), "PNG")
    for sent, status in ((data + bytes(more), 200), (data[:50] + bytes(more), 422)):
        trimmed.clear()

        assert server.post(path, content=sent).status_code == status
        assert len(trimmed) == trims


def test_every_label_can_be_asked_about(server: Server, jpeg: bytes) -> None:
    """Another label gets its own map and its own probability."""
    prediction = server.post("/predict", content=jpeg).json()
    pictures = set()
    for label in LABELS:
        answer = server.post("/explain", params={"label": label}, content=jpeg)
        pictures.add(answer.content)

        assert answer.headers["x-label"] == label
        assert float(answer.headers["x-probability"]) == prediction["probabilities"][label]
    assert len(pictures) > 1


@pytest.mark.parametrize("label", ["wasp", "", "Circle", "circle ", "\u8702"])
def test_unknown_label(server: Server, jpeg: bytes, label: str) -> None:
    """A label that the model does not know is answered with those that it does."""
    answer = server.post("/explain", params={"label": label}, content=jpeg)

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "unknown_label")
    assert ", ".join(LABELS) in answer.json()["error"]["message"]


def test_labels_of_any_script_are_explained(
    packed: PackedModel, jpeg: bytes, tmp_path: Path
) -> None:
    """A label that a header cannot hold comes percent-encoded."""
    folder = Path(shutil.copytree(packed.folder, tmp_path / "model"))
    write_model(replace(packed, labels=("\u8702", "b\n", "c d"), folder=folder))
    server = Server(read_model(folder))
    answer = server.post("/explain", params={"label": "\u8702"}, content=jpeg)

    assert answer.headers["x-label"] == "%E8%9C%82"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "empty_body"),
        (b"x", 415, "unsupported_image"),
        (b"\xff\xd8\xff", 422, "corrupt_image"),
        (b"{", 400, "invalid_json"),
        (b'{"url": "https://example.org"}', 400, "url_not_allowed"),
    ],
)
def test_explanation_fails_as_a_prediction_does(
    server: Server, body: bytes, status: int, code: str
) -> None:
    """What `/predict` refuses, `/explain` refuses in the same way."""
    explained, predicted = (server.post(path, content=body) for path in ("/explain", "/predict"))

    assert explained.json() == predicted.json()
    assert (explained.status_code, explained.json()["error"]["code"]) == (status, code)


def test_older_package_explains_nothing(packed: PackedModel, jpeg: bytes, tmp_path: Path) -> None:
    """A package without the head's weights predicts, and says what an explanation takes."""
    folder = Path(shutil.copytree(packed.folder, tmp_path / "model"))
    (folder / HEAD).unlink()
    write_model(replace(packed, folder=folder))
    answer = Server(read_model(folder)).post("/explain", content=jpeg)

    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_explainable")
    assert "save_to_bento.py" in answer.json()["error"]["message"]
    assert Server(read_model(folder)).post("/predict", content=jpeg).status_code == 200


def test_map_is_drawn_where_the_network_looks(
    packed: PackedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A strong part of the features is coloured in its place of the picture, and nowhere else."""
    server = Server(packed)
    features = np.zeros((1, 512, 7, 7), np.float32)
    head = server.api.classifier.check_explainable(None)
    features[0, int(head[0].argmax()), 1, 5] = 1
    outputs = (np.array([[9, 0, 0]], np.float32), features)
    monkeypatch.setattr(server.api.classifier._predictor, "outputs", lambda _, __: outputs)
    grey = Image.new("RGB", (400, 300), (128, 128, 128))
    answer = server.post("/explain", content=encode(grey, "PNG"))
    pixels = np.asarray(Image.open(io.BytesIO(answer.content))).astype(int)
    rows, columns = np.nonzero(np.ptp(pixels, axis=2) > 60)

    side = 300 * 224 / 256
    x, y = (400 - side) / 2 + 5.5 / 7 * side, (300 - side) / 2 + 1.5 / 7 * side
    assert abs(columns.mean() + 0.5 - x) < 2
    assert abs(rows.mean() + 0.5 - y) < 2
    assert np.ptp(columns) < 2 * side / 7
