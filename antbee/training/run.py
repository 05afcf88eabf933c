"""A run: epochs of training and validation, saved so that it can stop anywhere and go on."""

import dataclasses
import math
import platform
import shlex
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from importlib.metadata import version
from operator import add, attrgetter, truediv
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from antbee.ahead import open_pool
from antbee.command import progress_bar, say
from antbee.errors import CheckpointError, DataError, SettingsError
from antbee.files import remove_temporaries
from antbee.training.arguments import SCHEDULES
from antbee.training.batches import count_batches
from antbee.training.checkpoint import (
    Checkpoint,
    Metrics,
    Position,
    load_checkpoint,
    save_checkpoint,
    serialize,
    write_checkpoint,
)
from antbee.training.data import Picture, Pictures
from antbee.training.device import choose_precision
from antbee.training.distributed import SINGLE, ProcessGroup
from antbee.training.features import Features, count_views
from antbee.training.folder import (
    BEST,
    LAST,
    METRICS,
    locked,
    make_folder,
    remember_launch,
    write_metrics,
)
from antbee.training.learner import Hyperparameters, Learner, weigh_alike
from antbee.training.network import build_model, choose_stage, load_weights
from antbee.training.provenance import describe_change
from antbee.training.tensorboard import add_epoch, open_curves
from antbee.training.terminal import Stop


def begin_run(
    out: Path,
    arguments: dict[str, Any],
    pictures: Pictures,
    device: torch.device,
    group: ProcessGroup = SINGLE,
) -> "Run":
    """Begin a run in a new folder of `out`, its first state saved.

    The main process's folder, starting weights and precision are everybody's.

    Raises:
        CheckpointError: the weights cannot be had, or nothing can be saved.
        DataError: the main process has other pictures.
        SettingsError: the arguments do not go together.
    """
    _check_shares(arguments, pictures, group)
    labels, data = group.broadcast_object((pictures.labels, pictures.provenance))
    if change := describe_change(data, pictures.provenance):
        raise DataError(
            f"the pictures here are not those of the first process: {change}; "
            "give every machine the same"
        )
    pictures = pictures.respelt(labels)

    torch.manual_seed(arguments["seed"])
    model = build_model(arguments["arch"], len(pictures.labels))
    weights, precision, threads = group.broadcast_object(
        (
            load_weights(model, arguments["arch"], arguments["weights"]),
            choose_precision(device),
            torch.get_num_threads(),
        )
        if group.is_main
        else ({}, "", 0)
    )
    group.broadcast(model.state_dict().values())
    torch.set_num_threads(threads)
    freeze = choose_stage(arguments["freeze"], weights.get("missing"))
    given = {name: value for name, value in arguments.items() if value is not None}
    schedule = SCHEDULES["whole" if freeze == "none" else "frozen"]
    arguments = arguments | schedule | given | {"freeze": freeze}

    learner = Learner(model, device, make_hyperparameters(arguments, pictures, precision), group)
    views = count_views(
        learner.sample_features().nbytes,
        len(pictures.train),
        arguments["epochs"],
        group.local_size,
    )
    checkpoint = Checkpoint(
        arch=arguments["arch"],
        labels=pictures.labels,
        **learner.state(),
        generators={"torch": torch.get_rng_state()},
        threads=threads,
        precision=precision,
        views=int(group.min(views)),
        position=Position(),
        best=None,
        history=[],
        arguments=arguments,
        data=data,
        weights=weights,
        versions={
            "python": platform.python_version(),
            "torch": str(torch.__version__),
            **{name: version(name) for name in ("torchvision", "numpy", "pillow")},
        },
    )
    folder = out
    if group.is_main:
        folder = make_folder(out, checkpoint.arch)
        try:
            save_checkpoint(checkpoint, folder / LAST)
            remember_launch(folder)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)  # a run without a state is no run
            raise
    return Run(folder, checkpoint, learner, pictures)


def resume_run(
    path: Path,
    checkpoint: Checkpoint,
    pictures: Pictures,
    device: torch.device,
    group: ProcessGroup = SINGLE,
) -> "Run":
    """Go on from a checkpoint, which lies at `path`, in its own folder.

    Raises:
        CheckpointError: the best epoch's file is gone or damaged, or the checkpoint's parts are of
            different networks.
        DataError: the pictures are not those that the run began with.
        SettingsError: there are more processes than pictures in a batch.
    """
    if change := describe_change(checkpoint.data, pictures.provenance):
        raise DataError(
            f"the pictures changed since the run began: {change}; "
            "put them back, or begin another run without -c"
        )
    pictures = pictures.respelt(checkpoint.labels)
    _check_shares(checkpoint.arguments, pictures, group)
    if checkpoint.best and group.is_main:
        load_checkpoint(path.parent / BEST)
    model = build_model(checkpoint.arch, len(pictures.labels))
    parameters = make_hyperparameters(checkpoint.arguments, pictures, checkpoint.precision)
    learner = Learner(model, device, parameters, group)
    learner.restore(checkpoint.model, checkpoint.optimizer, checkpoint.scheduler)
    torch.set_rng_state(checkpoint.generators["torch"])
    if checkpoint.threads != torch.get_num_threads():
        say(
            f"computing on {checkpoint.threads} CPU threads, as the run began, "
            "so that its sums come out alike"
        )
    torch.set_num_threads(checkpoint.threads)
    return Run(path.parent, checkpoint, learner, pictures)


def _check_shares(arguments: dict[str, Any], pictures: Pictures, group: ProcessGroup) -> None:
    count = len(pictures.train)
    smallest = count // count_batches(count, arguments["batch_size"])
    if smallest < group.size:
        raise SettingsError(
            f"a batch of {smallest} pictures cannot be shared by {group.size} processes: "
            "give a larger --batch-size, or start fewer"
        )


def make_hyperparameters(
    arguments: dict[str, Any], pictures: Pictures, precision: str
) -> Hyperparameters:
    """Settle what training depends on, through all its epochs."""
    steps = arguments["epochs"] * count_batches(len(pictures.train), arguments["batch_size"])
    counts = count_labels(pictures.train, len(pictures.labels))
    return Hyperparameters(
        arguments["lr"],
        steps,
        precision,
        arguments["freeze"],
        arguments["size"],
        weigh_alike(counts) if arguments["balance"] else (),
    )


def count_labels(pictures: list[Picture], labels: int) -> list[int]:
    """How many pictures each of so many labels has."""
    found = Counter(picture.label for picture in pictures)
    return [found[label] for label in range(labels)]


class Run:
    """Training from a checkpoint on; a new run is one that goes on from its beginning.

    Args:
        folder: of the run; the main process saves its files there.
        checkpoint: the state to go on from.
        learner: in that state.
        pictures: those that the checkpoint was made with.
    """

    def __init__(
        self, folder: Path, checkpoint: Checkpoint, learner: Learner, pictures: Pictures
    ) -> None:
        self.folder = folder
        self.pictures = pictures
        self.position = checkpoint.position
        self.best = checkpoint.best
        self.history = checkpoint.history
        self.pooled: Tensor | None = None  # `Features.pooled`, where training has left it to be had
        # Without the tensors, which are the learner's from here on.
        self._start = dataclasses.replace(checkpoint, model={}, optimizer={}, scheduler={})
        self._learner = learner
        self._group = learner.group
        self._epochs: int = checkpoint.arguments["epochs"]
        # Writing takes a quarter of an epoch where the disk is slow, and training need not wait.
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._writing: Future[None] | None = None

    @property
    def summary(self) -> str:
        """How it trains, in a line: what was settled when it began."""
        freeze, views = self._start.arguments["freeze"], self._start.views
        frozen = "nothing frozen" if freeze == "none" else f"frozen as far as {freeze}"
        seen = f"{views} views of each picture" if views else "new views in every epoch"
        computed = f"{self._start.precision}, {self._start.threads} thread(s)"
        weighed = "labels weighed alike, " if self._start.arguments["balance"] else ""
        return f"{frozen}, {seen}, {weighed}{self._epochs} epoch(s), {computed}"

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
        settings, alone = self._start.arguments, self._group.size == 1
        # One process must not leave the others waiting: together they stop between steps only.
        check = stop.check if alone else lambda: None
        with ExitStack() as stack:
            curves = None
            if self._group.is_main:
                stack.enter_context(locked(self.folder))
                stack.enter_context(self._writer)  # ends before another may write
                remove_temporaries(*(self.folder / name for name in (LAST, BEST, METRICS)))
                write_metrics(self.folder, self.history)
                if tensorboard:
                    curves = stack.enter_context(closing(open_curves(self.folder, self.history)))
            pool = stack.enter_context(open_pool())
            features = Features(
                self._learner,
                self.pictures,
                pool,
                check,
                seed=settings["seed"],
                size=settings["batch_size"],
                views=self._start.views,
            )
            again = "python train.py" if alone else "as before, with torchrun, and"
            go_on = f"to go on: {again} -c {shlex.quote(str(self.folder / LAST))}"
            try:
                try:
                    for metrics in self._train_epochs(features, stop, check):
                        if curves:
                            add_epoch(curves, metrics)
                    self._finish_writing()
                    if features.has_all_views and self._group.is_main:
                        self.pooled = features.pooled()
                    stop.check()  # while the last epoch was written: no process waits for others
                except KeyboardInterrupt:
                    self.save(LAST)
                    self._finish_writing()
                    say(f"saved; {go_on}")
                    raise
            except CheckpointError as error:
                if stop.requested:  # after which nobody else says it
                    say(f"not saved: {error}; {go_on}")
                raise

    def save(self, *names: str) -> None:
        """Let the state of this moment be written to files of these names, in this order.

        Raises:
            CheckpointError: what was saved before could not be written.
        """
        if self._group.is_main:
            checkpoint = dataclasses.replace(
                self._start,
                **self._learner.state(),
                generators={"torch": torch.get_rng_state()},
                position=self.position,
                best=self.best,
                history=self.history,
            )
            contents = serialize(checkpoint)
            self._finish_writing()
            paths = [self.folder / name for name in names]
            self._writing = self._writer.submit(write_checkpoint, contents, *paths)

    def _finish_writing(self) -> None:
        if self._writing:
            self._writing.result()

    def _train_epochs(
        self, features: Features, stop: Stop, check: Callable[[], None]
    ) -> Iterator[Metrics]:
        patience = self._start.arguments["patience"]
        while self.position.epoch < self._epochs:
            best = self.best.epoch if self.best else self.position.epoch
            if self.position.epoch - best >= (patience or math.inf):
                say(f"stopping early: {patience} epochs were no better than {best}")
                return
            self._train_epoch(features, stop)
            yield self._validate_epoch(features, check)

    def _train_epoch(self, features: Features, stop: Stop) -> None:
        place = self.position
        title = f"epoch {place.epoch + 1}/{self._epochs} train"
        with progress_bar(title, len(self.pictures.train), done=place.pictures) as bar:
            before = time.perf_counter()
            for batch in features.train(place.epoch, place.step):
                loss = self._learner.train(batch)
                loss_sum, count, stopping = self._group.sum(loss, len(batch[1]), stop.requested)
                before, seconds = time.perf_counter(), time.perf_counter() - before
                place.step += 1
                place.pictures += int(count)
                place.loss_sum += loss_sum
                place.seconds += seconds
                bar.set_postfix(loss=f"{place.loss_sum / place.pictures:.3f}", refresh=False)
                bar.update(int(count))
                if stopping:
                    raise KeyboardInterrupt
                if self._writing and self._writing.done():
                    self._writing.result()  # no more of an epoch than needs be, if it failed

    def _validate_epoch(self, features: Features, check: Callable[[], None]) -> Metrics:
        """Measure what the epoch came to, save it, and say it."""
        place, total, began = self.position, len(self.pictures.val), time.perf_counter()
        counts = count_labels(self.pictures.val, len(self.pictures.labels))
        loss_sum, right = 0.0, [0.0] * len(counts)
        self._learner.share_statistics()
        with progress_bar(f"epoch {place.epoch + 1}/{self._epochs} validate", total) as bar:
            for batch in features.val():
                check()
                loss, hits = self._learner.validate(batch)
                loss_sum, right = loss_sum + loss, list(map(add, right, hits))
                bar.update(len(batch[1]) * self._group.size)
        loss_sum, *right = self._group.sum(loss_sum, *right)
        metrics = Metrics(
            epoch=place.epoch + 1,
            train_loss=place.loss_sum / place.pictures,
            val_loss=loss_sum / total,
            val_top1=sum(right) / total,
            seconds=place.seconds + time.perf_counter() - began,
            pictures_per_second=place.pictures / place.seconds,
            val_balanced=fmean(map(truediv, right, counts)),
        )
        self.history = [*self.history, metrics]
        self.position = Position(epoch=metrics.epoch)
        balance = self._start.arguments["balance"]
        improved = self.best is None or is_better(metrics, self.best, balance=balance)
        if improved:
            self.best = metrics
        # The best first: a run that goes on from last.pt does not come by this epoch again.
        self.save(*([BEST, LAST] if improved else [LAST]))
        if self._group.is_main:
            write_metrics(self.folder, self.history)
        say(describe(metrics, self._epochs, balance=balance) + ("  best" if improved else ""))
        return metrics


def is_better(metrics: Metrics, best: Metrics, *, balance: bool = False) -> bool:
    """Compare two epochs by top-1 accuracy, or by its mean over the labels, and then by loss."""
    accuracy = attrgetter("val_balanced" if balance else "val_top1")
    return (accuracy(metrics), -metrics.val_loss) > (accuracy(best), -best.val_loss)


def describe(metrics: Metrics, epochs: int, *, balance: bool = False) -> str:
    """Say in a line what an epoch came to."""
    balanced = f"  balanced {metrics.val_balanced:6.1%}" if balance else ""
    return (
        f"epoch {metrics.epoch:{len(str(epochs))}}/{epochs}"
        f"  train loss {metrics.train_loss:.3f}  val loss {metrics.val_loss:.3f}"
        f"  top-1 {metrics.val_top1:6.1%}{balanced}  {metrics.pictures_per_second:.0f} pictures/s"
        f"  {metrics.seconds:.1f} s"
    )
