"""Several processes that train together, as torchrun starts them."""

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch

from antbee.training.checkpoint import load_checkpoint
from antbee.training.team import ALONE
from tests.conftest import REPOSITORY
from tests.training.conftest import LABELS, make_data, measured, random_start, weights

PAIR = [
    *(sys.executable, "-m", "torch.distributed.run"),
    *("--standalone", "--local-addr", "127.0.0.1", "--nproc-per-node", "2"),
]
ENVIRONMENT = {
    **os.environ,
    "OMP_NUM_THREADS": "1",
    "GLOO_SOCKET_IFNAME": "lo",
    "PYTHONPATH": str(REPOSITORY),
}


def launch(*command: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        list(map(str, command)),
        cwd=REPOSITORY,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Draw a data set for epochs of several batches."""
    return make_data(tmp_path_factory.mktemp("pictures") / "data", train=12, val=3)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    """Return the folder of a run of two processes that nothing interrupted."""
    out = tmp_path_factory.mktemp("finished")
    run = launch(*PAIR, "train.py", *random_start(data, out, "--epochs", "3"))
    assert run.returncode == 0, run.stderr
    return Path(run.stdout.strip()).parent


def test_two_processes_take_the_steps_of_one(tmp_path: Path) -> None:
    """Losses, weights and batch-norm statistics are those of one process with the same batches."""
    script = REPOSITORY / "tests/training/pair.py"
    alone = launch(sys.executable, script, tmp_path / "alone.pt")
    both = launch(*PAIR, script, tmp_path / "both.pt")
    assert (alone.returncode, both.returncode) == (0, 0), both.stderr

    expected, actual = (
        torch.load(tmp_path / name, weights_only=True) for name in ("alone.pt", "both.pt")
    )

    assert actual["losses"] == pytest.approx(expected["losses"], rel=1e-4)
    for name, tensor in expected["model"].items():
        assert torch.allclose(actual["model"][name].float(), tensor.float(), atol=1e-4), name


def test_one_of_them_speaks(finished: Path) -> None:
    """There is one run, with every epoch, of all the pictures."""
    last = load_checkpoint(finished / "last.pt")

    assert [path.name for path in finished.parent.iterdir()] == [finished.name]
    assert [line["epoch"] for line in measured(finished)] == [1, 2, 3]
    assert sum(last.data["pictures"]["train"].values()) == 12 * len(LABELS)


def test_a_killed_process_is_started_again(finished: Path, data: Path, tmp_path: Path) -> None:
    """The run goes on from its last checkpoint, in its folder, and ends as if nothing had been."""
    options = random_start(data, tmp_path, "--epochs", "3")
    command = [*PAIR, "--max-restarts", "2", "train.py", *map(str, options)]
    with subprocess.Popen(
        command, cwd=REPOSITORY, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as launcher:
        wait_for_epoch(tmp_path, 1, launcher)
        psutil.Process(launcher.pid).children()[-1].kill()
        out, said = launcher.communicate()

    assert launcher.returncode == 0, said.decode()
    run = Path(out.decode().strip()).parent
    assert [path.name for path in tmp_path.iterdir()] == [run.name]
    assert weights(run) == weights(finished)
    assert measured(run) == measured(finished)


def test_too_many_processes_for_a_batch(data: Path, tmp_path: Path) -> None:
    """A batch that cannot be shared is an error that says what to do, and leaves nothing."""
    options = ("--data", data, "--out", tmp_path, "--weights", "none", "--batch-size", "2")
    three = [*PAIR[:-1], "3"]

    run = launch(*three, "train.py", *options)

    assert run.returncode == 1
    assert "cannot be shared by 3 processes: give a larger --batch-size" in run.stderr
    assert list(tmp_path.iterdir()) == []


def test_every_machine_needs_the_same_pictures(data: Path, tmp_path: Path) -> None:
    """Whose pictures differ says so; who waits for it says that, and shows no traceback."""
    other = make_data(tmp_path / "other", train=11, val=3)
    options = list(map(str, random_start(data, tmp_path / "out")))
    script = tmp_path / "start.py"
    script.write_text(
        "import os, sys, train\n"
        f"options, folders = {options!r}, {[str(data), str(other)]!r}\n"
        "options[options.index('--data') + 1] = folders[int(os.environ['RANK'])]\n"
        "sys.exit(train.main(options))\n"
    )

    run = launch(*PAIR, script)

    assert run.returncode == 1
    assert "the pictures here are not those of the first process: train/circle (12" in run.stderr
    assert "gloo" not in run.stderr


def test_alone_everything_is_ones_own() -> None:
    """Without torchrun there is one process, which leads, and has all of everything."""
    assert ALONE.leads
    assert ALONE.share([1, 2, 3]) == [1, 2, 3]
    assert ALONE.sum(1.5, 2) == [1.5, 2]
    assert ALONE.least(3) == 3
    assert ALONE.give_bytes(b"state") == b"state"


def wait_for_epoch(out: Path, epoch: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until a run in the folder `out` has ended an epoch."""
    while process.poll() is None:
        lines = [path.read_text().count("\n") for path in out.glob("*/metrics.jsonl")]
        if max(lines, default=0) >= epoch:
            return
        time.sleep(0.01)
    raise AssertionError("the run has ended")
