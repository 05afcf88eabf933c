"""Test pictures and the runtimes that serve."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from antbee.accuracy import HeldOut, Proportion
from antbee.artifact import PackedModel
from antbee.files import sha256_of
from antbee.images import read_array
from antbee.packing.held_out import measure_test
from antbee.predictor import load_predictor
from antbee.training.check import check_pictures
from tests.conftest import LABELS, encode, noise

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """Stand in for the file that the model was packed from."""
    path = tmp_path / "run/best.pt"
    path.parent.mkdir()
    path.write_bytes(b"weights")
    return path


def test_what_serves_is_measured(
    packed_int8: PackedModel, checkpoint: Path, tmp_path: Path, capsys: Capture
) -> None:
    """Every runtime answers every picture that can be read; the chosen one's answers are told."""
    data = tmp_path / "data"
    for split in ("train", "val", "test"):
        for seed, label in enumerate(LABELS):
            (data / split / label).mkdir(parents=True)
            (data / split / label / "1.png").write_bytes(encode(noise(80, 60, seed), "PNG"))
    (data / "test/circle/broken.jpg").write_bytes(b"\xff\xd8\xff")
    provenance = {"data": check_pictures(data).provenance, "checkpoint": {"sha256": "a5"}}
    model = replace(packed_int8, provenance=provenance)
    told = measure_test(model, data, checkpoint)

    assert told is not None
    answers = {
        runtime: [
            LABELS[load_predictor(model, runtime).logits(array[None])[0].argmax()]
            for array in (
                read_array((data / "test" / label / "1.png").read_bytes()) for label in LABELS
            )
        ]
        for runtime in ("int8", "onnx")
    }
    right = {
        runtime: sum(one == label for one, label in zip(mine, LABELS, strict=True))
        for runtime, mine in answers.items()
    }
    assert told["by_runtime"] == right
    assert (told["measured"], told["correct"]) == (model.runtime, right[model.runtime])
    assert (told["pictures"], told["copies"]) == (3, 3)
    assert told["checkpoint"] == "a5"
    assert "broken.jpg" in capsys.readouterr().err

    (data / "test/square").rename(data / "test/squares")
    measure_test(model, data, checkpoint)
    reason = "no pictures of squares are trained on"
    assert f"left out test/squares/1.png: {reason}" in capsys.readouterr().err
    (data / "test/squares").rename(data / "test/square")

    shutil.rmtree(data / "test/square")
    told = measure_test(model, data, checkpoint)
    assert told is not None
    assert (told["pictures"], told["copies"]) == (2, None)
    assert "are not those that training measured" in capsys.readouterr().err


@pytest.mark.parametrize("measured", ["weights", "other weights"])
@pytest.mark.parametrize("there", ["weights", "other weights"])
def test_without_pictures_training_s_figure_is_taken(
    packed: PackedModel, checkpoint: Path, tmp_path: Path, measured: str, there: str
) -> None:
    """Of the very checkpoint that was packed, though training goes on: without it, of none."""
    model = replace(packed, provenance={"checkpoint": {"sha256": sha256_of(checkpoint)}})
    checkpoint.write_text(measured)
    result = HeldOut("training", sha256_of(checkpoint), "5ab", 0, {"circle": Proportion(3, 4)})
    checkpoint.with_name("test.json").write_text(json.dumps(result.describe()))
    checkpoint.write_text(there)

    known = measured == there == "weights"
    assert measure_test(model, tmp_path, checkpoint) == (result.describe() if known else None)
