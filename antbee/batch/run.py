"""One run of `antbee.batch`, whole or one shard of it: begin, classify, tell how it went."""

import argparse
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from antbee.artifact import INDEX, PackedModel
from antbee.batch import ray_data
from antbee.batch.manifest import Manifest, find_entries, write_manifest
from antbee.batch.record import (
    MANIFEST,
    SUCCESS,
    Run,
    begin,
    check_same,
    part_name,
    read_parts,
    read_record,
    read_table,
    write_success,
)
from antbee.batch.score import Scorer
from antbee.batch.storage import Place, in_words, open_place
from antbee.command import DONE, FAILED, printable, progress_bar, say
from antbee.errors import DataError
from antbee.files import sha256_of
from antbee.images import configure_pillow
from antbee.machine import cores
from antbee.predict import open_model
from antbee.predictor import check_runtime

RUNTIMES: Final = ("int8", "onnx")
"""Those that need no torch."""
RAY: Final = "ray"
EVERY: Final = 30.0
"""Seconds between two lines of a log."""
MOST_NAMED: Final = 10
"""Of pictures without an answer, that are named in the log; OUT has them all."""


def batch(arguments: argparse.Namespace, default_rows: int) -> int:
    """Classify what of this shard's blocks is not done, and return the exit code.

    Args:
        arguments: of the command line; `shard` is an index and how many there are.
        default_rows: pictures of a block, where nobody has said yet.

    Raises:
        DataError: SOURCE or OUT cannot be used, or OUT is another run's.
        ModelError: there is no such model, or it cannot be run here.
    """
    configure_pillow()
    model, name = open_model(arguments.model)
    place = open_place(arguments.out)
    with in_words(arguments.out):
        record = read_record(place)
    # Decided once, when a run begins, for all that go on with it.
    rows = arguments.rows or (record.rows if record else default_rows)
    runtime = arguments.runtime or (record.runtime if record else default_runtime(model))
    check_runtime(model, runtime)
    with in_words("a folder for temporary files"):
        temporary = TemporaryDirectory(prefix="antbee-batch-")
    with temporary as scratch:
        file = Path(scratch) / MANIFEST
        say(f"listing {arguments.source}")  # of a large bucket that takes minutes
        with in_words(f"the list of {arguments.source}"):
            listed = write_manifest(file, find_entries(arguments.source, arguments.out), rows)
            base = str(Path.cwd()) if listed.relative else ""
        run = Run(
            source=arguments.source,
            pictures=listed.pictures,
            digest=listed.digest,
            rows=rows,
            base=base,
            model=name,
            model_sha256=sha256_of(model.folder / INDEX),
            runtime=runtime,
        )
        with in_words(arguments.out):
            run = begin(place, run, file)
        manifest = Manifest(file)
        index, shards = arguments.shard
        mine = range(index, run.blocks, shards)
        parts = read_parts(place, run, mine)
        old = {block: one for block, one in parts.items() if arguments.retry_errors and one.errors}
        todo = [block for block in mine if block not in parts or block in old]
        of_shard = f", shard {index} of {shards}: {len(mine)} of {run.blocks} blocks"
        say(
            f"{run.pictures} pictures{of_shard if shards > 1 else ''}; "
            f"{run.model} on {runtime}, engine {arguments.engine}"
        )
        total = sum(map(manifest.rows, mine))
        done = total - sum(
            old[one].errors.total() if one in old else manifest.rows(one) for one in todo
        )
        if todo:
            with progress(total, done) as advance:
                if arguments.engine == RAY:
                    scored = ray_data.score(
                        arguments.address, place, run, model, todo, old, advance
                    )
                else:
                    scorer = Scorer(place, run, manifest, model, cores())
                    scored = scorer.score(todo, old, advance)
                with closing(scored):
                    for _ in scored:
                        pass
    return finish(place, run, mine)


def default_runtime(model: PackedModel) -> str:
    """Choose what packing found the fastest; of one that wants torch, the same network on ONNX."""
    return model.runtime if model.runtime in RUNTIMES else "onnx"


@contextmanager
def progress(total: int, done: int) -> Iterator[Callable[[int], None]]:
    """Tell how far it is: a bar on a terminal, a line now and then in a log.

    Args:
        total: pictures in all.
        done: how many were done before.

    Yields:
        What is told of each further picture, or of several.
    """
    begun = said = time.monotonic()
    now = done
    with progress_bar("classifying", total, done=done) as bar:

        def advance(pictures: int) -> None:
            nonlocal now, said
            now += pictures
            bar.update(pictures)
            if bar.disable and time.monotonic() - said >= EVERY:
                said = time.monotonic()
                rate = (now - done) / (said - begun)
                minutes = (total - now) / rate / 60
                say(f"{now} of {total} pictures, {rate:.1f} a second, {minutes:.0f} minutes left")

        yield advance


def finish(place: Place, run: Run, mine: Sequence[int]) -> int:
    """Say how it went, write `_SUCCESS.json` if this was the last shard, return the exit code.

    What counts is what OUT holds, for others may have written there, too.

    Raises:
        DataError: parts are not where they were written.
    """
    with in_words("OUT cannot be read"):
        if (found := read_record(place)) is not None:
            check_same(found, run)
        names = place.names()
    every = range(run.blocks)
    left = [one for one in every if part_name(one) not in names]
    parts = read_parts(place, run, mine if left else every)
    if lost := [part_name(one) for one in mine if one not in parts]:
        raise DataError(
            f"{len(lost)} parts are not in OUT, or damaged, such as {lost[0]}: "
            "is it a folder that every machine sees?"
        )
    labels, errors = Counter[str](), Counter[str]()
    for one in mine:
        labels += parts[one].labels
        errors += parts[one].errors
    say(", ".join(f"{count} {label}" for label, count in sorted(labels.items())) or "no picture")
    if errors:
        name_errors(place, [one for one in mine if parts[one].errors])
        codes = ", ".join(f"{count} {code}" for code, count in sorted(errors.items()))
        say(f"{errors.total()} of {errors.total() + labels.total()} have no answer: {codes}")
    if left:
        say(f"{len(left)} blocks of other shards are not done: the last one writes {SUCCESS}")
    elif damaged := [part_name(one) for one in every if one not in parts]:
        say(
            f"{len(damaged)} parts of other shards are damaged, such as {damaged[0]}: "
            f"run those again, the last one writes {SUCCESS}"
        )
    else:
        content = write_success(place, run, parts.values())
        # Another shard may have mended errors meanwhile, and have written this file before us.
        while (now := read_parts(place, run, every)) != parts and len(now) == run.blocks:
            parts = now
            content = write_success(place, run, parts.values())
        say(
            f"{content['pictures']} pictures in {content['seconds']:.1f} s, "
            f"{content['pictures_per_second']} a second"
        )
    return FAILED if errors else DONE


def name_errors(place: Place, blocks: Sequence[int]) -> None:
    """Name the first few pictures that have no answer."""
    named = 0
    for block in blocks:
        for row in read_table(place, block).select(["path", "code", "message"]).to_pylist():
            if row["code"]:
                if named == MOST_NAMED:
                    say("… and others: the column code of OUT is not empty for them")
                    return
                say(f"{printable(row['path'])}: {row['message']}")
                named += 1
