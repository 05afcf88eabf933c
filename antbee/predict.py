"""Classify pictures without a server: `python -m antbee.predict PATH...`.

Prints a table, or writes what `--csv` and `--jsonl` ask for; everything else goes to stderr. Each
picture takes the server's own way, `read_array` and then the predictor, so the answers are its.
"""

import argparse
import os
import stat
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, redirect_stdout, suppress
from pathlib import Path
from typing import Final

import numpy as np

from antbee.ahead import work_ahead
from antbee.artifact import PackedModel, read_model
from antbee.command import DONE, FAILED, run, say
from antbee.errors import AntBeeError, DataError, ModelError
from antbee.images import MAX_PIXELS, read_array
from antbee.machine import cores
from antbee.predictor import RUNTIMES, Predictor, load_predictor, to_prediction
from antbee.results import STDOUT, Outcome, open_writers, shown

SUFFIXES: Final = (".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".png", ".webp")
"""How a file in a folder ends that is taken for a picture; a file named by itself always is one.
What is in it, its bytes say."""
MAX_BYTES: Final = 10 * MAX_PIXELS
"""No picture that is read has a larger file: eight bytes a pixel at most, and something around."""
AHEAD: Final = 4
"""Pictures for each thread that may be done before the one that is next in order."""
_REDRAW: Final = 0.1
_BAR: Final = 30


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code; 1 if any file could not be classified."""
    arguments = parse(argv)
    return run(lambda: predict(arguments))


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line; wrong usage exits with 2."""
    parser = argparse.ArgumentParser(prog="python -m antbee.predict", description=__doc__)
    add = parser.add_argument
    add("paths", nargs="+", type=Path, metavar="PATH", help="a picture, or a folder of them")
    add(
        "--model",
        default="ant_bee_classifier:latest",
        metavar="TAG_OR_FOLDER",
        help="a packed model in BentoML's store, or its folder (default: %(default)s)",
    )
    add(
        "--runtime",
        choices=("auto", *RUNTIMES),
        default="auto",
        help="auto: the fastest of what packing allowed",
    )
    add("--csv", metavar="FILE", help="a line for each file; - for stdout")
    add("--jsonl", metavar="FILE", help="a JSON object for each file; - for stdout")
    add("--threads", type=_positive, default=cores(), help="files at once (default: the cores)")
    arguments = parser.parse_args(argv)
    if arguments.csv == arguments.jsonl == STDOUT:
        parser.error("only one of --csv and --jsonl can go to stdout")
    return arguments


def predict(arguments: argparse.Namespace) -> int:
    """Classify all that was asked for, write it down, and say how it went."""
    found = Found(arguments.paths)
    model, name = open_model(arguments.model)
    classifier = Classifier(model, load_predictor(model, arguments.runtime))
    counted: Counter[str] = Counter()
    with _write_faults_named(), ExitStack() as stack:
        opened = open_writers(arguments.csv, arguments.jsonl, model.labels, name)
        writers = stack.enter_context(opened)
        outcomes = stack.enter_context(_classified(classifier, found.files, arguments.threads))
        for outcome in _watched(outcomes, len(found.files), bar=_bar_is_seen(arguments)):
            counted[outcome.prediction.label if outcome.prediction else ""] += 1
            for write in writers:
                write(outcome)
        sys.stdout.flush()
    _summarise(counted, found.passed_over)
    return FAILED if counted[""] else DONE


class Found:
    """The files to classify.

    Args:
        paths: files as they are; folders for the pictures in and below them, sorted by name,
            hidden ones left aside.

    Attributes:
        files: each file, or the outcome for a folder in which there is nothing to classify.
        passed_over: other files in the folders, counted by how their names end.
    """

    def __init__(self, paths: Iterable[Path]) -> None:
        self.files: list[Path | Outcome] = []
        self.passed_over: Counter[str] = Counter()
        for path in paths:
            if _is_folder(path):
                self._add_folder(path)
            else:
                self.files.append(path)

    def _add_folder(self, top: Path) -> None:
        before = len(self.files)
        for folder, below, names in os.walk(top, onerror=self._add_fault):
            below[:] = sorted(name for name in below if not name.startswith("."))
            for name in sorted(name for name in names if not name.startswith(".")):
                self._add_file(Path(folder, name))
        if len(self.files) == before:
            error = DataError(f"there is no picture in it, nothing called {' or '.join(SUFFIXES)}")
            self.files.append(Outcome(top, error=error))

    def _add_file(self, path: Path) -> None:
        suffix = path.suffix.lower()
        if suffix in SUFFIXES:
            self.files.append(path)
        else:
            self.passed_over[suffix or "no ending"] += 1

    def _add_fault(self, error: OSError) -> None:
        reason = DataError(f"the folder cannot be read: {error.strerror}")
        self.files.append(Outcome(Path(str(error.filename)), error=reason))


class Classifier:
    """A packed model that classifies files, in any number of threads."""

    def __init__(self, model: PackedModel, predictor: Predictor) -> None:
        self._model = model
        self._predictor = predictor

    def outcome(self, file: Path | Outcome) -> Outcome:
        """Classify a file; what cannot be read, or is decided already, is an outcome, too."""
        if isinstance(file, Outcome):
            return file
        try:
            array = read_array(read_file(file), self._model.preprocessing)
        except AntBeeError as error:
            return Outcome(file, error=error)
        except MemoryError:
            return Outcome(file, error=DataError("it takes too much memory: try --threads 1"))
        logits = self._predictor.logits(array[np.newaxis])
        return Outcome(file, to_prediction(self._model, logits[0]))


def read_file(path: Path) -> bytes:
    """Read a file that may be a picture.

    Raises:
        DataError: there is none, or it cannot be read.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise DataError("it is not a file")
        if status.st_size > MAX_BYTES:
            raise DataError(f"it is larger than {MAX_BYTES / 1e6:g} MB")
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"it cannot be read: {error.strerror}") from error


def open_model(tag_or_folder: str) -> tuple[PackedModel, str]:
    """Read a packed model from its folder or from BentoML's store.

    Returns:
        The model, and what it is called: its tag with the version, or its folder.

    Raises:
        ModelError: there is no such model, or it is damaged.
    """
    folder = Path(tag_or_folder)
    if _is_folder(folder):
        return read_model(folder), tag_or_folder
    with redirect_stdout(sys.stderr):  # where BentoML would report, stdout is for the answers
        import bentoml  # noqa: PLC0415 - takes a second, and a folder needs no store
        from bentoml.exceptions import BentoMLException  # noqa: PLC0415 - likewise

        try:
            stored = bentoml.models.get(tag_or_folder)
        except (BentoMLException, ValueError) as error:
            raise ModelError(
                f"there is no packed model {tag_or_folder}: run save_to_bento.py first, or name "
                "one of `bentoml models list`, or a folder, with --model"
            ) from error
    return read_model(Path(stored.path)), str(stored.tag)


def _is_folder(path: Path) -> bool:
    with suppress(OSError):
        return path.is_dir()
    return False  # what is wrong with it is said when it is read


@contextmanager
def _classified(
    classifier: Classifier, files: Sequence[Path | Outcome], threads: int
) -> Iterator[Iterator[Outcome]]:
    with (
        ThreadPoolExecutor(threads, thread_name_prefix="picture") as pool,
        closing(work_ahead(pool, classifier.outcome, files, AHEAD * threads)) as outcomes,
    ):
        yield outcomes


@contextmanager
def _write_faults_named() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        # Whoever read has enough, as `head` has: nothing to say, and nothing left to be flushed.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(FAILED) from None
    except OSError as error:
        where = f"{error.filename} " if error.filename else "the answers "
        raise DataError(f"{where}cannot be written: {error.strerror}") from error


def _bar_is_seen(arguments: argparse.Namespace) -> bool:
    on_stdout = STDOUT in (arguments.csv, arguments.jsonl) or not (arguments.csv or arguments.jsonl)
    # Lines of answers on the same terminal show well enough how far it is.
    return sys.stderr.isatty() and not (on_stdout and sys.stdout.isatty())


def _watched(outcomes: Iterator[Outcome], total: int, *, bar: bool) -> Iterator[Outcome]:
    drawn = 0.0
    for done, outcome in enumerate(outcomes, 1):
        if bar and time.monotonic() - drawn > _REDRAW:
            drawn = time.monotonic()
            _draw_bar(done, total)
        if outcome.error is not None:
            _clear_bar(bar=bar)
            say(f"{shown(outcome.path)}: {outcome.error}")
        yield outcome
    _clear_bar(bar=bar)


def _draw_bar(done: int, total: int) -> None:
    filled = _BAR * done // total
    bar = f"[{'#' * filled}{'.' * (_BAR - filled)}] {done} of {total}"
    print(f"\r{bar}", end="", file=sys.stderr, flush=True)


def _clear_bar(*, bar: bool) -> None:
    if bar:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _summarise(counted: Counter[str], passed_over: Counter[str]) -> None:
    failed = counted[""]
    labels = [f"{count} {label}" for label, count in sorted(counted.items()) if label]
    say(", ".join(labels) or "nothing was classified")
    if failed:
        say(f"{failed} of {counted.total()} could not be classified")
    if passed_over:
        endings = ", ".join(sorted(passed_over))
        say(f"{passed_over.total()} other files in the folders were passed over ({endings})")


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


if __name__ == "__main__":
    raise SystemExit(main())
