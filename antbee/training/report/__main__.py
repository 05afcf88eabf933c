"""Make a run's report again: `python -m antbee.training.report RUN`.

The last line on stdout is the path of `report.html`; everything else is on stderr.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from antbee.command import DONE, printable, run
from antbee.errors import DataError
from antbee.training.checkpoint import Checkpoint, load_checkpoint
from antbee.training.data import Pictures, find_splits
from antbee.training.folder import BEST
from antbee.training.report.write import write_report


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    arguments = parse(argv)
    return run(lambda: report(arguments.run, arguments.data))


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line; wrong usage exits with 2."""
    parser = argparse.ArgumentParser(prog="python -m antbee.training.report", description=__doc__)
    parser.add_argument("run", type=Path, metavar="RUN", help="a run's folder, with best.pt in it")
    parser.add_argument("--data", type=Path, help="the pictures' folder (default: the run's)")
    return parser.parse_args(argv)


def report(folder: Path, data: Path | None) -> int:
    """Find the run's validation pictures, write the report, and say where it is."""
    checkpoint = load_checkpoint(folder / BEST)
    pictures = find_again(checkpoint, data or Path(checkpoint.arguments["data"]))
    print(write_report(folder, pictures), flush=True)
    return DONE


def find_again(checkpoint: Checkpoint, data: Path) -> Pictures:
    """Find the pictures that a run used, without decoding them all.

    Raises:
        DataError: they are not there, or are others by number.
    """
    left_out = checkpoint.data.get("left_out", {})
    settings = checkpoint.arguments
    found = find_splits(data, settings.get("val_fraction"), settings["seed"], left_out)
    val = found["val"].pictures
    recorded = sum(checkpoint.data["pictures"]["val"].values())
    if len(val) != recorded:
        raise DataError(
            f"{printable(data)} has {len(val)} validation pictures, and the run had "
            f"{recorded}: name the folder that it was trained on with --data"
        )
    return Pictures(found["val"].labels, found["train"].pictures, val, checkpoint.data)


if __name__ == "__main__":
    raise SystemExit(main())
