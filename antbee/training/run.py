"""A run: epochs of training and validation, saved so that it can stop anywhere and go on."""

import dataclasses
import platform
import shutil
import time
from concurrent.futures import Executor
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from antbee.ahead import open_pool
from antbee.command import say
from antbee.errors import DataError
from antbee.files import remove_temporaries
from antbee.training.batches import count_batches, shuffle, train_batches, val_batches
from antbee.training.checkpoint import (
    Checkpoint,
    Metrics,
    Position,
    load_checkpoint,
    save_checkpoint,
)
from antbee.training.data import Pictures, describe_change
from antbee.training.device import choose_precision
from antbee.training.folder import BEST, LAST, locked, make_folder, write_metrics
from antbee.training.interrupt import Stop
from antbee.training.loop import Learner, LearnerState
from antbee.training.model import build_model
from antbee.training.progress import Bar
from antbee.training.weights import load_weights


class Run:
    """Training from a checkpoint on; a new run is one that goes on from its beginning.

    Args:
        folder: of the run; files are saved there.
        checkpoint: the state to go on from.
        pictures: those that the checkpoint was made with.
        device: where to train.
    """

    def __init__(
        self, folder: Path, checkpoint: Checkpoint, pictures: Pictures, device: torch.device
    ) -> None:
        self.folder = folder
        self.position = checkpoint.position
        self.best = checkpoint.best
        self.history = checkpoint.history
        # Without the tensors, which are the learner's from here on.
        self._start = dataclasses.replace(checkpoint, model={}, optimizer={}, scheduler={})
        self._pictures = pictures
        self._epochs: int = checkpoint.arguments["epochs"]
        self._batch_size: int = checkpoint.arguments["batch_size"]
        self._seed: int = checkpoint.arguments["seed"]
        self._learner = make_learner(checkpoint.arguments, pictures, device, checkpoint.precision)
        self._learner.restore(
            LearnerState(
                model=checkpoint.model,
                optimizer=checkpoint.optimizer,
                scheduler=checkpoint.scheduler,
            )
        )
        torch.set_rng_state(checkpoint.generators["torch"])
        _use_threads(checkpoint.threads)

    @property
    def device(self) -> torch.device:
        """Where it trains."""
        return self._learner.device

    @property
    def best_file(self) -> Path:
        """The checkpoint of the best epoch, once there is one."""
        return self.folder / BEST

    def train(self, stop: Stop) -> None:
        """Train to the last epoch.

        Raises:
            KeyboardInterrupt: `stop` was requested; `last.pt` has the position.
            CheckpointError: another process trains in the folder, or a checkpoint could not be
                saved.
            DataError: a picture can no longer be read.
        """
        if self.position.epoch == self._epochs:
            say(f"the run is complete: {self._epochs} epochs")
        with locked(self.folder):
            remove_temporaries(self.folder)
            write_metrics(self.folder, self.history)
            try:
                self._train_epochs(stop)
            except KeyboardInterrupt:
                self.save(LAST)
                say(f"saved; to go on: python train.py -c {self.folder / LAST}")
                raise

    def save(self, name: str) -> None:
        """Write the state of this moment."""
        checkpoint = dataclasses.replace(
            self._start,
            **self._learner.state(),
            generators={"torch": torch.get_rng_state()},
            position=self.position,
            best=self.best,
            history=self.history,
        )
        save_checkpoint(self.folder / name, checkpoint)

    def _train_epochs(self, stop: Stop) -> None:
        with open_pool() as pool:
            while self.position.epoch < self._epochs:
                self._train_epoch(pool, stop)
                self._end_epoch(*self._validate(pool, stop))

    def _train_epoch(self, pool: Executor, stop: Stop) -> None:
        place, pictures = self.position, self._pictures.train
        key = (self._seed, place.epoch)
        left = shuffle(len(pictures), self._batch_size, key)[place.step :]
        with Bar(self._title("train"), len(pictures), done=place.pictures) as bar:
            before = time.perf_counter()
            for batch in train_batches(pool, pictures, left, key):
                stop.check()
                loss = self._learner.train(batch)
                before, seconds = time.perf_counter(), time.perf_counter() - before
                place.add(len(batch[1]), loss, seconds)
                bar.set_postfix(loss=f"{place.loss_sum / place.pictures:.3f}", refresh=False)
                bar.update(len(batch[1]))

    def _validate(self, pool: Executor, stop: Stop) -> tuple[float, float, float]:
        """Return the mean loss, the share that is right, and the seconds that it took."""
        pictures, began = self._pictures.val, time.perf_counter()
        loss_sum, right = 0.0, 0
        with Bar(self._title("validate"), len(pictures)) as bar:
            for batch in val_batches(pool, pictures, self._batch_size):
                stop.check()
                loss, hits = self._learner.validate(batch)
                loss_sum, right = loss_sum + loss, right + hits
                bar.update(len(batch[1]))
        seconds = time.perf_counter() - began
        return loss_sum / len(pictures), right / len(pictures), seconds

    def _end_epoch(self, val_loss: float, val_top1: float, val_seconds: float) -> None:
        place = self.position
        metrics = Metrics(
            epoch=place.epoch + 1,
            train_loss=place.loss_sum / place.pictures,
            val_loss=val_loss,
            val_top1=val_top1,
            seconds=place.seconds + val_seconds,
            pictures_per_second=place.pictures / place.seconds,
        )
        self.history = [*self.history, metrics]
        self.position = Position(epoch=metrics.epoch)
        improved = self.best is None or is_better(metrics, self.best)
        if improved:
            self.best = metrics
            # First, because a run that goes on from last.pt does not come by this epoch again.
            self.save(BEST)
        self.save(LAST)
        write_metrics(self.folder, self.history)
        say(describe(metrics, self._epochs) + ("  best" if improved else ""))

    def _title(self, what: str) -> str:
        return f"epoch {self.position.epoch + 1}/{self._epochs} {what}"


def begin_run(
    out: Path, arguments: dict[str, Any], pictures: Pictures, device: torch.device
) -> Run:
    """Begin a run in a new folder of `out`, its first state saved.

    Args:
        out: the folder of all runs.
        arguments: `arch`, `weights`, `epochs`, `batch_size`, `lr` and `seed` are used.
        pictures: to train on.
        device: where to train.

    Raises:
        CheckpointError: the weights cannot be had, or nothing can be saved.
    """
    checkpoint = _first_checkpoint(arguments, pictures, choose_precision(device))
    folder = make_folder(out, arguments["arch"])
    try:
        run = Run(folder, checkpoint, pictures, device)
        run.save(LAST)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)  # a run without a state is no run
        raise
    return run


def resume_run(
    path: Path,
    checkpoint: Checkpoint,
    arguments: dict[str, Any],
    pictures: Pictures,
    device: torch.device,
) -> Run:
    """Go on from a checkpoint, in its own folder.

    Args:
        path: of the checkpoint.
        checkpoint: what it holds.
        arguments: those of the checkpoint, but for `data` and `device`.
        pictures: the same as when the run began.
        device: where to train.

    Raises:
        CheckpointError: the best epoch's file is gone or damaged.
        DataError: the pictures are not those that the run began with.
    """
    if change := describe_change(checkpoint.data, pictures.provenance):
        raise DataError(
            f"the pictures changed since the run began: {change}; "
            "put them back, or begin another run without -c"
        )
    folder = path.parent
    if checkpoint.best:
        load_checkpoint(folder / BEST)
    return Run(folder, dataclasses.replace(checkpoint, arguments=arguments), pictures, device)


def make_learner(
    arguments: dict[str, Any], pictures: Pictures, device: torch.device, precision: str
) -> Learner:
    """Build an architecture with random weights, and what trains it through all its epochs."""
    steps = arguments["epochs"] * count_batches(len(pictures.train), arguments["batch_size"])
    model = build_model(arguments["arch"], len(pictures.labels))
    return Learner(model, device, precision=precision, learning_rate=arguments["lr"], steps=steps)


def is_better(metrics: Metrics, best: Metrics) -> bool:
    """Compare two epochs by top-1 accuracy, then by loss."""
    return (metrics.val_top1, -metrics.val_loss) > (best.val_top1, -best.val_loss)


def describe(metrics: Metrics, epochs: int) -> str:
    """Say in a line what an epoch came to."""
    return (
        f"epoch {metrics.epoch:{len(str(epochs))}}/{epochs}"
        f"  train loss {metrics.train_loss:.3f}  val loss {metrics.val_loss:.3f}"
        f"  top-1 {metrics.val_top1:6.1%}  {metrics.pictures_per_second:.0f} pictures/s"
        f"  {metrics.seconds:.1f} s"
    )


def _use_threads(count: int) -> None:
    if count != torch.get_num_threads():
        say(f"computing on {count} CPU threads, as the run began, so that its sums come out alike")
    torch.set_num_threads(count)


def _versions() -> dict[str, str]:
    named = {"python": platform.python_version(), "torch": str(torch.__version__)}
    return named | {name: version(name) for name in ("torchvision", "numpy", "pillow")}


def _first_checkpoint(arguments: dict[str, Any], pictures: Pictures, precision: str) -> Checkpoint:
    torch.manual_seed(arguments["seed"])
    learner = make_learner(arguments, pictures, torch.device("cpu"), precision)
    weights = load_weights(learner.model, arguments["arch"], arguments["weights"])
    return Checkpoint(
        arch=arguments["arch"],
        labels=pictures.labels,
        **learner.state(),
        generators={"torch": torch.get_rng_state()},
        threads=torch.get_num_threads(),
        precision=precision,
        position=Position(),
        best=None,
        history=[],
        arguments=arguments,
        data=pictures.provenance,
        weights=weights,
        versions=_versions(),
    )
