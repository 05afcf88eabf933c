"""Move pictures that a person has confirmed to be wrong out of a run's folder of pictures.

`suspects.csv` in the run's folder lists suspects. Write `yes` into its column `move` for each
picture that is to go, or `other` for the one that it is nearly the same as; `--all` moves every
suspect that is not marked `no`. Nothing is deleted: FOLDER gets the same folders, so that what was
moved can be moved back. Prints where each picture is now; everything else is on stderr.
"""

from antbee.command import DONE, answer, end_on_signals, printable, run, say

if __name__ == "__main__":
    end_on_signals()

import argparse
import os
import shlex
import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from antbee.errors import DataError
from antbee.files import is_folder
from antbee.images import is_picture

MARKS: Final = {"": "", "no": "", "yes": "path", "other": "other"}
"""The column of the picture to move, by what may be written into `move`."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code; wrong usage exits with 2."""
    parser = argparse.ArgumentParser(prog="python -m antbee.training.clean", description=__doc__)
    parser.add_argument("run", type=Path, metavar="RUN", help="a run's folder")
    parser.add_argument("--move", type=Path, metavar="FOLDER", required=True, help="where to")
    parser.add_argument("--all", action="store_true", help="every suspect that is not marked no")
    parser.add_argument("--data", type=Path, help="the pictures' folder (default: the run's)")
    options = parser.parse_args(argv)
    return run(lambda: clean(options.run, options.data, options.move, options.all))


def clean(folder: Path, data: Path | None, aside: Path, everything: bool) -> int:
    """Move what is marked, all of it or, where something is in the way, nothing.

    Raises:
        DataError: a mark or a path in the table means nothing, a picture lies outside the pictures'
            folder or is there already, or one cannot be moved.
    """
    # Loading torch takes seconds: --help need not wait.
    from antbee.training.checkpoint import load_checkpoint  # noqa: PLC0415
    from antbee.training.folder import BEST  # noqa: PLC0415
    from antbee.training.suspects import SUSPECTS, read_suspects  # noqa: PLC0415

    rows = read_suspects(folder / SUSPECTS)
    data = data or Path(load_checkpoint(folder / BEST).arguments["data"])
    if not is_folder(data):
        raise DataError(f"there is no folder {data} of pictures to move: name theirs with --data")
    if aside.resolve().is_relative_to(data.resolve()):
        raise DataError(f"{aside} is in {data}, where its pictures would be found again")
    moves, gone = {}, 0
    for name in dict.fromkeys(chosen(rows, everything=everything)):
        source, destination = locate(data, name), aside / name
        if not os.path.lexists(source):
            gone += 1
            continue
        if os.path.lexists(destination):
            raise DataError(f"{printable(destination)} is there already, and is not written over")
        try:
            if not is_picture(source):
                raise DataError(
                    f"{printable(source)} is no picture: it is not moved, and nothing is"
                )
        except OSError as error:
            raise DataError(f"{printable(source)} cannot be read: {error.strerror}") from error
        moves[source] = destination
    for source, destination in moves.items():
        move(source, destination)
        answer(printable(destination))
    say(f"moved {len(moves)} picture(s) from {data} to {aside}")
    if gone:
        say(f"{gone} had gone before")
    if moves:
        back = f"cp -Rn {shlex.quote(f'{aside}/.')} {shlex.quote(str(data))}"
        say(f"to have them back: {back}; to train without them: begin another run")
    elif not gone:
        say(f"nothing in {folder / SUSPECTS} is marked: write yes into the column move, or --all")
    return DONE


def move(source: Path, destination: Path) -> None:
    """Move a picture, making folders for it; it is where it was, or whole where it is to be.

    Raises:
        DataError: it cannot be moved.
    """
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        if source.is_symlink():  # which may lead astray from another folder
            destination.symlink_to(source.resolve())
            source.unlink()
        else:
            shutil.move(source, destination)
    except BaseException as error:
        if os.path.lexists(source):  # on another disk, a full one or Ctrl-C leaves half a copy
            with suppress(OSError):
                destination.unlink()
        if not isinstance(error, OSError):
            raise
        raise DataError(
            f"{printable(source)} could not be moved: {error.strerror or error}"
        ) from error


def chosen(rows: Iterable[Mapping[str, str]], *, everything: bool) -> list[Path]:
    """List the paths to move, as the table has them; of each row one at most.

    Raises:
        DataError: a mark is none of `MARKS`.
    """
    from antbee.training.suspects import unquote_path  # noqa: PLC0415 - see `clean`

    paths = []
    for row in rows:
        mark = row["move"].strip().lower()
        if mark not in MARKS:
            raise DataError(
                f"move is {row['move']!r} for {printable(row['path'])}, and may be yes, other or no"
            )
        column = MARKS[mark] or ("path" if everything and mark != "no" else "")
        if column and not row[column]:
            raise DataError(f"{printable(row['path'])} has no {column} picture to move")
        if column:
            paths.append(Path(unquote_path(row[column])))
    return paths


def locate(data: Path, name: Path) -> Path:
    """Find a picture of the table in the pictures' folder.

    Raises:
        DataError: it would lie outside, by its name or by a linked folder.
    """
    path = data / name
    astray = name.is_absolute() or ".." in name.parts or "\0" in str(name)
    if astray or not path.parent.resolve().is_relative_to(data.resolve()):
        raise DataError(f"{printable(name)} lies outside {data}: it is not moved, and nothing is")
    return path


if __name__ == "__main__":
    raise SystemExit(main())
