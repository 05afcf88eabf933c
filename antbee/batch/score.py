"""Blocks of pictures to parts: the same way as `antbee.predict` goes, on this machine's threads."""

import os
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Final

import pyarrow as pa

from antbee.artifact import PackedModel
from antbee.batch.manifest import Entry, Manifest
from antbee.batch.record import Part, Run, make_table, read_parts, read_table, write_part
from antbee.batch.storage import Place, is_address, read_bytes
from antbee.errors import DataError
from antbee.predict import answer, classify_all
from antbee.predictor import load_predictor
from antbee.results import Outcome
from antbee.typicality import load_judge

FETCHERS: Final = 16
"""Pictures fetched from a bucket at once, ahead of those that are classified: each is a wait."""
WRITES: Final = 2
"""Parts that may wait to be written while the next pictures are classified."""

Picture = tuple[Entry, Callable[[], bytes]]
"""What a thread classifies, and where it gets the bytes."""


class Scorer:
    """What turns blocks into parts: all that a process needs for that.

    Args:
        place: where the parts go.
        run: which the blocks are of.
        manifest: its own.
        model: the packed model, loaded on the run's runtime.
        threads: pictures classified at once.
    """

    def __init__(
        self,
        place: Place,
        run: Run,
        manifest: Manifest,
        model: PackedModel,
        threads: int,
    ) -> None:
        self.place = place
        self.run = run
        self.manifest = manifest
        self._model = model
        self._threads = threads
        self._base = Path(run.base)
        self._predictor = load_predictor(model, run.runtime)
        self._judge = load_judge(model, run.runtime)

    def score(
        self, blocks: Sequence[int], old: Mapping[int, Part], advance: Callable[[int], object]
    ) -> Generator[tuple[int, Part], None, None]:
        """Classify blocks and write their parts.

        Args:
            blocks: to do, in their order.
            old: those of them of which only the pictures without an answer are done again.
            advance: is told how many pictures are done, as they are.

        Yields:
            Each block, with its part. One in which another process has left nothing to do is
            passed over.

        Raises:
            DataError: a part cannot be read or written.
        """
        plans: deque[Plan] = deque()
        with (
            ThreadPoolExecutor(FETCHERS, thread_name_prefix="fetch") as fetchers,
            ThreadPoolExecutor(1, thread_name_prefix="write") as writer,
            closing(
                classify_all(
                    self._classify, self._pictures(blocks, old, plans, fetchers), self._threads
                )
            ) as outcomes,
        ):
            written: deque[tuple[int, Future[Part]]] = deque()
            try:
                for first in outcomes:
                    plan = plans.popleft()
                    found = [first]
                    advance(1)
                    for outcome in islice(outcomes, len(plan.entries) - 1):
                        found.append(outcome)
                        advance(1)
                    write = partial(self._write, plan, found)
                    written.append((plan.block, writer.submit(write)))
                    if len(written) > WRITES:
                        block, future = written.popleft()
                        yield block, future.result()
                while written:
                    block, future = written.popleft()
                    yield block, future.result()
            finally:
                fetchers.shutdown(wait=False, cancel_futures=True)

    def _pictures(
        self,
        blocks: Iterable[int],
        old: Mapping[int, Part],
        plans: "deque[Plan]",
        fetchers: ThreadPoolExecutor,
    ) -> Iterator[Picture]:
        """Give each picture of the blocks; those of buckets are on their way before it is due."""
        waiting: deque[Picture] = deque()
        for block in blocks:
            entries, table = self.manifest.block(block), None
            if block in old:
                table = read_table(self.place, block)
                codes = table["code"].to_pylist()
                entries = [one for one, code in zip(entries, codes, strict=True) if code]
                if not entries:
                    continue
            plans.append(Plan(block, entries, time.time(), table, old.get(block)))
            for entry in entries:
                read: Callable[[], bytes] = partial(read_bytes, entry.path, self._base)
                if is_address(os.fsdecode(entry.path)) and entry.fault is None:
                    read = fetchers.submit(read).result
                waiting.append((entry, read))
                if len(waiting) > FETCHERS:
                    yield waiting.popleft()
        yield from waiting

    def _classify(self, picture: Picture) -> Outcome:
        entry, read = picture
        path = Path(os.fsdecode(entry.path))
        if entry.fault is not None:
            return Outcome(path, error=DataError(entry.fault))
        try:
            return answer(self._model, self._predictor, self._judge, path, read)
        except MemoryError:
            return Outcome(path, error=DataError("it takes too much memory"))

    def _write(self, plan: "Plan", outcomes: Sequence[Outcome]) -> Part:
        table = make_table(self.run, plan.entries, outcomes)
        begun, ended = plan.begun, None
        if plan.table is not None and plan.old is not None:
            table = _replace_errors(plan.table, table)
            begun, ended = plan.old.begun, plan.old.ended
        errors = len(table) - table["code"].null_count
        if errors and read_parts(self.place, self.run, [plan.block]):
            # Another process, at the same block, may have found answers meanwhile.
            there = read_table(self.place, plan.block)
            table = _replace_errors(there, table.filter(there["code"].is_valid()))
        return write_part(self.place, self.run, plan.block, table, begun, ended)


@dataclass(frozen=True)
class Plan:
    """A block that is under way: which pictures, since when, and the part that is made better."""

    block: int
    entries: Sequence[Entry]
    begun: float
    table: pa.Table | None
    old: Part | None


def _replace_errors(old: pa.Table, new: pa.Table) -> pa.Table:
    """Put new rows, in their order, where the old ones have an error."""
    found = iter(new.to_pylist())
    rows = [next(found) if row["code"] else row for row in old.to_pylist()]
    return pa.Table.from_pylist(rows, old.schema)
