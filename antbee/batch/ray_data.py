"""Blocks of pictures to parts on a cluster, by Ray Data. The only module that imports Ray.

Ray gives out numbers of blocks, a few bytes each, to a pool of actors; an actor reads its block of
the manifest, opens the pictures itself and writes the part. So no picture passes Ray's object
store, and what Ray does a second time, after it lost a machine, is a part of the same name.

Ray's own checkpoints are not used. They are a second record of what is done, beside the parts;
between the two steps that keep them in line, a kill can leave rows that are in neither.
"""

import logging
import os
import re
import socket
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from antbee.artifact import INDEX, INT8, ONNX, TYPICALITY, PackedModel, read_model
from antbee.batch.manifest import Manifest
from antbee.batch.record import MANIFEST, Part, Run, part_name, read_parts
from antbee.batch.score import Scorer
from antbee.batch.storage import Place
from antbee.errors import AntBeeError, DataError
from antbee.images import configure_pillow

ENVIRONMENT: Final = {
    "RAY_USAGE_STATS_ENABLED": "0",  # or it reports to its makers
    "RAY_DATA_LOG_LEVEL": "ERROR",
    "RAY_BACKEND_LOG_LEVEL": "fatal",  # it warns of what Ray Data itself does
}
PATIENCE: Final = 10
"""Seconds for a cluster's first answer."""
_HOST: Final = re.compile(r"(?:ray://)?(.+):(\d+)")
_EXCEPTION: Final = re.compile(r"^[\w.]*(?:Error|Exception): .+$", re.MULTILINE)
MOST_BEGUN: Final = 3
"""Times that a block is begun: a picture may end the process that is at it, as a lost machine does.

Ray Data begins it again for ever, and its ways to be told of a number go with Ray 2.64.
"""
MOST_TASKS: Final = 10_000
"""Shares that Ray gives out of what there is to do: it remembers each."""


@dataclass(frozen=True)
class Job:
    """What an actor is told: small, but for the model, which is in the object store once."""

    place: Place
    run: Run
    retry: frozenset[int]


class Begun:
    """Counts how often each block was begun, in a process of its own that no picture can end."""

    def __init__(self) -> None:
        self._times = Counter[int]()

    def count(self, block: int) -> int:
        """Count a block once more, and return how often that was before."""
        self._times[block] += 1
        return self._times[block] - 1


class Actor:
    """One process of the cluster, with the model loaded, for one CPU.

    Args:
        job: what it is about.
        files: of the model, by name, in the object store.
        begun: the handle of `Begun`.
    """

    def __init__(self, job: Job, files: object, begun: Any) -> None:  # noqa: ANN401 - Ray's
        import ray  # noqa: PLC0415 - an extra

        configure_pillow()
        self._folder = tempfile.TemporaryDirectory(prefix="antbee-model-")
        for name, content in ray.get(files).items():
            Path(self._folder.name, name).write_bytes(content)
        model = read_model(Path(self._folder.name))
        manifest = Manifest(job.place.open(MANIFEST))
        self._job = job
        self._begun_before: Callable[[int], int] = lambda block: ray.get(begun.count.remote(block))
        self._scorer = Scorer(job.place, job.run, manifest, model, threads=1)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Make a block's part, unless another actor has made it by now.

        What goes wrong is told, not raised: of an exception Ray keeps the words, and not the kind.
        """
        (block,) = batch["block"].tolist()
        job = self._job
        try:
            parts = read_parts(job.place, job.run, [block])
            done = parts.get(block)
            if done is None or (block in job.retry and done.errors):
                if (times := self._begun_before(block)) >= MOST_BEGUN:
                    first = block * job.run.rows
                    last = min(first + job.run.rows, job.run.pictures)
                    raise DataError(
                        f"{part_name(block)}, pictures {first + 1} to {last} of the list, was "
                        f"begun {times} times, and each time the process that was at it ended"
                    )
                parts |= self._scorer.score([block], parts, lambda _: None)
        except AntBeeError as error:
            return {"block": [block], "part": [""], "error": [str(error)]}
        return {"block": [block], "part": [parts[block].to_json()], "error": [""]}


def score(
    address: str | None,
    place: Place,
    run: Run,
    model: PackedModel,
    blocks: Sequence[int],
    old: Mapping[int, Part],
    advance: Callable[[int], object],
) -> Generator[tuple[int, Part], None, None]:
    """Let a cluster classify blocks and write their parts.

    Args:
        address: of the cluster; None starts one on this machine for as long as it takes.
        place: every machine of the cluster sees it, and the pictures, too.
        run: which they are of.
        model: goes to the actors from here.
        blocks: to do.
        old: see `Scorer.score`.
        advance: see `Scorer.score`.

    Raises:
        DataError: the cluster cannot be reached, has no CPU free, or fails.
    """
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import ray  # noqa: PLC0415 - an extra
    import ray.data  # noqa: PLC0415 - likewise
    from ray.exceptions import RayError  # noqa: PLC0415 - likewise

    logging.getLogger("ray").setLevel(logging.ERROR)
    try:
        with joined(address):
            cpus = count_cpus(ray.cluster_resources(), ray.available_resources())
            actors = min(cpus, len(blocks))
            names = (INDEX, INT8 if run.runtime == "int8" else ONNX, TYPICALITY)
            contents = {
                name: model.folder / name for name in names if name in (INDEX, *model.files)
            }
            files = ray.put({name: path.read_bytes() for name, path in contents.items()})
            job = Job(place, run, frozenset(old))
            for_ever = {"max_restarts": -1, "max_task_retries": -1}
            begun = ray.remote(num_cpus=0, **for_ever)(Begun).remote()
            ray.data.DataContext.get_current().enable_progress_bars = False
            done = ray.data.from_items(
                [{"block": block} for block in blocks],
                override_num_blocks=min(len(blocks), MOST_TASKS),
            ).map_batches(
                Actor,
                batch_size=1,
                num_cpus=1,
                compute=ray.data.ActorPoolStrategy(
                    min_size=1, initial_size=actors, max_size=actors
                ),
                fn_constructor_args=(job, files, begun),
            )
            for row in done.iter_rows():
                if row["error"]:
                    raise DataError(row["error"])
                part = Part.from_json(row["part"])
                before = old.get(row["block"])
                advance(before.errors.total() if before else part.pictures)
                yield row["block"], part
    except RayError as error:
        # A whole traceback, and advice after it.
        lines = _EXCEPTION.findall(str(error)) or str(error).strip().splitlines()[:1]
        raise DataError(f"Ray: {lines[-1]}") from error


@contextmanager
def joined(address: str | None) -> Iterator[None]:
    """Join a cluster, or start one on this machine, and leave it again.

    Raises:
        DataError: there is none.
    """
    import ray  # noqa: PLC0415 - an extra

    try:
        if address and (matched := _HOST.fullmatch(address)):
            # Ray itself tries for as long as it takes.
            socket.create_connection((matched[1].strip("[]"), int(matched[2])), PATIENCE).close()
        ray.init(
            address or "local",
            include_dashboard=False if address is None else None,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except (OSError, OverflowError, RuntimeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error).strip().splitlines()[0]
        raise DataError(f"Ray's cluster {address} cannot be reached: {reason}") from error
    try:
        with redirect_stdout(sys.stderr):  # where Ray tells of machines that it has lost
            yield
    finally:
        ray.shutdown()


def count_cpus(all_of: Mapping[str, float], free: Mapping[str, float]) -> int:
    """Count the CPUs of a cluster: it has room for an actor on each.

    Nothing else that is done needs a CPU: numbers of blocks are in memory already, and no task has
    to read them.

    Args:
        all_of: Ray's resources, by name.
        free: those that nobody has taken.

    Raises:
        DataError: it has no CPU, or none is free: Ray would wait in silence.
    """
    cpus, available = (one.get("CPU", 0.0) for one in (all_of, free))
    if cpus < 1:
        raise DataError("Ray's cluster has no CPU: start it with one at least")
    if available < 1:
        raise DataError(
            f"all {cpus:g} CPUs of Ray's cluster are taken: end what runs there, or wait"
        )
    return int(cpus)
