"""A run: epochs of training and validation, saved so that it can stop anywhere and go on."""

import dataclasses
import shlex
import time
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch

from antbee.ahead import open_pool
from antbee.command import Bar, say
from antbee.files import remove_temporaries
from antbee.training.batches import count_batches
from antbee.training.checkpoint import (
    Checkpoint,
    Metrics,
    Position,
    save_checkpoint,
)
from antbee.training.data import Pictures
from antbee.training.feed import Feed, Plan
from antbee.training.folder import BEST, LAST, METRICS, locked, write_metrics
from antbee.training.loop import Learner, LearnerState, Recipe
from antbee.training.model import build_model
from antbee.training.team import ALONE, Team
from antbee.training.tensorboard import Curves
from antbee.training.terminal import Stop


class Run:
    """Training from a checkpoint on; a new run is one that goes on from its beginning.

    Args:
        folder: of the run; files are saved there.
        checkpoint: the state to go on from.
        pictures: those that the checkpoint was made with.
        device: where to train.
        team: with whom; the leader alone writes files.
    """

    def __init__(
        self,
        folder: Path,
        checkpoint: Checkpoint,
        pictures: Pictures,
        device: torch.device,
        team: Team = ALONE,
    ) -> None:
        self.folder = folder
        self.position = checkpoint.position
        self.best = checkpoint.best
        self.history = checkpoint.history
        # Without the tensors, which are the learner's from here on.
        self._start = dataclasses.replace(checkpoint, model={}, optimizer={}, scheduler={})
        self._pictures = pictures
        self._epochs: int = checkpoint.arguments["epochs"]
        self._patience: int | None = checkpoint.arguments["patience"]
        self._plan = Plan(
            checkpoint.arguments["seed"], checkpoint.arguments["batch_size"], checkpoint.views
        )
        model = build_model(checkpoint.arch, len(pictures.labels))
        recipe = make_recipe(checkpoint.arguments, pictures, checkpoint.precision)
        self._team = team
        self._curves: Curves | None = None
        self._learner = Learner(model, device, recipe, team)
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
    def summary(self) -> str:
        """How it trains, in a line: what was settled when it began."""
        frozen, views = self._start.arguments["freeze"], self._plan.views
        return ", ".join(
            [
                "nothing frozen" if frozen == "none" else f"frozen as far as {frozen}",
                f"{views} views of each picture" if views else "new views in every epoch",
                f"{self._epochs} epoch(s)",
                self._start.precision,
                f"{self._start.threads} thread(s)",
            ]
        )

    @property
    def device(self) -> torch.device:
        """Where it trains."""
        return self._learner.device

    @property
    def pictures(self) -> Pictures:
        """What it trains and validates on."""
        return self._pictures

    @property
    def best_file(self) -> Path:
        """The checkpoint of the best epoch, once there is one."""
        return self.folder / BEST

    def train(self, stop: Stop, *, tensorboard: bool = False) -> None:
        """Train to the last epoch.

        Args:
            stop: asks for a stop.
            tensorboard: whether to write the curves for TensorBoard, too.

        Raises:
            KeyboardInterrupt: `stop` was requested; `last.pt` has the position.
            CheckpointError: another process trains in the folder, or a checkpoint could not be
                saved.
            DataError: a picture can no longer be read.
            SettingsError: TensorBoard is not installed, or the loss is no longer a number.
        """
        if self.position.epoch == self._epochs:
            say(f"the run is complete: {self._epochs} epochs")
        with locked(self.folder) if self._team.leads else nullcontext():
            if self._team.leads:
                remove_temporaries(*(self.folder / name for name in (LAST, BEST, METRICS)))
                write_metrics(self.folder, self.history)
                self._curves = Curves(self.folder, self.history) if tensorboard else None
            try:
                self._train_epochs(stop)
            except KeyboardInterrupt:
                self.save(LAST)
                say(f"saved; to go on: {self._command()} -c {shlex.quote(str(self.folder / LAST))}")
                raise
            finally:
                if self._curves:
                    self._curves.close()

    def save(self, *names: str) -> None:
        """Write the state of this moment to files of these names."""
        if not self._team.leads:
            return
        checkpoint = dataclasses.replace(
            self._start,
            **self._learner.state(),
            generators={"torch": torch.get_rng_state()},
            position=self.position,
            best=self.best,
            history=self.history,
        )
        save_checkpoint(checkpoint, *(self.folder / name for name in names))

    def _train_epochs(self, stop: Stop) -> None:
        with open_pool() as pool:
            check = partial(self._check, stop)
            feed = Feed(self._learner, self._pictures, self._plan, pool, check)
            while self.position.epoch < self._epochs and not self._lost_patience():
                self._train_epoch(feed, stop)
                self._end_epoch(*self._validate(feed, stop))

    def _command(self) -> str:
        return "python train.py" if self._team.size == 1 else "as before, with torchrun, and"

    def _lost_patience(self) -> bool:
        if self._patience is None or self.best is None:
            return False
        lost = self.position.epoch - self.best.epoch >= self._patience
        if lost:
            say(f"stopping early: {self._patience} epochs were no better than {self.best.epoch}")
        return lost

    def _train_epoch(self, feed: Feed, stop: Stop) -> None:
        place, total = self.position, len(self._pictures.train)
        with Bar(self._title("train"), total, done=place.pictures) as bar:
            before = time.perf_counter()
            for batch, whole in feed.train(place.epoch, place.step):
                self._agree(stop)
                loss_sum = self._team.sum(self._learner.train(batch, whole))[0]
                before, seconds = time.perf_counter(), time.perf_counter() - before
                place.add(whole, loss_sum, seconds)
                bar.set_postfix(loss=f"{place.loss_sum / place.pictures:.3f}", refresh=False)
                bar.update(whole)

    def _validate(self, feed: Feed, stop: Stop) -> tuple[float, float, float]:
        """Return the mean loss, the share that is right, and the seconds that it took."""
        count, began = len(self._pictures.val), time.perf_counter()
        loss_sum, right = 0.0, 0.0
        with Bar(self._title("validate"), count) as bar:
            for batch in feed.val():
                self._check(stop)
                loss, hits = self._learner.validate(batch)
                loss_sum, right = loss_sum + loss, right + hits
                bar.update(len(batch[1]) * self._team.size)
        loss_sum, right = self._team.sum(loss_sum, right)
        return loss_sum / count, right / count, time.perf_counter() - began

    def _check(self, stop: Stop) -> None:
        # One process must not leave the others waiting, so a team stops between batches only.
        if self._team.size == 1:
            stop.check()

    def _agree(self, stop: Stop) -> None:
        self._check(stop)
        if self._team.sum(stop.requested)[0]:
            raise KeyboardInterrupt

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
        # The best first: a run that goes on from last.pt does not come by this epoch again.
        self.save(*([BEST, LAST] if improved else [LAST]))
        if self._team.leads:
            write_metrics(self.folder, self.history)
        if self._curves:
            self._curves.add(metrics)
        say(describe(metrics, self._epochs) + ("  best" if improved else ""))

    def _title(self, what: str) -> str:
        return f"epoch {self.position.epoch + 1}/{self._epochs} {what}"


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


def make_recipe(arguments: dict[str, Any], pictures: Pictures, precision: str) -> Recipe:
    """Gather what training depends on, through all its epochs."""
    steps = arguments["epochs"] * count_batches(len(pictures.train), arguments["batch_size"])
    return Recipe(arguments["lr"], steps, precision, arguments["freeze"])
