"""`python -m antbee.predict`: pictures in, a table or files out."""

import csv
import dataclasses
import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from antbee.artifact import INDEX, PackedModel, read_model, write_model
from antbee.calibration import Calibration
from antbee.images import decode_image, to_array
from antbee.predictor import Prediction, load_predictor, to_prediction
from antbee.serving.api import prediction_content
from tests.conftest import LABELS, encode, noise
from tests.predict.command import ORDER, Capture, run


def expected(packed: PackedModel, path: Path) -> Prediction:
    """Predict without the command."""
    batch = to_array(decode_image(path.read_bytes()))[np.newaxis]
    return to_prediction(packed, load_predictor(packed).logits(batch)[0])


def test_probabilities_are_calibrated(
    packed: PackedModel, pictures: Path, tmp_path: Path, capsys: Capture
) -> None:
    """The answers are those of the model's temperature, as the server's are."""
    folder = tmp_path / "model"
    shutil.copytree(packed.folder, folder, copy_function=os.link)
    (folder / INDEX).unlink()
    write_model(dataclasses.replace(packed, folder=folder, calibration=Calibration(3.0)))
    warm = read_model(folder)
    run(warm, pictures / "b.jpg", "--jsonl", "-")
    answer = json.loads(capsys.readouterr().out)

    plain = expected(packed, pictures / "b.jpg").probabilities
    logs = np.log(list(answer["probabilities"].values()))
    assert np.diff(logs) * 3 == pytest.approx(np.diff(np.log(list(plain.values()))))


def test_a_table_of_a_folder(packed: PackedModel, pictures: Path, capsys: Capture) -> None:
    """A folder's pictures come in order, each with the predictor's label and probability."""
    assert run(packed, pictures) == 0

    out, err = capsys.readouterr()
    head, *lines = out.splitlines()
    wanted = [expected(packed, pictures / name) for name in ORDER]
    assert head.split() == ["probability", "label", "picture"]
    assert [line.split() for line in lines] == [
        [f"{one.probability:.4f}", one.label, str(pictures / name)]
        for name, one in zip(ORDER, wanted, strict=True)
    ]
    assert len({line.index(str(pictures)) for line in lines}) == 1
    counts = {label: [one.label for one in wanted].count(label) for label in LABELS}
    assert err == ", ".join(f"{count} {label}" for label, count in counts.items() if count) + "\n"


def test_json_lines(packed: PackedModel, pictures: Path, tmp_path: Path, capsys: Capture) -> None:
    """Each line is what the server would answer, and the path."""
    lines = tmp_path / "answers.jsonl"

    assert run(packed, pictures, "--jsonl", lines) == 0
    assert capsys.readouterr().out == ""
    for name, line in zip(ORDER, lines.read_text().splitlines(), strict=True):
        prediction = prediction_content(expected(packed, pictures / name), "x")
        model = str(packed.folder)
        assert json.loads(line) == {"path": str(pictures / name), **prediction, "model": model}


def test_strangers_are_told(telling: PackedModel, tmp_path: Path, capsys: Capture) -> None:
    """A model that can tell says in the table and in both files which pictures are of no label."""
    (tmp_path / "a.jpg").write_bytes(encode(noise(320, 240)))
    (tmp_path / "b.png").write_bytes(encode(Image.new("RGB", (320, 240), "white"), "PNG"))
    rows, lines = tmp_path / "answers.csv", tmp_path / "answers.jsonl"
    run(telling, tmp_path)
    head, *table = capsys.readouterr().out.splitlines()
    run(telling, tmp_path, "--csv", rows, "--jsonl", lines)
    found = [json.loads(line) for line in lines.read_text().splitlines()]
    read = list(csv.DictReader(rows.read_text().splitlines()))

    assert head.split() == ["probability", "label", "known", "picture"]
    assert [line.split()[2] for line in table] == ["yes", "no"]
    assert [one["known"] for one in found] == [True, False]
    assert [one["known"] for one in read] == ["true", "false"]
    assert [float(one["typicality"]) for one in read] == [one["typicality"] for one in found]


def test_csv(packed: PackedModel, pictures: Path, capsys: Capture) -> None:
    """The columns are path, label, its probability, every label's, and the error."""
    (pictures / "broken,\n.jpg").write_bytes(b"\xff\xd8\xff")

    assert run(packed, pictures, "--csv", "-") == 1
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines(keepends=True)))
    prediction = expected(packed, pictures / "a.PNG")
    assert rows[0] == {
        "path": str(pictures / "a.PNG"),
        "label": prediction.label,
        "probability": str(prediction.probability),
        **{f"probability_{one}": str(prediction.probabilities[one]) for one in LABELS},
        "error": "",
    }
    assert rows[2]["path"] == str(pictures / "broken,\n.jpg")
    assert rows[2]["label"] == ""
    assert rows[2]["error"].startswith("the picture is broken or cut short")


def test_csv_and_json_lines_together(
    packed: PackedModel, pictures: Path, tmp_path: Path, capsys: Capture
) -> None:
    """One may go to a file and the other to stdout."""
    table = tmp_path / "answers.csv"

    assert run(packed, pictures, "--csv", table, "--jsonl", "-") == 0
    written = [json.loads(line)["label"] for line in capsys.readouterr().out.splitlines()]
    with table.open(newline="") as file:
        assert [row["label"] for row in csv.DictReader(file)] == written
    assert len(written) == len(ORDER)


def test_the_order_is_kept(packed: PackedModel, tmp_path: Path, capsys: Capture) -> None:
    """With several threads, a large picture does not fall behind the small ones after it."""
    names = [f"{index:02}.png" for index in range(12)]
    for index, name in enumerate(names):
        side = 1500 if index % 6 == 0 else 32
        (tmp_path / name).write_bytes(encode(noise(side, side), "PNG"))

    assert run(packed, tmp_path, "--threads", 4) == 0
    lines = capsys.readouterr().out.splitlines()[1:]
    assert [Path(line.split()[2]).name for line in lines] == names


def test_runtime_is_taken(packed_int8: PackedModel, pictures: Path, capsys: Capture) -> None:
    """`--runtime` decides what runs the network."""
    answers = []
    for runtime in ("int8", "onnx", "torch"):
        assert run(packed_int8, pictures / "b.jpg", "--runtime", runtime, "--jsonl", "-") == 0
        answers.append(json.loads(capsys.readouterr().out)["probability"])

    assert answers[0] != answers[1]
    assert abs(answers[1] - answers[2]) < 1e-4


def test_names_that_are_no_text(packed: PackedModel, pictures: Path, tmp_path: Path) -> None:
    """A file's name comes back byte for byte, whatever it is made of."""
    name = os.fsdecode(b"\xff.jpg")
    (pictures / "b.jpg").rename(pictures / name)
    table = tmp_path / "answers.csv"

    assert run(packed, pictures / name, "--csv", table) == 0
    assert b"/\xff.jpg," in table.read_bytes()


@pytest.mark.parametrize("to_file", [True, False])
def test_a_bar_on_a_terminal(
    packed: PackedModel,
    pictures: Path,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
    to_file: bool,
) -> None:
    """A person sees how far it is, unless the answers run down the same terminal."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    answers = ["--csv", pictures / "answers.csv"] if to_file else []

    assert run(packed, pictures, pictures / "no.jpg", *answers) == 1
    err = capsys.readouterr().err
    assert ("classifying:   0%|" in err) is to_file
    # Where the bar was is cleared before anything else is said, and when all is done.
    lines = [line.rpartition("\r")[2] for line in err.rstrip("\n").split("\n")]
    assert lines[0] == f"{pictures / 'no.jpg'}: it cannot be read: No such file or directory"
    assert lines[-1] == "1 of 7 could not be classified"
    assert len(lines) == 3
