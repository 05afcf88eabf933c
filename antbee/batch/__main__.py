"""Classify pictures by the million: `python -m antbee.batch SOURCE OUT`.

Writes Parquet, one row a picture, in parts that are there as a whole or not at all: what was killed
is run again, and does what is missing. Each picture takes the way of `antbee.predict`.
"""

from antbee.command import end_on_signals, positive, run

if __name__ == "__main__":
    end_on_signals()

import argparse
import importlib.util
import os
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Final

from antbee.errors import ModelError

INDEXES: Final = ("JOB_COMPLETION_INDEX", "AWS_BATCH_JOB_ARRAY_INDEX")
"""Variables by which Kubernetes (an indexed job) and AWS Batch (an array job) number processes."""
ROWS: Final = 256
ARRAY_SIZE: Final = "AWS_BATCH_JOB_ARRAY_SIZE"
"""How many they are; Kubernetes does not say."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 1 if any picture has no answer."""
    parser = argparse.ArgumentParser(prog="python -m antbee.batch", description=__doc__)
    add = parser.add_argument
    add(
        "source",
        metavar="SOURCE",
        help="a folder of pictures, s3://BUCKET/FOLDER, or a list of either's: a text with a path "
        "a line (or a NUL after each), or Parquet with a column path",
    )
    add(
        "out", metavar="OUT", help="a folder or s3://BUCKET/FOLDER for the answers; a rerun goes on"
    )
    add(
        "--engine", choices=("local", "ray"), default="local", help="this machine, or Ray's cluster"
    )
    add("--address", metavar="A", help="of Ray's cluster, such as auto (default: one is started)")
    add(
        "--shard",
        metavar="I/N",
        help="do the I-th, from 0 on, of N equal shares; with /N the index is "
        f"{' or '.join(INDEXES)}",
    )
    add("--rows", type=positive, help=f"pictures of a block (default: OUT's, or {ROWS})")
    add(
        "--model",
        default="ant_bee_classifier:latest",
        metavar="TAG_OR_FOLDER",
        help="a packed model in BentoML's store, or its folder (default: %(default)s)",
    )
    add(
        "--runtime",
        choices=("int8", "onnx"),
        help="default: OUT's, or what packing found the faster",
    )
    add("--retry-errors", action="store_true", help="try again what has no answer in OUT")
    arguments = parser.parse_args(argv)
    if arguments.rows and arguments.rows > sys.maxsize:
        parser.error(f"--rows {arguments.rows} is more than any list has")
    if arguments.address and arguments.engine != "ray":
        parser.error("--address is for --engine ray")
    try:
        arguments.shard = find_shard(arguments.shard, os.environ)
    except ValueError as error:
        parser.error(str(error))
    return run(lambda: _batch(arguments))


def find_shard(asked: str | None, environment: Mapping[str, str]) -> tuple[int, int]:
    """Find which share this process does, and of how many.

    Args:
        asked: `I/N`, `/N`, or None.
        environment: in which a cluster may number its processes.

    Raises:
        ValueError: they do not say, or it cannot be.
    """
    index = next((environment[name] for name in INDEXES if environment.get(name)), "")
    if asked is None:
        if not index:
            return 0, 1
        asked = f"/{environment.get(ARRAY_SIZE, '')}"
        if asked == "/":
            name = next(name for name in INDEXES if environment.get(name))
            raise ValueError(f"{name} is {index}: say with --shard /N of how many")
    matched = re.fullmatch(r"(\d*)/(\d+)", asked, re.ASCII)
    if matched is None:
        raise ValueError(f"--shard {asked} is not I/N")
    numbers = matched[1] or index
    if not numbers.isdecimal():
        raise ValueError(f"--shard {asked} has no index, nor has {' or '.join(INDEXES)}")
    share, shares = int(numbers), int(matched[2])
    if share >= shares:
        raise ValueError(f"there is no shard {share} of {shares}: they are counted from 0 on")
    return share, shares


def _batch(arguments: argparse.Namespace) -> int:
    extra, needed = {
        "local": ("batch", ("pyarrow",)),
        "ray": ("ray", ("pyarrow", "ray")),
    }[arguments.engine]
    for library in needed:
        if importlib.util.find_spec(library) is None:
            raise ModelError(f"{library} is not installed: pip install 'antbee[{extra}]'")
    from antbee.batch.run import batch  # noqa: PLC0415 - needs what has been looked for

    return batch(arguments, ROWS)


if __name__ == "__main__":
    raise SystemExit(main())
