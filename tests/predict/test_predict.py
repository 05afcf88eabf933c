"""`python -m antbee.predict`: pictures in, a table or files out, and how it ends."""

import csv
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from antbee import predict
from antbee.artifact import ONNX, PackedModel, read_model, write_model
from antbee.calibration import Calibration
from antbee.errors import DataError
from antbee.images import decode_image, to_array
from antbee.predict import Found, main
from antbee.predictor import Prediction, load_predictor, to_prediction
from antbee.results import Outcome, shown
from tests.conftest import LABELS, REPOSITORY, Server, encode, environment, noise

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Make a folder of six pictures, two of them in folders below."""
    folder = tmp_path / "pictures"
    for seed, name in enumerate(
        ("b.jpg", "a.PNG", "sub/c.webp", "sub/deep/d.gif", "z.jpeg", "y.bmp")
    ):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(noise(320, 240, seed), format_of(path)))
    return folder


ORDER = ["a.PNG", "b.jpg", "y.bmp", "z.jpeg", "sub/c.webp", "sub/deep/d.gif"]


def format_of(path: Path) -> str:
    """Name the format that a file's ending means."""
    return {"jpg": "JPEG"}.get(path.suffix[1:].lower(), path.suffix[1:].upper())


def expected(packed: PackedModel, path: Path) -> Prediction:
    """Predict without the command."""
    batch = to_array(decode_image(path.read_bytes()))[np.newaxis]
    return to_prediction(packed, load_predictor(packed).logits(batch)[0])


def run(packed: PackedModel, *arguments: object) -> int:
    """Run the command with a packed model's folder."""
    return main([*map(str, arguments), "--model", str(packed.folder)])


def process(home: Path, *arguments: object, **options: object) -> subprocess.Popen[bytes]:
    """Start the command as a person does."""
    return subprocess.Popen(  # type: ignore[call-overload, no-any-return]
        [sys.executable, "-m", "antbee.predict", *map(str, arguments)],
        cwd=REPOSITORY,
        env=environment(home),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **options,
    )


def test_probabilities_are_calibrated(
    packed: PackedModel, pictures: Path, tmp_path: Path, capsys: Capture
) -> None:
    """The answers are those of the model's temperature, as the server's are."""
    folder = Path(shutil.copytree(packed.folder, tmp_path / "model"))
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
        prediction = dataclasses.asdict(expected(packed, pictures / name))
        model = str(packed.folder)
        assert json.loads(line) == {"path": str(pictures / name), **prediction, "model": model}


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
    names = [f"{index:02}.png" for index in range(40)]
    for index, name in enumerate(names):
        side = 2000 if index % 10 == 0 else 32
        (tmp_path / name).write_bytes(encode(noise(side, side), "PNG"))

    assert run(packed, tmp_path, "--threads", 4) == 0
    lines = capsys.readouterr().out.splitlines()[1:]
    assert [Path(line.split()[2]).name for line in lines] == names


def test_what_cannot_be_read_is_named(packed: PackedModel, pictures: Path, capsys: Capture) -> None:
    """Every other file is classified; each that is not gets a line, and the exit code is 1."""
    (pictures / "empty.png").touch()
    (pictures / "note.txt").write_text("ants")
    missing, folder = pictures / "missing.jpg", pictures / "nothing"
    folder.mkdir()
    code = run(
        packed, missing, pictures, pictures / "note.txt", folder, "/dev/null", "--jsonl", "-"
    )

    out, err = capsys.readouterr()
    answers = [json.loads(line) for line in out.splitlines()]
    faults = {one["path"]: one["error"]["code"] for one in answers if "error" in one}
    assert code == 1
    assert len([one for one in answers if "label" in one]) == len(ORDER)
    assert faults == {
        str(missing): "unreadable_file",
        str(pictures / "empty.png"): "unsupported_image",
        str(pictures / "note.txt"): "unsupported_image",
        str(folder): "unreadable_file",
        "/dev/null": "unreadable_file",
    }
    assert [line.partition(": ")[0] for line in err.splitlines()[:5]] == list(faults)
    assert err.splitlines()[0] == f"{missing}: it cannot be read: No such file or directory"
    assert err.splitlines()[-2:] == [
        "5 of 11 could not be classified",
        "1 other files in the folders were passed over (.txt)",
    ]


def test_hidden_and_other_files_are_passed_over(tmp_path: Path) -> None:
    """In folders, hidden files are left aside, and what is no picture by its name is counted."""
    for name in (".hidden.jpg", ".git/a.jpg", "b.heic", "c", "d.JPG", "e/f.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = Found([tmp_path, tmp_path / ".hidden.jpg"])

    assert found.files == [tmp_path / "d.JPG", tmp_path / ".hidden.jpg"]
    assert found.passed_over == {".heic": 1, "no ending": 1, ".txt": 1}


def test_folder_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that this user may not read is an outcome, not a gap."""

    def scandir(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", scandir)
    (outcome,) = Found([tmp_path]).files

    assert isinstance(outcome, Outcome)
    assert outcome.path == tmp_path
    assert str(outcome.error) == "the folder cannot be read: Permission denied"


def test_a_link_that_leads_round_is_followed_once(tmp_path: Path) -> None:
    """A link from a folder to itself does not make it endless."""
    (tmp_path / "a.jpg").touch()
    (tmp_path / "again").symlink_to(tmp_path)

    assert Found([tmp_path]).files == [tmp_path / "a.jpg"]


def test_huge_files_are_not_read(tmp_path: Path) -> None:
    """A file larger than any picture is refused by its size alone."""
    path = tmp_path / "disk.bmp"
    with path.open("wb") as file:
        file.truncate(10**12)

    with pytest.raises(DataError, match="larger than 500 MB"):
        predict.read_file(path)


def test_too_little_memory_is_said(
    packed: PackedModel, pictures: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A picture that takes more memory than there is fails by itself."""

    def exhaust(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(predict, "read_array", exhaust)

    assert run(packed, pictures / "a.PNG") == 1
    assert "try --threads 1" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["a.jpg", "--csv", "-", "--jsonl", "-"],
        ["a.jpg", "--threads", "0"],
        ["a.jpg", "--threads", "two"],
        ["a.jpg", "--runtime", "tensorflow"],
        ["a.jpg", "--nonsense"],
    ],
)
def test_wrong_usage(arguments: list[str], capsys: Capture) -> None:
    """Arguments that cannot be are answered with the usage and exit code 2."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)

    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("usage: python -m antbee.predict ")


def test_a_folder_without_a_model(tmp_path: Path, pictures: Path, capsys: Capture) -> None:
    """A folder that holds no packed model is named."""
    assert main([str(pictures), "--model", str(tmp_path)]) == 1
    assert f"error: {tmp_path} holds no packed model" in capsys.readouterr().err


def test_a_damaged_model(
    packed: PackedModel, pictures: Path, tmp_path: Path, capsys: Capture
) -> None:
    """A packed model whose network is damaged is not used."""
    for path in packed.folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / ONNX).write_bytes(b"damaged")

    assert main([str(pictures), "--model", str(tmp_path)]) == 1
    assert f"{ONNX} is damaged" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("file", "reason"), [("{0}/no/folder.csv", "No such file"), ("/dev/full", "No space left")]
)
def test_answers_that_cannot_be_written(
    packed: PackedModel, pictures: Path, capsys: Capture, file: str, reason: str
) -> None:
    """Where the answers cannot go, the command says so in one line."""
    if file == "/dev/full" and not Path(file).exists():
        pytest.skip("this system has no /dev/full")

    assert run(packed, pictures, "--csv", file.format(pictures)) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: ")
    assert f"cannot be written: {reason}" in last


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


def test_names_cannot_move_the_cursor() -> None:
    """On a terminal, what cannot be printed is spelt out."""
    assert shown(Path("a\x1b[2J\n\udcffä.jpg")) == "a\\x1b[2J\\n\\udcffä.jpg"


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

    assert run(packed, pictures, *answers) == 0
    err = capsys.readouterr().err
    assert ("\r[#####.........................] 1 of 6" in err) is to_file
    assert ("\r\x1b[K" in err) is to_file


def test_the_store_and_the_server_agree(
    bentoml_home: Path, server: Server, pictures: Path, jpeg: bytes
) -> None:
    """As a process, with the newest model of BentoML's store, it answers what the server does."""
    picture = pictures / "a.jpg"
    picture.write_bytes(jpeg)
    with process(bentoml_home, picture, "--jsonl", "-") as running:
        out, err = running.communicate()

    assert running.returncode == 0
    assert json.loads(out) == {"path": str(picture), **server.predict(jpeg).json()}
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("tag", ["nobody:latest", "ant_bee_classifier:none", "no tag!", "a/b"])
def test_no_such_model(bentoml_home: Path, pictures: Path, tag: str) -> None:
    """A tag that the store does not know is answered in one line."""
    with process(bentoml_home, pictures, "--model", tag) as running:
        out, err = running.communicate()

    assert running.returncode == 1
    assert out == b""
    assert err.decode().startswith(f"error: there is no packed model {tag}: ")
    assert len(err.splitlines()) == 1


def test_interrupted(bentoml_home: Path, packed: PackedModel, pictures: Path) -> None:
    """Ctrl-C ends it soon, without a traceback, with exit code 130."""
    again = [pictures / "b.jpg"] * 5000
    with process(bentoml_home, *again, "--model", packed.folder, "--jsonl", "-") as running:
        assert running.stdout is not None
        assert running.stdout.read(1) == b"{"
        running.send_signal(signal.SIGINT)
        start = time.monotonic()
        out, err = running.communicate()

    assert (running.returncode, err) == (130, b"interrupted\n")
    assert len(out.splitlines()) < 5000
    assert time.monotonic() - start < 10


def test_a_reader_that_has_enough(bentoml_home: Path, packed: PackedModel, pictures: Path) -> None:
    """A pipe that is closed, as `head` does, ends it without a word."""
    again = [pictures / "b.jpg"] * 500
    with process(bentoml_home, *again, "--model", packed.folder, "--jsonl", "-") as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.read(1)
        running.stdout.close()
        err = running.stderr.read()
        running.wait()

    assert (running.returncode, err) == (1, b"")
