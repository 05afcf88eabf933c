"""Classify pictures without a server: `python -m antbee.predict PATH...`.

Prints a table, or writes what `--csv` and `--jsonl` ask for; everything else goes to stderr. Each
picture takes the server's own way, `read_array` and then the predictor, so the answers are its.
"""

from antbee.command import (
    DONE,
    FAILED,
    discard_stdout,
    end_on_signals,
    positive,
    printable,
    progress_bar,
    run,
    say,
    table,
)

if __name__ == "__main__":
    end_on_signals()

import argparse
import os
import sys
from collections import Counter
from collections.abc import (
    Callable,
    Collection,
    Generator,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
    Set,
)
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, redirect_stdout
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import numpy as np

from antbee.accuracy import (
    Proportion,
    balanced_accuracy,
    describe_accuracy,
    frequent_mistakes,
    recall,
)
from antbee.ahead import work_ahead
from antbee.artifact import INDEX, LOGITS, POOLED, PackedModel, read_model
from antbee.errors import AntBeeError, DataError, ModelError
from antbee.files import canonical, find, is_folder
from antbee.images import configure_pillow, read_array, read_picture
from antbee.machine import cores
from antbee.predictor import RUNTIMES, Predictor, load_predictor, to_prediction
from antbee.results import STDOUT, Outcome, open_writers
from antbee.typicality import Judge, load_judge

SUFFIXES: Final = (".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".png", ".webp")
"""How a file in a folder ends that is taken for a picture; a file named by itself always is one.
What is in it, its bytes say."""
MOST_LABELS: Final = 12
"""Whose table of what was taken for what fits a terminal."""
MOST_MISTAKES: Final = 20
"""Of a true label and a wrong answer that are listed for more labels."""
AHEAD: Final = 4
"""Pictures for each thread that may be done before the one that is next in order."""

T = TypeVar("T")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 1 if any file could not be classified."""
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
    add(
        "--truth",
        action="store_true",
        help="where folders are called as labels: how many of the answers are right, and what was "
        "taken for what",
    )
    add("--csv", metavar="FILE", help="a line for each file; - for stdout")
    add("--jsonl", metavar="FILE", help="a JSON object for each file; - for stdout")
    add("--threads", type=positive, default=cores(), help="files at once (default: the cores)")
    arguments = parser.parse_args(argv)
    if arguments.csv and arguments.csv == arguments.jsonl:
        where = "stdout" if arguments.csv == STDOUT else "one and the same file"
        parser.error(f"only one of --csv and --jsonl can go to {where}")
    for name in (arguments.csv, arguments.jsonl):
        if name and Path(name).suffix.lower() in SUFFIXES:  # `--csv *.jpg` would write over one
            parser.error(f"{name} is called as a picture is: name another file for the answers")
    return run(lambda: predict(arguments))


def predict(arguments: argparse.Namespace) -> int:
    """Classify all that was asked for, write it down, and say how it went."""
    configure_pillow()
    files, passed_over = find_files(arguments.paths)
    model, name = open_model(arguments.model)
    predictor = load_predictor(model, arguments.runtime)
    work = partial(classify, model, predictor, load_judge(model, predictor.runtime))
    # Lines of answers on the same terminal show well enough how far it is.
    on_stdout = STDOUT in (arguments.csv, arguments.jsonl) or not (arguments.csv or arguments.jsonl)
    hidden = on_stdout and sys.stdout.isatty()
    counted: Counter[str] = Counter()
    compared: Counter[tuple[str | None, str]] = Counter()  # true label and answer
    tops = {path.absolute() for path in arguments.paths if is_folder(path)}
    spelt = {canonical(label): label for label in model.labels}
    try:
        with (
            open_writers(
                arguments.csv, arguments.jsonl, model, name, truth=arguments.truth
            ) as writers,
            progress_bar("classifying", len(files), hidden=hidden) as bar,
            closing(classify_all(work, files, arguments.threads)) as outcomes,
        ):
            for found in outcomes:
                truth = find_truth(found.path, spelt, tops) if arguments.truth else None
                outcome = replace(found, truth=truth)
                if outcome.error is not None:
                    bar.clear()
                    say(f"{printable(outcome.path)}: {outcome.error}")
                counted[outcome.prediction.label if outcome.prediction else ""] += 1
                if outcome.prediction:
                    compared[truth, outcome.prediction.label] += 1
                for write in writers:
                    write(outcome)
                bar.update()
            sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read has enough, as `head` has: nothing to say.
        discard_stdout()
        return FAILED
    except OSError as error:
        where = f"{error.filename} " if error.filename else "the answers "
        raise DataError(f"{where}cannot be written: {error.strerror}") from error
    labels = [f"{count} {label}" for label, count in sorted(counted.items()) if label]
    say(", ".join(labels) or "nothing was classified")
    if arguments.truth:
        for line in describe_truth(compared, model.labels):
            say(line)
    if counted[""]:
        say(f"{counted['']} of {counted.total()} could not be classified")
    if passed_over:
        endings = ", ".join(sorted(passed_over))
        say(f"{passed_over.total()} other files in the folders were passed over ({endings})")
    return FAILED if counted[""] else DONE


def find_files(paths: Iterable[Path]) -> tuple[list[Path | Outcome], Counter[str]]:
    """Find the files to classify.

    Args:
        paths: files as they are; folders for the pictures in and below them, sorted by name,
            hidden ones left aside, links followed.

    Returns:
        Each file, or the outcome for a folder that cannot be read or has no picture; and how many
        other files there are in the folders, by how their names end.
    """
    files: list[Path | Outcome] = []
    passed_over: Counter[str] = Counter()
    for top in paths:
        files += find_pictures(top, passed_over) if is_folder(top) else [top]
    return files, passed_over


def find_pictures(
    top: Path, passed_over: Counter[str], elsewhere: Set[object] = frozenset()
) -> Iterator[Path | Outcome]:
    """Find the pictures of a folder, one at a time, as `find_files` does.

    Args:
        top: the folder.
        passed_over: counts the other files by how their names end.
        elsewhere: folders that are not entered, see `antbee.files.walk`.
    """
    nothing = True
    for found in find(top, elsewhere):
        if isinstance(found, OSError):
            error = DataError(f"the folder cannot be read: {found.strerror}")
            yield Outcome(Path(str(found.filename)), error=error)
        elif (ending := found.suffix.lower()) in SUFFIXES:
            yield found
        else:
            passed_over[ending or "no ending"] += 1
            continue
        nothing = False
    if nothing:
        error = DataError(f"there is no picture in it, nothing called {' or '.join(SUFFIXES)}")
        yield Outcome(top, error=error)


def find_truth(path: Path, labels: Mapping[str, str], tops: Collection[Path]) -> str | None:
    """Find the label that the nearest folder above a picture is called by, if one is.

    Args:
        path: of the picture.
        labels: as the model spells them, by their `canonical` spelling.
        tops: folders that were asked for, absolute; what lies above them says nothing of what is
            in them.
    """
    for folder in path.absolute().parents:
        if label := labels.get(canonical(folder.name)):
            return label
        if folder in tops:
            break
    return None


def describe_truth(
    compared: Mapping[tuple[str | None, str], int], labels: Sequence[str]
) -> list[str]:
    """Describe in lines how right the answers are.

    Args:
        compared: pictures by true label, None where it is not known, and answer.
        labels: those of the model.

    Returns:
        Accuracy with its interval, a table of what was taken for what, of many labels only the most
        frequent mistakes, and how many pictures have no true label.
    """
    place = {label: index for index, label in enumerate(labels)}
    counts, unknown = np.zeros((len(labels), len(labels)), np.int64), 0
    for (truth, answer), count in compared.items():
        if truth is None:
            unknown += count
        else:
            counts[place[truth], place[answer]] += count
    recalls = [recall(counts, index) for index in range(len(labels))]
    lines = []
    if counts.any():
        lines.append(describe_accuracy(Proportion(int(counts.trace()), int(counts.sum()))))
        lines.append(
            f"balanced accuracy, the mean of the labels' recalls: {balanced_accuracy(recalls):.1%}"
        )
        names = [printable(label) for label in labels]
        if len(labels) <= MOST_LABELS:
            shares = [f"{one.value:.1%}" if one.of else "-" for one in recalls]
            rows = [
                [name, *row, share]
                for name, row, share in zip(names, counts.tolist(), shares, strict=True)
            ]
            lines.append(table(["true label", *names, "right"], rows))
        elif mistakes := frequent_mistakes(counts, MOST_MISTAKES):
            pairs = [(names[row], names[column], count) for row, column, count in mistakes]
            lines.append(table(["true label", "answer", "pictures"], pairs))
    if unknown:
        lines.append(f"in no folder that is called as a label: {unknown}")
    return lines


def classify_all(
    work: Callable[[T], Outcome], files: Iterable[T], threads: int
) -> Generator[Outcome, None, None]:
    """Let threads classify files, in order; closing the iterator early leaves the rest."""
    with (
        ThreadPoolExecutor(threads, thread_name_prefix="picture") as pool,
        closing(work_ahead(pool, work, files, AHEAD * threads)) as outcomes,
    ):
        yield from outcomes


def classify(
    model: PackedModel, predictor: Predictor, judge: Judge | None, file: Path | Outcome
) -> Outcome:
    """Classify a file; what cannot be read, or is decided already, is an outcome, too."""
    if isinstance(file, Outcome):
        return file
    try:
        return answer(model, predictor, judge, file, partial(read_picture, file))
    except MemoryError:
        return Outcome(file, error=DataError("it takes too much memory: try --threads 1"))


def answer(
    model: PackedModel,
    predictor: Predictor,
    judge: Judge | None,
    file: Path,
    read: Callable[[], bytes],
) -> Outcome:
    """Classify the picture that `read` gives of a file.

    Raises:
        MemoryError: there is too little for it.
    """
    try:
        array = read_array(read(), model.preprocessing)
    except OSError as error:
        return Outcome(file, error=DataError(f"it cannot be read: {error.strerror or error}"))
    except AntBeeError as error:
        return Outcome(file, error=error)
    names = (LOGITS,) if judge is None else (LOGITS, POOLED)
    logits, *pooled = predictor.outputs(array[np.newaxis], names)
    typicality = None if judge is None else judge.typicality(pooled[0][0])
    return Outcome(file, to_prediction(model, logits[0], typicality))


def open_model(tag_or_folder: str) -> tuple[PackedModel, str]:
    """Read a packed model from its folder or from BentoML's store.

    Returns:
        The model, and what it is called: its tag with the version, or its folder.

    Raises:
        ModelError: there is no such model, or it is damaged or cannot be read.
    """
    folder = Path(tag_or_folder)
    # A folder of pictures may well be called what the model in the store is.
    if is_folder(folder) and (folder.name != tag_or_folder or os.access(folder / INDEX, os.F_OK)):
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
        except OSError as error:
            raise ModelError(f"{error.filename} cannot be read: {error.strerror}") from error
    return read_model(Path(stored.path)), str(stored.tag)


if __name__ == "__main__":
    raise SystemExit(main())
