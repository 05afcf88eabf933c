"""A run, and going on with it after an interruption: the same end, bit for bit."""

import shutil
import signal
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

import pytest
import torch

from antbee.errors import CheckpointError, DataError, SettingsError
from antbee.training import run as module
from antbee.training.arguments import DEFAULTS
from antbee.training.check import check_pictures
from antbee.training.checkpoint import Metrics, load_checkpoint, write_checkpoint
from antbee.training.data import Pictures
from antbee.training.distributed import ProcessGroup
from antbee.training.folder import locked
from antbee.training.run import Run, begin_run, resume_run
from antbee.training.terminal import Stop
from tests.training.conftest import (
    ENVIRONMENT,
    assert_one_line,
    assert_same_run,
    make_data,
    random_start,
    train,
    train_command,
)
from train import main

CPU = torch.device("cpu")

quick = pytest.mark.usefixtures("tiny", "no_report")


class StopAfter(Stop):
    """Is asked to stop when a run has looked for it so often: once a step, of either kind."""

    def __init__(self, looks: int) -> None:
        self._left = looks
        super().__init__()

    @property
    def requested(self) -> bool:
        """Count a look."""
        self._left -= 1
        return self._left <= 0

    @requested.setter
    def requested(self, _: bool) -> None:
        """Nobody else asks for it."""


def train_with_stops(
    run: Run, pictures: Pictures, stops: Iterable[int]
) -> tuple[Run, list[tuple[int, int]]]:
    """Train to the end, stopped at each of these looks; tell at which epoch and step that was."""
    places = []
    for looks in stops:
        with pytest.raises(KeyboardInterrupt):
            run.train(StopAfter(looks))
        last = load_checkpoint(run.folder / "last.pt")
        places.append((last.position.epoch, last.position.step))
        run = resume_run(run.folder / "last.pt", last, pictures, CPU)
    run.train(Stop())
    return run, places


@quick
def test_a_run_can_stop_after_any_batch(finished: Path, data: Path, tmp_path: Path) -> None:
    """Stopped again and again, in epochs and in validation, a run ends as if it never was."""
    pictures = check_pictures(data)
    arguments = load_checkpoint(finished / "last.pt").arguments
    run = begin_run(tmp_path, arguments, pictures, CPU)
    # It looks at three training steps and one of validation an epoch.
    run, places = train_with_stops(run, pictures, (1, 2, 1, 2, 1, 3))

    assert places == [(0, 1), (0, 3), (0, 3), (1, 1), (1, 2), (2, 1)]
    assert_same_run(finished, run.folder)


@quick
def test_a_frozen_run_can_stop_in_its_views(finished: Path, data: Path, tmp_path: Path) -> None:
    """Stopped while the frozen part makes its views, and after, a run ends as if it never was."""
    pictures = check_pictures(data)
    frozen = {"weights": str(finished / "best.pt"), "epochs": 3, "batch_size": 4}
    whole = begin_run(tmp_path / "whole", DEFAULTS | frozen, pictures, CPU)
    whole.train(Stop())
    run = begin_run(tmp_path / "stopped", DEFAULTS | frozen, pictures, CPU)
    # It looks at one group of a view, three training steps and one of validation.
    run, places = train_with_stops(run, pictures, (1, 3, 4))

    assert "frozen as far as layer3, 3 views of each picture" in run.summary
    assert places == [(0, 0), (0, 2), (1, 0)]
    assert_same_run(whole.folder, run.folder)


@quick
@pytest.mark.parametrize("name", ["best.pt", "last.pt"])
def test_a_run_can_go_on_from_the_end_of_an_epoch(
    finished: Path, data: Path, tmp_path: Path, name: str
) -> None:
    """From either file of a run whose first epoch has ended, in its own folder."""
    pictures = check_pictures(data)
    arguments = load_checkpoint(finished / "last.pt").arguments
    begun = begin_run(tmp_path, arguments, pictures, CPU)
    with pytest.raises(KeyboardInterrupt):
        begun.train(StopAfter(5))

    assert train("-c", begun.folder / name) == begun.folder

    assert_same_run(finished, begun.folder)


@quick
def test_an_earlier_state_replaces_a_later_one(copied: Path, finished: Path) -> None:
    """Going on from best.pt of a finished run repeats the later epochs; no line is there twice."""
    train("-c", copied / "best.pt")

    assert_same_run(finished, copied)


@pytest.mark.usefixtures("no_report")
def test_an_interrupted_and_a_killed_process_lose_nothing(
    resnet18_run: Path, data: Path, tmp_path: Path
) -> None:
    """SIGINT: exit code 130, a state, the command to type; SIGKILL: the state; and the same end."""
    process = start(*random_start(data, tmp_path, "--epochs", "2"))
    process.send_signal(signal.SIGINT)
    _, said = process.communicate()

    (folder,) = tmp_path.iterdir()
    assert process.returncode == 130
    assert f"python train.py -c {folder / 'last.pt'}" in said
    assert load_checkpoint(folder / "last.pt").position.epoch < 2

    process = start("-c", folder / "last.pt")
    time.sleep(0.5)
    process.kill()
    process.communicate()
    (folder / "best.pt.tmp").touch()  # as if it had been writing

    train("-c", folder / "last.pt")
    assert not (folder / "best.pt.tmp").exists()
    assert_same_run(resnet18_run, folder)


def test_a_second_ctrl_c_ends_at_once(data: Path, tmp_path: Path) -> None:
    """Two signals in a row: exit code 130, and what was saved before still loads."""
    process = start(*random_start(data, tmp_path))
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(0.05)

    process.communicate()

    (folder,) = tmp_path.iterdir()
    assert process.returncode == 130
    assert load_checkpoint(folder / "last.pt").arch == "resnet18"


@quick
def test_a_complete_run_says_so(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """There is nothing to do, which is no error."""
    code = main(["-c", str(copied / "last.pt")])

    captured = capsys.readouterr()
    assert (code, captured.out) == (0, f"{copied / 'best.pt'}\n")
    assert "complete" in captured.err


@quick
@pytest.mark.parametrize(
    "contradiction",
    [
        ("--arch", "resnet34"),
        ("--weights", "imagenet"),
        ("--epochs", "4"),
        ("--batch-size", "8"),
        ("--lr", "0.5"),
        ("--seed", "1"),
        ("--out", "elsewhere"),
        ("--val-fraction", "0.5"),
        ("--size", "96"),
        ("--balance",),
    ],
)
def test_a_contradiction_is_wrong_usage(
    finished: Path, contradiction: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """A flag that the run was begun without is refused by name."""
    with pytest.raises(SystemExit) as end:
        main(["-c", str(finished / "last.pt"), *contradiction])

    assert end.value.code == 2
    assert f"{contradiction[0]} contradicts -c" in capsys.readouterr().err


@quick
def test_a_small_balanced_run_can_stop_after_any_batch(
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Size and weights come back from the checkpoint, and the run ends as if it never stopped."""
    shutil.copytree(data, tmp_path / "data")
    for number in range(5):
        (tmp_path / f"data/train/square/{number}.jpg").unlink()
    pictures = check_pictures(tmp_path / "data")
    # On a busy machine two runs may find another one faster.
    monkeypatch.setattr(module, "choose_precision", lambda _: "float32")
    options = {"weights": "none", "epochs": 2, "batch_size": 4, "size": 96, "balance": True}
    whole = begin_run(tmp_path / "whole", DEFAULTS | options, pictures, CPU)
    whole.train(Stop())
    run = begin_run(tmp_path / "stopped", DEFAULTS | options, pictures, CPU)
    # It looks at two training steps and one of validation an epoch.
    run, places = train_with_stops(run, pictures, (1, 3))

    assert places == [(0, 1), (1, 1)]
    assert "labels weighed alike" in run.summary
    assert_same_run(whole.folder, run.folder)
    assert "  balanced  50.0%  " in capsys.readouterr().err
    for option, said in (
        (["--no-balance"], "--no-balance contradicts -c: the run was begun with --balance; "),
        (["--epochs", "5"], " --freeze none --size 96 --balance --batch-size 4, without -c\n"),
    ):
        with pytest.raises(SystemExit):
            main(["-c", str(run.folder / "last.pt"), *option])
        assert said in capsys.readouterr().err


@quick
def test_flags_that_agree_are_no_contradiction(copied: Path) -> None:
    """What the run was begun with may be said again."""
    same = ["--arch", "resnet18", "--epochs", "3", "--seed", "0", "--out", str(copied.parent)]

    assert train("-c", copied / "last.pt", *same) == copied


@quick
def test_the_pictures_may_move_but_not_change(copied: Path, data: Path, tmp_path: Path) -> None:
    """`--data` names the same pictures elsewhere; a picture less is an error that says where."""
    elsewhere = shutil.copytree(data, tmp_path / "elsewhere")
    assert train("-c", copied / "last.pt", "--data", elsewhere) == copied
    (elsewhere / "val/circle/0.jpg").unlink()
    last = load_checkpoint(copied / "last.pt")

    with pytest.raises(DataError, match=r"val/circle \(2 pictures then, 1 now\)"):
        resume_run(copied / "last.pt", last, check_pictures(elsewhere), CPU)


@quick
def test_the_best_epoch_must_be_there(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run whose best.pt is gone cannot end with it."""
    (copied / "best.pt").unlink()

    assert main(["-c", str(copied / "last.pt")]) == 1

    assert_one_line(capsys.readouterr().err, f"no file {copied / 'best.pt'}")


@quick
def test_only_one_process_trains_in_a_folder(
    copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """While a run goes on, going on with it again is refused."""
    with locked(copied):
        assert main(["-c", str(copied / "last.pt")]) == 1

    assert_one_line(capsys.readouterr().err, f"another process is training in {copied}")


@quick
@pytest.mark.parametrize(("patience", "epochs"), [(1, 2), (None, 3)])
def test_a_run_stops_when_nothing_gets_better(
    patience: int | None, epochs: int, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the first epoch stays the best, so many more are trained, also by a run resumed."""
    monkeypatch.setattr(module, "is_better", lambda *_, **__: False)
    given = {"weights": "none", "epochs": 3, "batch_size": 4, "patience": patience}
    pictures = check_pictures(data)
    run = begin_run(tmp_path, DEFAULTS | given, pictures, CPU)

    run.train(Stop())

    last = load_checkpoint(run.folder / "last.pt")
    resume_run(run.folder / "last.pt", last, pictures, CPU).train(Stop())
    assert len((run.folder / "metrics.jsonl").read_text().splitlines()) == epochs
    assert last.best == last.history[0]


@quick
@pytest.mark.parametrize("epochs", ["1", "3"])
def test_a_checkpoint_that_cannot_be_written_ends_the_run(
    epochs: str,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In one line, after the last epoch or in between, though another thread writes it."""

    def fail(_: memoryview, *paths: Path) -> None:
        raise CheckpointError(f"{paths[0].name} could not be written (No space left on device)")

    monkeypatch.setattr(module, "write_checkpoint", fail)
    given = ["--data", str(data), "--out", str(tmp_path), "--weights", "none", "--epochs", epochs]

    assert main([*given, "--batch-size", "4", "--bento", "no"]) == 1

    said = capsys.readouterr()
    assert said.err.splitlines()[-1].startswith("error: best.pt could not be written (No space")
    assert said.out == ""


@quick
def test_a_failure_to_save_is_said_after_ctrl_c_too(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever stops a run learns that its state could not be saved, and where it goes on."""

    def fail(_: memoryview, *paths: Path) -> None:
        raise CheckpointError(f"{paths[0].name} could not be written (No space left on device)")

    monkeypatch.setattr(module, "write_checkpoint", fail)
    arguments = DEFAULTS | {"weights": "none", "batch_size": 4}
    run = begin_run(tmp_path, arguments, check_pictures(data), CPU)

    with pytest.raises(CheckpointError):
        run.train(StopAfter(1))

    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("not saved: last.pt could not be written (No space left on device); ")
    assert said.endswith(f"to go on: python train.py -c {run.folder / 'last.pt'}")


@quick
def test_a_run_does_not_train_on_without_a_checkpoint(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What could not be written ends the run after the batch, and not after the next epoch."""

    def fail(*_: object) -> None:
        raise CheckpointError("best.pt could not be written")

    monkeypatch.setattr(module, "write_checkpoint", fail)
    arguments = DEFAULTS | {"weights": "none", "batch_size": 2, "epochs": 2}
    run = begin_run(tmp_path, arguments, check_pictures(data), CPU)

    with pytest.raises(CheckpointError, match=r"best\.pt could not be written"):
        run.train(Stop())

    assert run.position.epoch == 1
    assert run.position.step < 6


@quick
def test_a_run_stopped_while_its_last_epoch_is_written_says_how_to_go_on(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All epochs are saved, and with the command that is named the report is made up for."""
    stop = Stop()

    def interrupt(contents: memoryview, *paths: Path) -> None:
        stop.requested = True
        write_checkpoint(contents, *paths)

    monkeypatch.setattr(module, "write_checkpoint", interrupt)
    arguments = DEFAULTS | {"weights": "none", "batch_size": 4, "epochs": 1}
    run = begin_run(tmp_path, arguments, check_pictures(data), CPU)

    with pytest.raises(KeyboardInterrupt):
        run.train(stop)

    last = run.folder / "last.pt"
    assert capsys.readouterr().err.endswith(f"saved; to go on: python train.py -c {last}\n")
    assert load_checkpoint(last).position.epoch == 1
    assert load_checkpoint(run.folder / "best.pt").position.epoch == 1


@quick
def test_a_folder_that_cannot_be_written_to_is_one_line(
    copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file in the way that cannot be deleted, as nothing can where a disk is read-only."""
    (copied / "metrics.jsonl.tmp").mkdir()

    assert main(["-c", str(copied / "last.pt")]) == 1

    assert_one_line(capsys.readouterr().err, "metrics.jsonl could not be written: Is a directory")


def test_better_is_more_right_or_as_many_with_less_loss() -> None:
    """Top-1 decides, or where labels weigh alike its mean over them; then the loss."""
    best = Metrics(1, 1.0, 0.5, 0.8, 1.0, 1.0, val_balanced=0.7)

    assert module.is_better(Metrics(2, 1.0, 0.9, 0.9, 1.0, 1.0), best)
    assert module.is_better(Metrics(2, 1.0, 0.4, 0.8, 1.0, 1.0), best)
    assert not module.is_better(Metrics(2, 1.0, 0.5, 0.8, 1.0, 1.0), best)
    assert not module.is_better(Metrics(2, 1.0, 0.1, 0.7, 1.0, 1.0), best)
    rarer = Metrics(2, 1.0, 0.9, 0.7, 1.0, 1.0, val_balanced=0.8)
    assert module.is_better(rarer, best, balance=True)
    assert not module.is_better(best, rarer, balance=True)


def test_a_batch_that_cannot_be_shared_is_refused(data: Path, tmp_path: Path) -> None:
    """More processes than pictures in a batch: an error that says what to do, and no folder."""
    arguments = DEFAULTS | {"weights": "none", "batch_size": 2}
    three = ProcessGroup(0, 3, 3)

    with pytest.raises(SettingsError, match=r"shared by 3 processes: give a larger --batch-size"):
        begin_run(tmp_path / "out", arguments, check_pictures(data), CPU, three)

    assert not (tmp_path / "out").exists()


def test_every_machine_needs_the_same_pictures(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whose pictures are not the main process's says which."""
    others = check_pictures(make_data(tmp_path / "other", train=5))
    main_s = (others.labels, others.provenance)
    monkeypatch.setattr(ProcessGroup, "broadcast_object", lambda *_: main_s)
    second = ProcessGroup(1, 2, 1)

    with pytest.raises(DataError, match=r"not those of the first process: train/circle \(5"):
        begin_run(tmp_path / "out", DEFAULTS, check_pictures(data), CPU, second)


@quick
def test_labels_keep_their_numbers_however_they_are_spelt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What another system spells and sorts otherwise is the same label to a run and to a group."""
    data = make_data(tmp_path / "data", labels=("A\u0308pfel", "Birnen"))
    arguments = DEFAULTS | {"weights": "none", "batch_size": 4, "epochs": 1}
    begun = begin_run(tmp_path / "out", arguments, check_pictures(data), CPU)
    last, first = load_checkpoint(begun.folder / "last.pt"), begun.pictures
    for split in ("train", "val"):
        (data / split / "A\u0308pfel").rename(data / split / "\xc4pfel")
    pictures = check_pictures(data)
    assert pictures.labels == ["Birnen", "\xc4pfel"]
    values = iter([(first.labels, first.provenance), ({"what": "none"}, "float32", 1)])
    monkeypatch.setattr(ProcessGroup, "broadcast_object", lambda *_: next(values))

    for run in (
        resume_run(begun.folder / "last.pt", last, pictures, CPU),
        begin_run(tmp_path / "out", arguments, pictures, CPU),
    ):
        for split in ("train", "val"):
            expected, actual = getattr(first, split), getattr(run.pictures, split)
            assert [one.label for one in actual] == [one.label for one in expected]
            assert [one.path.name for one in actual] == [one.path.name for one in expected]
            assert {one.path.parent.name for one in actual if one.label == 0} == {"\xc4pfel"}


def start(*arguments: str | Path) -> subprocess.Popen[str]:
    """Start a run in a process of its own, and return once it trains."""
    process = subprocess.Popen(
        train_command(*arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("training on "):
            break
    return process
