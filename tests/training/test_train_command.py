"""`train.py`: what it prints, what it leaves behind, and how it fails."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from antbee.training.checkpoint import load_checkpoint
from tests.conftest import REPOSITORY
from tests.training.conftest import measured, random_start, run_train, train_command, weights
from train import main


def assert_one_line(run: subprocess.CompletedProcess[str], *words: str) -> None:
    """Hold a failed run to exit code 1 and one line on stderr that has these words."""
    line = run.stderr.splitlines()[-1]
    assert run.returncode == 1
    assert line.startswith("error: ")
    assert "Traceback" not in run.stderr
    assert all(word in line for word in words), line
    assert run.stdout == ""


def test_the_folder_of_a_run_has_all_that_is_promised(finished: Path) -> None:
    """A finished run has its checkpoints with checksums, metrics and report, and nothing else."""
    assert sorted(path.name for path in finished.iterdir()) == [
        "best.pt", "best.pt.sha256", "confusion.png", "curves.png", "last.pt", "last.pt.sha256",
        "metrics.jsonl", "mistakes.png", "reliability.png", "report.html", "uncertain.png",
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
    assert (last.epoch, best.epoch, vars(last.best)) == (3, top["epoch"], top)


def test_a_checkpoint_says_where_everything_came_from(finished: Path, data: Path) -> None:
    """Labels, arguments, pictures, weights and versions are in the checkpoint."""
    best = load_checkpoint(finished / "best.pt")

    assert best.labels == ["circle", "square"]
    assert best.arguments["data"] == str(data)
    assert best.data["pictures"]["val"] == {"circle": 2, "square": 2}
    assert best.weights == {"what": "none"}
    assert best.versions["torch"] == torch.__version__


def test_the_last_line_is_the_best_checkpoint(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Stdout has the path of best.pt and nothing else; the epoch's line is on stderr."""
    arguments = random_start(data, tmp_path, "--epochs", "1")

    assert main(list(map(str, arguments))) == 0

    captured = capsys.readouterr()
    (line,) = captured.out.splitlines()
    assert Path(line).is_file()
    assert Path(line).name == "best.pt"
    assert Path(line).parent.parent == tmp_path
    assert "\nnothing frozen, new views in every epoch, 1 epoch(s), " in captured.err
    assert "epoch 1/1  train loss " in captured.err
    assert "pictures/s" in captured.err


def test_a_seed_makes_a_run_repeatable(finished: Path, data: Path, tmp_path: Path) -> None:
    """The same seed gives the same weights and metrics, bit for bit; another seed does not."""
    runs = {}
    for seed in ("0", "1"):
        run = run_train(*random_start(data, tmp_path, "--epochs", "3", "--seed", seed))
        runs[seed] = Path(run.stdout.splitlines()[-1]).parent

    assert weights(finished) == weights(runs["0"])
    assert measured(finished) == measured(runs["0"])
    assert weights(finished) != weights(runs["1"])


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


def test_missing_data_is_one_line(tmp_path: Path) -> None:
    """Without pictures the one line says how to get some, and no run is left behind."""
    run = run_train("--weights", "none", folder=tmp_path)

    assert_one_line(run, "no pictures in data", "sh get_data.sh data")
    assert list(tmp_path.iterdir()) == []


def test_without_network_the_two_ways_out_are_named_quickly(data: Path, tmp_path: Path) -> None:
    """ImageNet weights that cannot be downloaded: one line, no half-file, no run left behind."""
    environment = os.environ | {
        "TORCH_HOME": str(tmp_path / "cache"),
        "https_proxy": "http://127.0.0.1:9",
        "HTTPS_PROXY": "http://127.0.0.1:9",
    }
    began = time.monotonic()

    run = run_train("--data", data, "--out", tmp_path / "out", environment=environment)

    assert_one_line(run, "--weights none", "--weights FILE")
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
    start = ["--data", str(data), *arguments]
    if "-c" not in arguments:
        start = [*map(str, random_start(data, tmp_path / "out")), *arguments]

    code = main(start)

    line = capsys.readouterr().err.splitlines()[-1]
    assert code == 1
    assert line.startswith("error: ")
    assert all(word in line for word in words), line
    assert not (tmp_path / "out").exists()


def test_a_full_disk_leaves_the_last_checkpoint(data: Path, tmp_path: Path) -> None:
    """A checkpoint that does not fit on the disk is one line; the one before it still loads."""
    half = 70 * 2**20  # the first state fits; with the optimizer's it does not

    run = run_train(*random_start(data, tmp_path), largest_file=half)

    assert_one_line(run, "best.pt could not be written", "intact")
    (folder,) = tmp_path.iterdir()
    assert sorted(path.name for path in folder.iterdir()) == [
        "last.pt", "last.pt.sha256", "metrics.jsonl",
    ]  # fmt: skip
    assert load_checkpoint(folder / "last.pt").epoch == 0


def test_two_runs_of_one_second_have_folders_of_their_own(data: Path, tmp_path: Path) -> None:
    """Runs that begin together do not share a folder."""
    command = train_command(*random_start(data, tmp_path, "--epochs", "1"))
    runs = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]

    folders = {run.communicate()[0].strip() for run in runs}

    assert len(folders) == 2
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_before_training_is_exit_code_130(
    data: Path, tmp_path: Path, number: signal.Signals
) -> None:
    """While torch loads and the pictures are checked, a signal ends the command in one line."""
    many = shutil.copytree(data, tmp_path / "data")
    for copy in range(300):
        shutil.copy(many / "train/circle/0.jpg", many / f"train/circle/copy{copy}.jpg")
    for delay in (0.5, 2.0):
        process = subprocess.Popen(
            train_command(*random_start(many, tmp_path / "out")), stderr=subprocess.PIPE, text=True
        )
        time.sleep(delay)
        process.send_signal(number)

        assert process.communicate()[1].splitlines()[-1] == "interrupted"
        assert process.returncode == 130
