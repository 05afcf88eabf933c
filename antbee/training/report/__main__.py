"""Make a run's report again: `python -m antbee.training.report RUN`.

With `--split test` it measures the run on test pictures, of its own folder or of another, and
writes a page about them. The last line on stdout is the page's path; everything else is on stderr.
"""

from antbee.command import DONE, answer, end_on_signals, printable, run, say

if __name__ == "__main__":
    end_on_signals()

import argparse
from collections.abc import Sequence
from pathlib import Path

from antbee.errors import DataError
from antbee.images import configure_pillow
from antbee.training.check import check_test, list_copies
from antbee.training.checkpoint import Checkpoint, load_checkpoint
from antbee.training.data import TEST, Pictures, Split, find_splits, find_test, hash_files, name_in
from antbee.training.folder import BEST
from antbee.training.report.write import write_report


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code; wrong usage exits with 2."""
    parser = argparse.ArgumentParser(prog="python -m antbee.training.report", description=__doc__)
    parser.add_argument("run", type=Path, metavar="RUN", help="a run's folder, with best.pt in it")
    parser.add_argument("--data", type=Path, help="the pictures' folder (default: the run's)")
    parser.add_argument(
        "--split",
        choices=("val", TEST),
        default="val",
        help=f"test: measure on DATA/{TEST}/<label>/*, by which nothing was chosen (%(default)s)",
    )
    arguments = parser.parse_args(argv)
    configure_pillow()
    work = report_test if arguments.split == TEST else report
    return run(lambda: work(arguments.run, arguments.data))


def report(folder: Path, data: Path | None) -> int:
    """Find the run's validation pictures, decoding none, write the report, and say where it is.

    Raises:
        DataError: the pictures are not there, or are others by number.
    """
    checkpoint = load_checkpoint(folder / BEST)
    provenance = checkpoint.data
    data = data or Path(checkpoint.arguments["data"])
    splits = find_own(checkpoint, data)
    train, val = splits["train"].pictures, splits["val"].pictures
    recorded = sum(provenance["pictures"]["val"].values())
    if len(val) != recorded:
        raise DataError(
            f"{printable(data)} has {len(val)} validation pictures, and the run had "
            f"{recorded}: name the folder that it was trained on with --data"
        )
    labels = splits["val"].labels
    found = find_test(data, labels)
    test = found.pictures if found else []
    pictures = Pictures(labels, train, val, provenance, test=test, folder=data)
    answer(write_report(folder, pictures))
    return DONE


def report_test(folder: Path, data: Path | None) -> int:
    """Measure the run on the test pictures, write a page about them, and say where it is.

    Raises:
        DataError: there are none that can be read.
    """
    checkpoint = load_checkpoint(folder / BEST)
    own = Path(checkpoint.arguments["data"])
    data = data or own
    known: dict[str, str] = {}
    try:
        splits = find_own(checkpoint, own)
    except DataError as error:
        say(f"not looked for copies of pictures to train or validate on: {error}")
    else:
        used = [one.path for split in splits.values() for one in split.pictures]
        known = {sha256: name_in(own, path) for path, sha256 in hash_files(used).items()}
    test, tested, _ = check_test(data, checkpoint.labels, known)
    if not test:
        raise DataError(
            f"there are no pictures in {printable(data / TEST)}/<label>/ to measure on: "
            "name the folder that has them with --data"
        )
    for line in list_copies(tested):
        say(line)
    pictures = Pictures(checkpoint.labels, [], [], {"test": tested}, test=test)
    answer(write_report(folder, pictures, split=TEST))
    return DONE


def find_own(checkpoint: Checkpoint, data: Path) -> dict[str, Split]:
    """Find the pictures of `train` and `val` as the run did."""
    settings, unreadable = checkpoint.arguments, checkpoint.data.get("unreadable", ())
    return find_splits(data, settings.get("val_fraction"), settings["seed"], unreadable)


if __name__ == "__main__":
    raise SystemExit(main())
