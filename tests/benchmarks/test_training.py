"""How `benchmarks/training.py` reads runs and compares them."""

import json
import sys
from pathlib import Path

import pytest

import training
from training import compare, describe, main, train

PROGRAM = """
import json, pathlib, sys
out = pathlib.Path(sys.argv[sys.argv.index("--out") + 1]) / "run"
out.mkdir()
(out / "best.pt").write_bytes(b"")
lines = [(0.5, 0.9, 1), (0.75, 0.5, 2), (0.75, 0.4, 8), (0.25, 0.1, 4)]
with (out / "metrics.jsonl").open("w") as file:
    for epoch, (top1, loss, speed) in enumerate(lines, 1):
        one = {"epoch": epoch, "val_top1": top1, "val_loss": loss, "pictures_per_second": speed}
        print(json.dumps(one), file=file)
"""


def test_a_run_is_its_best_and_its_last_epoch() -> None:
    """Of equally right epochs that with the smallest loss is the best: train.py's own rule."""
    run = train([sys.executable, "-c", PROGRAM])
    assert (run["best_top1"], run["epoch"], run["last_top1"]) == (0.75, 3, 0.25)
    assert run["pictures_per_second"] == 6
    assert 0 < run["seconds"] <= run["total_seconds"]


def test_what_is_not_installed_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line says so; the others are trained with every seed, and ours beside them."""
    (tmp_path / "trainers").mkdir()
    (tmp_path / "trainers" / "there.py").write_text(PROGRAM)
    peers = {"there": ("json", "there.py"), "absent": ("no_such_package", "absent.py")}
    monkeypatch.setattr(training, "HERE", tmp_path)
    monkeypatch.setattr(training, "PYTHON", sys.executable)
    monkeypatch.setattr(training, "TRAIN", (sys.executable, "-c", PROGRAM))
    monkeypatch.setattr(training, "PEERS", peers)

    assert main(["--weights", "w", "--seeds", "3,4", "--peers", "there,absent"]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("absent is left out: no_such_package is not in .venv-trainers")
    assert [line.split()[:2] for line in lines[2:8]] == [
        [who, seed] for seed in ("3", "4", "mean") for who in ("antbee", "there")
    ]
    assert lines[8].startswith("antbee less there: best +0.0 (+0.0, +0.0) points")
    told = json.loads(lines[-1])
    assert told["means"]["there"]["best_top1"] == 0.75
    assert told["differences"]["there"]["last_top1"] == [0, 0]


def test_a_peer_that_fails_is_shown_with_what_it_printed() -> None:
    """The benchmark ends there: a row that is not there would look like one left out."""
    with pytest.raises(SystemExit, match="no such weights"):
        train([sys.executable, "-c", "raise SystemExit('no such weights')"])


def test_seeds_are_compared_in_pairs() -> None:
    """Each seed's difference in points, of the best epoch and of the last, and times as shares."""
    ours = [{"best_top1": 0.75, "last_top1": 0.5}, {"best_top1": 1.0, "last_top1": 1.0}]
    theirs = [{"best_top1": 0.5, "last_top1": 0.5}, {"best_top1": 1.0, "last_top1": 0.75}]
    found = compare(ours, theirs)
    assert found == {"best_top1": [25, 0], "last_top1": [0, 25]}
    times = {"seconds": 10.0, "total_seconds": 30.0, "cpu_seconds": 30.0}
    slower = {"seconds": 40.0, "total_seconds": 60.0, "cpu_seconds": 40.0}
    assert describe("timm", found, times, slower) == (
        "antbee less timm: best +12.5 (+25.0, +0.0) points, last +12.5 (+0.0, +25.0); "
        "0.25 of its time to the best checkpoint, 0.50 to the end, 0.75 of its processor time"
    )
