"""The beginning of a run: a new one, or one that goes on, on every process of a team."""

import os
import platform
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from antbee.errors import DataError, SettingsError
from antbee.training.arguments import RECIPES
from antbee.training.batches import count_batches
from antbee.training.checkpoint import (
    Checkpoint,
    Position,
    from_bytes,
    load_checkpoint,
    save_checkpoint,
    to_bytes,
)
from antbee.training.data import Pictures, describe_change
from antbee.training.device import choose_precision
from antbee.training.feed import count_views
from antbee.training.folder import BEST, LAST, make_folder, remember_launch
from antbee.training.loop import Learner
from antbee.training.model import build_model
from antbee.training.run import Run, make_recipe
from antbee.training.stages import choose_stage
from antbee.training.team import ALONE, Team
from antbee.training.weights import load_weights


def find_saved(path: Path | None, team: Team) -> tuple[Path, Checkpoint] | None:
    """The leader's checkpoint, for all of the team, and where it lies; None without a path.

    Raises:
        CheckpointError: the file is missing, damaged or not ours.
    """
    if not team.sum(team.leads and path is not None)[0]:
        return None
    return _shared(path, load_checkpoint(path) if path and team.leads else None, team)


def begin_run(
    out: Path,
    arguments: dict[str, Any],
    pictures: Pictures,
    device: torch.device,
    team: Team = ALONE,
) -> Run:
    """Begin a run in a new folder of `out`, its first state saved.

    Args:
        out: the folder of all runs.
        arguments: those of the command line.
        pictures: to train on.
        device: where to train.
        team: with whom. The leader's folder and starting weights are everybody's.

    Raises:
        CheckpointError: the weights cannot be had, or nothing can be saved.
        DataError: the leader has other pictures.
        SettingsError: the arguments do not go together.
    """
    _check_shares(arguments, pictures, team)
    folder, checkpoint = None, None
    if team.leads:
        precision = choose_precision(device)
        checkpoint = _first_checkpoint(arguments, pictures, precision, team.neighbours)
        folder = _save_first(out, checkpoint)
    folder, checkpoint = _shared(folder, checkpoint, team)
    if change := describe_change(checkpoint.data, pictures.provenance):
        raise DataError(
            f"the pictures here are not those of the first process: {change}; "
            "give every machine the same"
        )
    return Run(folder, checkpoint, pictures, device, team)


def resume_run(
    path: Path,
    checkpoint: Checkpoint,
    pictures: Pictures,
    device: torch.device,
    team: Team = ALONE,
) -> Run:
    """Go on from a checkpoint, in its own folder.

    Args:
        path: of the checkpoint.
        checkpoint: what it holds.
        pictures: the same as when the run began.
        device: where to train.
        team: with whom.

    Raises:
        CheckpointError: the best epoch's file is gone or damaged.
        DataError: the pictures are not those that the run began with.
        SettingsError: there are more processes than pictures in a batch.
    """
    if change := describe_change(checkpoint.data, pictures.provenance):
        raise DataError(
            f"the pictures changed since the run began: {change}; "
            "put them back, or begin another run without -c"
        )
    _check_shares(checkpoint.arguments, pictures, team)
    if checkpoint.best and team.leads:
        load_checkpoint(path.parent / BEST)
    return Run(path.parent, checkpoint, pictures, device, team)


def _shared(
    path: Path | None, checkpoint: Checkpoint | None, team: Team
) -> tuple[Path, Checkpoint]:
    """The leader's checkpoint and where it lies, for all of the team; the others have neither."""
    if team.size == 1 and path and checkpoint:
        return path, checkpoint
    where = team.give_bytes(os.fsencode(path or ""))
    state = team.give_bytes(to_bytes(checkpoint) if checkpoint else b"")
    return Path(os.fsdecode(where)), from_bytes(state)


def _check_shares(arguments: dict[str, Any], pictures: Pictures, team: Team) -> None:
    count = len(pictures.train)
    smallest = count // count_batches(count, arguments["batch_size"])
    if smallest < team.size:
        raise SettingsError(
            f"a batch of {smallest} pictures cannot be shared by {team.size} processes: "
            "give a larger --batch-size, or start fewer"
        )


def _save_first(out: Path, checkpoint: Checkpoint) -> Path:
    folder = make_folder(out, checkpoint.arch)
    try:
        save_checkpoint(checkpoint, folder / LAST)
        remember_launch(folder)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)  # a run without a state is no run
        raise
    return folder


def _first_checkpoint(
    arguments: dict[str, Any], pictures: Pictures, precision: str, processes: int
) -> Checkpoint:
    torch.manual_seed(arguments["seed"])
    model = build_model(arguments["arch"], len(pictures.labels))
    weights = load_weights(model, arguments["arch"], arguments["weights"])
    arguments = _settled(arguments, weights)
    recipe = make_recipe(arguments, pictures, precision)
    learner = Learner(model, torch.device("cpu"), recipe)
    views = count_views(
        learner.feature_bytes(), len(pictures.train), arguments["epochs"], processes
    )
    return Checkpoint(
        arch=arguments["arch"],
        labels=pictures.labels,
        **learner.state(),
        generators={"torch": torch.get_rng_state()},
        threads=torch.get_num_threads(),
        precision=precision,
        views=views,
        position=Position(),
        best=None,
        history=[],
        arguments=arguments,
        data=pictures.provenance,
        weights=weights,
        versions=_versions(),
    )


def _settled(arguments: dict[str, Any], weights: dict[str, Any]) -> dict[str, Any]:
    """Fill in the arguments that depend on the starting weights."""
    freeze = choose_stage(arguments["freeze"], weights.get("missing"))
    given = {name: value for name, value in arguments.items() if value is not None}
    return (
        arguments | RECIPES["whole" if freeze == "none" else "frozen"] | given | {"freeze": freeze}
    )


def _versions() -> dict[str, str]:
    named = {"python": platform.python_version(), "torch": str(torch.__version__)}
    return named | {name: version(name) for name in ("torchvision", "numpy", "pillow")}
