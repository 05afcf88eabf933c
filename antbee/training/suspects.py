"""Pictures that a person should look at: whose label may be wrong, and which are nearly the same.

Finds them, and writes and reads `suspects.csv`. Decides nothing about them: `clean` moves what a
person has marked.
"""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

import numpy as np
import torch
from numpy.typing import NDArray

from antbee.ahead import open_pool
from antbee.calibration import fit_temperature, softmax
from antbee.errors import DataError
from antbee.results import disarm
from antbee.training.check import examine
from antbee.training.checkpoint import Checkpoint
from antbee.training.copies import find_copies
from antbee.training.data import TEST, Copies, Pictures, Split, read_files
from antbee.training.features import Features
from antbee.training.learner import Learner
from antbee.training.network import restore_model
from antbee.training.run import make_hyperparameters

SUSPECTS: Final = "suspects.csv"
COLUMNS: Final = ("move", "kind", "path", "label", "looks_like", "sure", "other")
LABEL: Final = "label"
COPY: Final = "copy"
FOLDS: Final = 5
RIDGE: Final = 1.0
"""Pictures' worth of belief that the features tell nothing."""
_BYTES: Final = 100_000_000
_QUOTED: Final = re.compile(r"[%;\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


@dataclass(frozen=True)
class Suspect:
    """A picture to look at."""

    kind: str  # LABEL or COPY
    path: Path
    label: str
    looks_like: str  # another label; of a copy, that of the other picture
    sure: float  # 0 to 1: the probability of that label; of a copy, how similar the two are
    other: Path | None = None  # the picture that it is nearly the same as


@dataclass(frozen=True)
class Suspects:
    """What is to be looked at, the surest first."""

    labels: list[Suspect] = field(default_factory=list)
    copies: list[Suspect] = field(default_factory=list)
    right: float | None = None  # share of the labels that predictions out of fold agree with
    reason: str = ""  # why no label was judged

    def first(self, most: int) -> set[Path]:
        """The pictures of the first suspects of each kind."""
        shown = (*self.labels[:most], *self.copies[:most])
        return {path for one in shown for path in (one.path, one.other) if path}


def find_suspects(
    checkpoint: Checkpoint,
    pictures: Pictures,
    device: torch.device,
    pooled: torch.Tensor | None = None,
) -> Suspects:
    """Find wrong labels among the training pictures, and near copies among all.

    Labels are judged by what the frozen part of the network makes of the pictures, which no label
    had a part in. Where nothing is frozen none is judged: a network that was trained on a wrong
    label answers with it.

    Args:
        checkpoint: of the run.
        pictures: with the labels of the checkpoint.
        device: where the frozen part runs, if it has to.
        pooled: `antbee.training.features.Features.pooled` of the run, if it is at hand.

    Raises:
        DataError: a picture can no longer be read.
    """
    copies = pictures.copies
    if copies is None:
        used = {
            name: Split(pictures.labels, mine, pictures.folder)
            for name, mine in (
                ("train", pictures.train),
                ("val", pictures.val),
                (TEST, pictures.test),
            )
        }
        files = [one.path for split in used.values() for one in split.pictures]
        seen = read_files("comparing", examine, files)
        faults = {path: one.fault for path, one in seen.items() if one.fault is not None}
        used[TEST] = used[TEST].only(seen.keys() - faults.keys())  # nobody has checked these
        for split in used.values():
            for one in split.pictures:
                if one.path in faults:
                    raise DataError(f"{one.path} can no longer be read: {faults[one.path]}")
        copies = find_copies(
            used,
            {path: one.sha256 for path, one in seen.items()},
            {path: one.thumbnail for path, one in seen.items()},
        )
    if checkpoint.arguments["freeze"] == "none":
        reason = (
            "nothing was frozen, and a network that was trained on a wrong label answers with it"
        )
        return Suspects([], _pairs(copies, pictures.labels, {}), reason=reason)

    if pooled is None:
        pooled = pool_features(checkpoint, pictures, device)
    labels = np.array([one.label for one in pictures.train], np.int64)
    shares = predict_out_of_fold(pooled.numpy(), labels, len(pictures.labels))
    answers = confident_answers(shares, labels)
    suspects = [
        Suspect(
            LABEL,
            pictures.train[index].path,
            pictures.labels[labels[index]],
            pictures.labels[answers[index]],
            float(shares[index, answers[index]]),
        )
        for index in np.flatnonzero(answers != labels)
    ]
    believed = {one.path: float(shares[n, one.label]) for n, one in enumerate(pictures.train)}
    return Suspects(
        sorted(suspects, key=lambda one: -one.sure),
        _pairs(copies, pictures.labels, believed),
        right=float((shares.argmax(1) == labels).mean()),
    )


def pool_features(checkpoint: Checkpoint, pictures: Pictures, device: torch.device) -> torch.Tensor:
    """Compute `antbee.training.features.Features.pooled` as the run of the checkpoint does.

    Raises:
        DataError: a picture can no longer be read.
    """
    settings = checkpoint.arguments
    parameters = make_hyperparameters(settings, pictures, checkpoint.precision)
    learner = Learner(restore_model(checkpoint), device, parameters)
    with open_pool() as pool:
        return Features(
            learner,
            pictures,
            pool,
            lambda: None,
            seed=settings["seed"],
            size=settings["batch_size"],
            views=checkpoint.views,
        ).pooled()


def _pairs(
    copies: list[Copies], labels: Sequence[str], believed: Mapping[Path, float]
) -> list[Suspect]:
    """Name of each pair the one to move: in training, the one whose label is believed less."""
    pairs = []
    for pair in copies:
        one, other = pair.picture, pair.other
        if {one.path, other.path} <= believed.keys() and believed[other.path] < believed[one.path]:
            one, other = other, one
        label, looks_like = labels[one.label], labels[other.label]
        pairs.append(Suspect(COPY, one.path, label, looks_like, pair.similarity, other.path))
    return pairs


def predict_out_of_fold(
    features: NDArray[np.floating[Any]], labels: NDArray[np.int64], classes: int
) -> NDArray[np.float64]:
    """Predict each picture's label by a linear model that was fitted on the others.

    The pictures of each label are dealt out to `FOLDS` folds, the same way every time. On those of
    the others, least squares with a ridge map the standardized features to each label's indicator,
    by its share, so that a small label counts as much as a large one. A temperature makes
    probabilities of what they give.

    Args:
        features: [N, D].
        labels: int64 [N].
        classes: how many there are.

    Returns:
        Probabilities [N, classes].
    """
    count, width = features.shape
    scaled = features.astype(np.float64)
    scaled -= scaled.mean(0)
    scaled /= (scaled.std(0) + 1e-9) * np.sqrt(width)
    generator = np.random.default_rng(0)
    order = generator.permutation(count)
    order = order[np.argsort(labels[order], kind="stable")]
    folds = np.empty(count, np.int64)
    folds[order] = np.arange(count) % FOLDS

    indicators = np.eye(classes)[labels]
    squares = scaled.T @ scaled
    scores = np.zeros((count, classes))
    for fold in range(FOLDS):
        held = folds == fold
        own = scaled[held]
        share = np.maximum(indicators[~held].mean(0), 1 / count)
        targets = indicators[~held] / share - 1
        gram = squares - own.T @ own + RIDGE * np.eye(width)
        scores[held] = own @ np.linalg.solve(gram, scaled[~held].T @ targets)
    scores /= classes
    return softmax(scores, fit_temperature(scores, labels))


def confident_answers(shares: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Tell which label each picture confidently belongs to; its own, where there is no other.

    Confident learning (Northcutt et al. 2021, arXiv:1911.00068, section 3.1): a picture is counted
    under a label if that one's probability is at least what the label's own pictures have on
    average, and under the most probable of several. Off the diagonal of that count, the confident
    joint, labels are wrong. A label of fewer pictures than folds is passed over.

    Args:
        shares: probabilities out of fold [N, classes].
        labels: as given, int64 [N].
    """
    counts = np.bincount(labels, minlength=shares.shape[1])
    sums = np.bincount(labels, shares[np.arange(len(labels)), labels], shares.shape[1])
    thresholds = np.where(counts >= FOLDS, sums / np.maximum(counts, 1), np.inf)
    confident = shares >= thresholds
    answers = np.where(confident, shares, -1).argmax(1)
    judged = confident.any(1) & (counts[labels] >= FOLDS)
    return np.where(judged, answers, labels)


def to_csv(suspects: Suspects, folder: Path, marks: Mapping[tuple[str, ...], str]) -> str:
    """Write the table, one row a suspect; `marks` is what `read_marks` read of an earlier one.

    Paths are relative to the pictures' `folder`; see `quote`.
    """
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    for one in (*suspects.labels, *suspects.copies):
        path, other = (quote(end, folder) if end else "" for end in (one.path, one.other))
        marked = marks.get((one.kind, path, other), "")
        words = map(disarm, (marked, one.kind, path, one.label, one.looks_like))
        writer.writerow([*words, f"{one.sure:.3f}", other])
    return file.getvalue()


def quote(path: Path, folder: Path) -> str:
    """Name a picture so that a spreadsheet neither runs the name nor changes it.

    What is no text, controls, or ends a cell in some spreadsheet is written as in an address
    (`%3B`), and `./` stands before what would begin a formula.
    """
    name = _QUOTED.sub(
        lambda found: "".join(
            f"%{byte:02X}" for byte in found[0].encode("utf-8", "surrogateescape")
        ),
        path.relative_to(folder).as_posix(),
    )
    return name if disarm(name) == name else f"./{name}"


def unquote_path(name: str) -> str:
    """Undo `quote`, but for the folder."""
    return unquote(name, errors="surrogateescape")


def read_suspects(path: Path) -> list[dict[str, str]]:
    """Read a table's rows, by column, as a spreadsheet may have saved it.

    Raises:
        DataError: it is missing, cannot be read, or lacks columns.
    """
    try:
        if not path.is_file() or path.stat().st_size > _BYTES:
            raise DataError(f"there is no {path.name} of a run: {path}")
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    head = text.partition("\n")[0]
    delimiter = next((one for one in (";", "\t") if one in head), ",")
    try:  # strict: or one quotation mark too many would hide the marks of all rows after it
        file = io.StringIO(text, newline="")
        rows = list(csv.DictReader(file, delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise DataError(f"{path} has a quotation mark too many or too few: {error}") from error
    if missing := set(COLUMNS) - set(head.strip().replace('"', "").split(delimiter)):
        raise DataError(f"{path} lacks the columns {', '.join(sorted(missing))}")
    return [{name: row[name] or "" for name in COLUMNS} for row in rows]


def read_marks(path: Path) -> dict[tuple[str, ...], str]:
    """What a person wrote into the column `move` of a table, by kind, path and other picture."""
    if not path.exists():
        return {}
    return {(row["kind"], row["path"], row["other"]): row["move"] for row in read_suspects(path)}
