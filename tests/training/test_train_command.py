"""`train.py`: what it prints, what it leaves behind, and how it fails."""

import json
import resource
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
import torch

from antbee.training.check import check_pictures
from antbee.training.checkpoint import load_checkpoint
from tests.conftest import REPOSITORY
from tests.training.conftest import assert_one_line, assert_same_run, random_start, train
from tests.training.folders import fill
from train import main

SHARE = ("--val-fraction", "0.25", "--seed", "3", "--epochs", "1")

quick = pytest.mark.usefixtures("tiny", "no_report")


def test_the_folder_of_a_run_has_all_that_is_promised(finished: Path) -> None:
    """A finished run has its checkpoints with checksums, metrics and report, and nothing else."""
    assert sorted(path.name for path in finished.iterdir()) == [
        "best.pt", "best.pt.sha256", "confusion.png", "curves.png", "last.pt", "last.pt.sha256",
        "metrics.jsonl", "mistakes.png", "reliability.png", "report.html", "suspects.csv",
        "uncertain.png",
    ]  # fmt: skip


def test_the_checkpoints_agree_with_the_metrics(finished: Path) -> None:
    """Both checkpoints load, know where they stand, and hold the metrics that the file lists."""
    lines = (finished / "metrics.jsonl").read_text().splitlines()
    metrics = [json.loads(line) for line in lines]
    last, best = (load_checkpoint(finished / name) for name in ("last.pt", "best.pt"))
    top = max(metrics, key=lambda one: (one["val_top1"], -one["val_loss"]))

    assert [one["epoch"] for one in metrics] == [1, 2, 3]
    assert all(0 <= one["val_top1"] <= 1 for one in metrics)
    assert metrics == [vars(one) for one in last.history]
    assert last.best is not None
    assert best.best == last.best
    assert (last.position.epoch, best.position.epoch, vars(last.best)) == (3, top["epoch"], top)


def test_a_checkpoint_says_where_everything_came_from(finished: Path, data: Path) -> None:
    """Labels, arguments, pictures, weights and versions are in the checkpoint."""
    best = load_checkpoint(finished / "best.pt")

    assert best.labels == ["circle", "square"]
    assert best.arguments["data"] == str(data)
    assert best.data["pictures"]["val"] == {"circle": 2, "square": 2}
    assert best.weights == {"what": "none"}
    assert best.versions["torch"] == torch.__version__


@quick
def test_the_last_line_is_the_best_checkpoint(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Stdout has the path of best.pt and nothing else; the epoch's line is on stderr."""
    assert main(random_start(data, tmp_path, "--epochs", "1")) == 0

    captured = capsys.readouterr()
    (line,) = captured.out.splitlines()
    assert Path(line).is_file()
    assert Path(line).name == "best.pt"
    assert Path(line).parent.parent == tmp_path
    assert "\nnothing frozen, new views in every epoch, 1 epoch(s), " in captured.err
    assert "epoch 1/1  train loss " in captured.err
    assert "pictures/s" in captured.err


@quick
def test_the_end_is_measured_on_test_pictures(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was missed, because it was interrupted there, is made up for when the run goes on."""
    more = shutil.copytree(data, tmp_path / "data")
    shutil.copytree(more / "val", more / "test")
    run = train(*random_start(more, tmp_path / "runs", "--epochs", "1"))
    assert "in test and in train or val, 4 time(s)" in (err := capsys.readouterr().err)
    assert "\ntest: " in err
    (run / "test.json").unlink()
    assert train("-c", run / "last.pt") == run

    assert json.loads((run / "test.json").read_text())["pictures"] == 4


@quick
def test_a_seed_makes_a_run_repeatable(finished: Path, data: Path, tmp_path: Path) -> None:
    """The same seed gives the same weights and metrics, bit for bit; another seed does not."""
    same, other = (
        train(*random_start(data, tmp_path, "--epochs", "3", "--seed", seed)) for seed in "01"
    )

    assert_same_run(finished, same)
    with pytest.raises(AssertionError):
        assert_same_run(finished, other)


def test_help_loads_no_torch() -> None:
    """`--help` answers before anything heavy is loaded."""
    script = (
        "import sys, train\n"
        "try: train.main(['--help'])\n"
        "except SystemExit as end: print(end.code, 'torch' in sys.modules)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )

    assert run.stdout.splitlines()[-1] == "0 False"


@pytest.mark.parametrize(
    "arguments",
    [
        ("--epochs", "0"),
        ("--epochs", "2.5"),
        ("--batch-size", "1"),
        ("--lr", "0"),
        ("--lr", "-1"),
        ("--lr", "inf"),
        ("--lr", "nan"),
        ("--seed", "-1"),
        ("--seed", "9" * 30),
        ("--size", "64"),
        ("--size", "480"),
        ("--size", "200"),
        ("--arch", "vgg16"),
        ("--bento", "maybe"),
        ("--colour",),
    ],
)
def test_wrong_usage_is_exit_code_2(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """A value out of its range names its flag."""
    with pytest.raises(SystemExit) as end:
        main(arguments)

    captured = capsys.readouterr()
    assert end.value.code == 2
    assert arguments[0] in captured.err.splitlines()[-1]
    assert captured.out == ""


def test_missing_data_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without pictures the one line says how to get some, and no run is left behind."""
    monkeypatch.chdir(tmp_path)

    assert main(["--weights", "none"]) == 1

    captured = capsys.readouterr()
    assert_one_line(captured.err, "no pictures in data", "sh get_data.sh data")
    assert captured.out == ""
    assert list(tmp_path.iterdir()) == []


def test_without_network_the_two_ways_out_are_named_quickly(
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """ImageNet weights that cannot be downloaded: one line, no half-file, no run left behind."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    for name in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setattr(urllib.request, "_opener", None)  # which remembers proxies
    began = time.monotonic()

    assert main(["--data", str(data), "--out", str(tmp_path / "out")]) == 1

    assert_one_line(capsys.readouterr().err, "--weights none", "--weights FILE")
    assert time.monotonic() - began < 30
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--device", "toaster"], ["device", "toaster", "cpu"]),
        (["--device", "cuda:99"], ["device", "cuda:99", "cpu"]),
        (["--weights", "nothing.pth"], ["no file nothing.pth"]),
        (["-c", "nothing.pt"], ["no file nothing.pt"]),
        (["--out", "/dev/null"], ["/dev/null", "cannot be made"]),
    ],
)
def test_a_users_mistake_is_one_line(
    data: Path,
    tmp_path: Path,
    arguments: list[str],
    words: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A device, a file or a folder that cannot be used: exit code 1 and one line that names it."""
    start = ["--data", str(data)] if "-c" in arguments else random_start(data, tmp_path / "out")

    assert main([*start, *arguments]) == 1

    assert_one_line(capsys.readouterr().err, *words)
    assert not (tmp_path / "out").exists()


@quick
def test_a_full_disk_leaves_the_last_checkpoint(
    finished: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A checkpoint that does not fit on the disk is one line; the one before it still loads."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    most = (finished / "last.pt").stat().st_size * 3 // 4  # the first state fits, but not momentum
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
    try:
        assert main(random_start(data, tmp_path)) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert_one_line(capsys.readouterr().err, "best.pt could not be written", "intact")
    (folder,) = tmp_path.iterdir()
    assert sorted(path.name for path in folder.iterdir()) == [
        "last.pt", "last.pt.sha256", "metrics.jsonl",
    ]  # fmt: skip
    assert load_checkpoint(folder / "last.pt").position.epoch == 0


@quick
def test_a_run_keeps_how_its_pictures_were_divided(tmp_path: Path) -> None:
    """The share is in the checkpoint, as is what it came to; going on, it need not be said."""
    data = fill(tmp_path / "data", {"ant": 8, "bee": 8})
    run = train(*random_start(data, tmp_path / "out", *SHARE))

    best = load_checkpoint(run / "best.pt")
    assert (best.arguments["val_fraction"], best.arguments["seed"]) == (0.25, 3)
    assert best.data == check_pictures(data, 0.25, 3).provenance
    assert best.data["pictures"] == {"train": {"ant": 6, "bee": 6}, "val": {"ant": 2, "bee": 2}}
    assert train("-c", run / "last.pt") == run
    assert train("-c", run / "last.pt", "--val-fraction", "0.25") == run
    with pytest.raises(SystemExit, match="2"):
        main(["-c", str(run / "last.pt"), "--val-fraction", "0.5"])


def test_more_epochs_have_a_way(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever wants a run to go on after its end is told how."""
    with pytest.raises(SystemExit, match="2"):
        main(["-c", str(finished / "last.pt"), "--epochs", "5"])

    error = capsys.readouterr().err
    best = load_checkpoint(finished / "best.pt")
    assert f"To train longer: --weights {finished / 'best.pt'} --epochs 5 --data " in error
    assert f" --data {best.arguments['data']} --freeze none " in error
    assert error.endswith(", without -c\n")


def test_a_folder_val_contradicts_a_share(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Asked to divide what is divided already, the command fails with one line and no folder."""
    assert main(random_start(data, tmp_path / "out", *SHARE)) == 1

    assert_one_line(capsys.readouterr().err, "has a folder val")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("share", ["0", "1", "-0.2", "20", "nan", "a fifth"])
def test_a_share_is_between_nothing_and_all(share: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A share that leaves one side empty, or is no number, is wrong usage."""
    with pytest.raises(SystemExit) as end:
        main([f"--val-fraction={share}"])

    assert end.value.code == 2
    assert "--val-fraction" in capsys.readouterr().err.splitlines()[-1]
