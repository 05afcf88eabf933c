"""Make a run's report again: `python -m antbee.training.report RUN`.

The last line on stdout is the path of `report.html`; everything else is on stderr.
"""

from antbee.command import DONE, end_on_signals, printable, run

if __name__ == "__main__":
    end_on_signals()

import argparse
from collections.abc import Sequence
from pathlib import Path

from antbee.errors import DataError
from antbee.images import configure_pillow
from antbee.training.checkpoint import load_checkpoint
from antbee.training.data import Pictures, find_splits
from antbee.training.folder import BEST
from antbee.training.report.write import write_report


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code; wrong usage exits with 2."""
    parser = argparse.ArgumentParser(prog="python -m antbee.training.report", description=__doc__)
    parser.add_argument("run", type=Path, metavar="RUN", help="a run's folder, with best.pt in it")
    parser.add_argument("--data", type=Path, help="the pictures' folder (default: the run's)")
    arguments = parser.parse_args(argv)
    configure_pillow()
    return run(lambda: report(arguments.run, arguments.data))


def report(folder: Path, data: Path | None) -> int:
    """Find the run's validation pictures, decoding none, write the report, and say where it is.

    Raises:
        DataError: the pictures are not there, or are others by number.
    """
    configure_pillow()
    checkpoint = load_checkpoint(folder / BEST)
    settings, provenance = checkpoint.arguments, checkpoint.data
    data = data or Path(settings["data"])
    known = provenance.get("unreadable", ())
    splits = find_splits(data, settings.get("val_fraction"), settings["seed"], known)
    train, val = splits["train"].pictures, splits["val"].pictures
    recorded = sum(provenance["pictures"]["val"].values())
    if len(val) != recorded:
        raise DataError(
            f"{printable(data)} has {len(val)} validation pictures, and the run had "
            f"{recorded}: name the folder that it was trained on with --data"
        )
    pictures = Pictures(splits["val"].labels, train, val, provenance, folder=data)
    print(write_report(folder, pictures), flush=True)
    return DONE


if __name__ == "__main__":
    raise SystemExit(main())
