"""What OUT holds: a record of the run, a part for each block, and at the end `_SUCCESS.json`.

A part is one Parquet file with a name that its block decides. So whichever process writes it,
however often, there is one row a picture; and a rerun does the blocks whose parts are not there.
"""

import json
import os
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
from pyarrow import parquet

from antbee.batch.manifest import Entry
from antbee.batch.storage import Place, in_words
from antbee.errors import DataError
from antbee.results import Outcome

FORMAT: Final = 1
RECORD: Final = "_run.json"
MANIFEST: Final = "_manifest.parquet"
SUCCESS: Final = "_SUCCESS.json"
"""Names that begin so are passed over by whatever reads a folder of Parquet."""
READERS: Final = 16
"""Parts looked at at once: in a bucket each is a wait."""
_RUN: Final = "antbee.run"
_PART: Final = "antbee.part"
"""What a part says of itself, in its file's metadata."""
SCHEMA: Final = pa.schema(
    [
        ("path", pa.string()),
        ("label", pa.string()),
        ("probability", pa.float64()),
        ("probabilities", pa.map_(pa.string(), pa.float64())),
        ("known", pa.bool_()),
        ("typicality", pa.float64()),
        ("code", pa.string()),
        ("message", pa.string()),
        ("model", pa.string()),
        ("runtime", pa.string()),
    ]
)
"""The same in every part, whatever the model's labels are."""
_DIFFERENCES: Final = {
    "format": "another version of antbee",
    "digest": "a list with other pictures",
    "rows": "--rows {}, not {}",
    "base": "relative paths, which begin at {}, not at {}",
    "model": "the model {}, not {}",
    "model_sha256": "another model of the same name",
    "runtime": "the runtime {}, not {}",
}
"""How it is said that OUT is another run's, by what is different, the first first."""


@dataclass(frozen=True)
class Run:
    """What must be the same in every process that writes into one OUT.

    Attributes:
        source: as the first of them was told; only for people.
        pictures: how many rows there will be.
        digest: of their paths.
        rows: pictures of a block.
        base: the working folder, where any path begins at it, or nothing: the same names elsewhere
            are other pictures.
        model: what the first of them called it.
        model_sha256: of its `model.json`, which vouches for the other files.
        runtime: what it runs on.
    """

    source: str
    pictures: int
    digest: str
    rows: int
    base: str
    model: str
    model_sha256: str
    runtime: str
    format: int = FORMAT

    @property
    def blocks(self) -> int:
        """How many parts there will be."""
        return -(-self.pictures // self.rows)

    @classmethod
    def from_json(cls, text: str | bytes) -> "Run":
        """Read what `_run.json` or a part says.

        Raises:
            DataError: it is damaged, or of a version that says more or less.
        """
        try:
            return cls(**json.loads(text))
        except (TypeError, ValueError) as error:
            raise DataError(
                "OUT is damaged, or was begun with another version of antbee: name another OUT"
            ) from error


@dataclass(frozen=True)
class Part:
    """What one part says of itself.

    Attributes:
        begun: seconds since 1970.
        ended: likewise.
        labels: how many pictures were given each.
        errors: how many were given none, by code.
    """

    begun: float
    ended: float
    labels: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)

    @property
    def pictures(self) -> int:
        """How many rows it has."""
        return self.labels.total() + self.errors.total()

    def to_json(self) -> str:
        """Spell it for a file's metadata, or another process."""
        return json.dumps(vars(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> "Part":
        """Read what `to_json` wrote."""
        content = json.loads(text)
        for name in ("labels", "errors"):
            content[name] = Counter(content[name])
        return cls(**content)


def part_name(block: int) -> str:
    """What a block's part is called."""
    return f"part-{block:07}.parquet"


def read_record(place: Place) -> Run | None:
    """Read which run's OUT this is; None where it is nobody's yet.

    Raises:
        DataError: it is something else's.
    """
    names = place.names()
    if RECORD in names:
        return Run.from_json(place.read(RECORD))
    # A manifest without a record is of a run that was killed when it began.
    if others := sorted(one for one in names - {MANIFEST} if not one.startswith(".")):
        raise DataError(
            f"OUT is not empty, and no run of antbee.batch was there ({others[0]}): name another"
        )
    return None


def begin(place: Place, run: Run, manifest: Path) -> Run:
    """Write the record and the manifest, or find that OUT has been begun by the same run.

    Returns:
        The run as it was begun: by its words for the source and the model.

    Raises:
        DataError: by another one.
    """
    found = read_record(place)
    if found is None:
        place.write(MANIFEST, manifest)
        place.write(RECORD, json.dumps(asdict(run), indent=1).encode())
        found = read_record(place)  # of processes that begin at once, the last
    if found is None:
        return run
    check_same(found, run)
    return found


def check_same(found: Run, run: Run, what: str = "OUT was begun") -> None:
    """Refuse to go on with what another run has begun.

    Args:
        found: whose it is.
        run: this one.
        what: was made by the other one.

    Raises:
        DataError: names the first thing that is different.
    """
    for name, words in _DIFFERENCES.items():
        theirs, ours = getattr(found, name), getattr(run, name)
        if name == "model" and found.model_sha256 == run.model_sha256:
            continue  # one and the same may be called in several ways
        if theirs != ours:
            difference = words.format(theirs, ours)
            raise DataError(f"{what} with {difference}: name another OUT, or delete it")


def make_table(run: Run, entries: Sequence[Entry], outcomes: Sequence[Outcome]) -> pa.Table:
    """Make the rows of pictures: columns as `SCHEMA` has them."""
    found = [one.prediction for one in outcomes]
    columns: list[list[object]] = [
        [as_text(os.fsdecode(entry.path)) for entry in entries],
        [one and as_text(one.label) for one in found],
        [one and one.probability for one in found],
        [one and [(as_text(name), p) for name, p in one.probabilities.items()] for one in found],
        [one and one.known for one in found],
        [one and one.typicality for one in found],
        [one.error and getattr(one.error, "code", "unreadable_file") for one in outcomes],
        [None if one.error is None else as_text(str(one.error)) for one in outcomes],
        [as_text(run.model)] * len(entries),
        [run.runtime] * len(entries),
    ]
    return pa.table(columns, SCHEMA)


def as_text(name: str) -> str:
    r"""Spell what came from a file's name: a byte that is no UTF-8 is `\udc..`, as JSON has it."""
    return name.encode("utf-8", "backslashreplace").decode()


def write_part(
    place: Place,
    run: Run,
    block: int,
    table: pa.Table,
    begun: float,
    ended: float | None = None,
) -> Part:
    """Write a block's part, which ended now unless that is said.

    Raises:
        DataError: it cannot be written.
    """
    labels = Counter(one for one in table["label"].to_pylist() if one is not None)
    errors = Counter(one for one in table["code"].to_pylist() if one is not None)
    part = Part(begun, time.time() if ended is None else ended, labels, errors)
    buffer = BytesIO()
    with parquet.ParquetWriter(buffer, SCHEMA) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({_RUN: json.dumps(asdict(run)), _PART: part.to_json()})
    with in_words(f"{part_name(block)} cannot be written"):
        place.write(part_name(block), buffer.getvalue())
    return part


def read_parts(place: Place, run: Run, blocks: Sequence[int]) -> dict[int, Part]:
    """Read what the parts of blocks say of themselves.

    Those that are not there, or are damaged, are left out: they are to be made anew.

    Raises:
        DataError: one is another run's, or the system cannot read it.
    """

    def read(block: int) -> Part | None:
        name = part_name(block)
        with in_words(f"{name} cannot be read"):
            try:
                file = place.open(name)
            except FileNotFoundError:  # gone meanwhile
                return None
            with file:
                try:
                    said = parquet.read_metadata(file).metadata or {}
                    whose, part = said[_RUN.encode()], Part.from_json(said[_PART.encode()])
                    json.loads(whose)
                except (pa.ArrowException, LookupError, TypeError, ValueError):
                    return None
                except OSError as error:
                    if error.errno is None:  # it is pyarrow's word for what is no Parquet
                        return None
                    raise
        try:
            found = Run.from_json(whose)
        except DataError as error:
            raise DataError(f"{name}: {error}") from error
        check_same(found, run, f"{name} was made")
        return part

    with ThreadPoolExecutor(READERS) as pool, in_words("OUT cannot be read"):
        there = blocks
        if len(blocks) > 1:  # one is looked for itself: there may be very many others
            names = place.names()
            there = [one for one in blocks if part_name(one) in names]
        found = dict(zip(there, pool.map(read, there), strict=True))
    return {block: part for block, part in found.items() if part is not None}


def read_table(place: Place, block: int) -> pa.Table:
    """Read a part's rows."""
    with in_words(f"{part_name(block)} cannot be read"), place.open(part_name(block)) as file:
        return parquet.read_table(file, schema=SCHEMA)


def write_success(place: Place, run: Run, parts: Iterable[Part]) -> dict[str, Any]:
    """Write `_SUCCESS.json` and return what is in it.

    Its `seconds` are those in which any process worked: neither what two of them did at once counts
    twice, nor the time between a kill and the next start.
    """
    parts = list(parts)
    labels, errors = sum((one.labels for one in parts), Counter()), Counter[str]()
    for one in parts:
        errors += one.errors
    seconds = covered((one.begun, one.ended) for one in parts)
    content = {
        "pictures": run.pictures,
        "errors": errors.total(),
        "errors_by_code": dict(sorted(errors.items())),
        "labels": dict(sorted(labels.items())),
        "seconds": round(seconds, 3),
        "pictures_per_second": round(run.pictures / seconds, 1) if seconds else None,
        "model": run.model,
        "runtime": run.runtime,
        "source": run.source,
    }
    with in_words(f"{SUCCESS} cannot be written"):
        place.write(SUCCESS, json.dumps(content, indent=1).encode())
        place.clean()
    return content


def covered(spans: Iterable[tuple[float, float]]) -> float:
    """How long it is within any of some spans of time."""
    total, until = 0.0, float("-inf")
    for begun, ended in sorted(spans):
        total += max(0.0, ended - max(begun, until))
        until = max(until, ended)
    return total
