"""Is this a picture of any of the labels at all?

A network that was trained on ants and bees calls a white page one of them. What it kept of ImageNet
does not: the channel means of its deepest frozen stage lie elsewhere for a page. Their *score* says
on which side of a linear boundary, between the training pictures and other things, they lie: a
ridge regression, which for two classes is a regularised discriminant (Friedman 1989), used as
outlier exposure (Hendrycks et al. 2018, arXiv:1812.04606). Their *typicality* is the conformal
p-value of that score among validation pictures (Bates et al. 2021, arXiv:2104.08279): of pictures
exchangeable with those, a share of at most p has a typicality of p or less, whatever the network.

NumPy only; knows nothing of networks or pictures, only vectors of them.
"""

import math
import zipfile
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from antbee.artifact import TYPICALITY, PackedModel
from antbee.errors import ModelError

UNKNOWN_BELOW: Final = 0.05
"""The typicality up to which a picture is said to show none of the labels."""
FEWEST: Final = 19
"""Of fewer known pictures none can be unknown: typicality is never below 1/(n + 1)."""
RIDGE: Final = 0.1
DROPPED: Final = 0.2
"""The share of natural vectors, those most like the labels, that are not taken for other things."""
FOLDS: Final = 5
ROUNDS: Final = 2
MOST_SCORES: Final = 1000
"""Scores that a packed model keeps: a typicality in steps of a thousandth will do."""
_SCORES: Final = "scores_"

Vectors = NDArray[np.floating[Any]]
"""[N, channels]"""
Scores = NDArray[np.float64]
"""[N]; the higher, the more like the labels."""


@dataclass(frozen=True)
class Boundary:
    """A linear function of a vector, high for pictures of the labels and low for other things.

    Attributes:
        direction: float64 [channels].
        bias: added to the product.
    """

    direction: NDArray[np.float64]
    bias: float

    def scores(self, vectors: Vectors) -> Scores:
        """Score vectors [N, channels]."""
        return np.asarray(vectors @ self.direction + self.bias, np.float64)


def fit_boundary(inside: Vectors, outside: Vectors) -> Boundary:
    """Fit a ridge regression of +1 for `inside` and -1 for `outside`, each weighing a half."""
    both = np.concatenate([inside, outside]).astype(np.float64)
    centre, scale = both.mean(0), both.std(0)
    scale[scale == 0] = 1  # a channel that never changes tells nothing, and divides by nothing
    z = np.column_stack([(both - centre) / scale, np.ones(len(both))])
    sizes = [len(inside), len(outside)]
    targets = np.repeat([1.0, -1.0], sizes)
    weighted = z * np.repeat([0.5 / size for size in sizes], sizes)[:, np.newaxis]
    solved = np.linalg.solve(weighted.T @ z + RIDGE * np.eye(z.shape[1]), weighted.T @ targets)
    direction = solved[:-1] / scale
    return Boundary(direction, float(solved[-1] - centre @ direction))


def unlike(inside: Vectors, natural: Vectors, drawn: Vectors) -> NDArray[np.bool_]:
    """Find what of `natural` is not of the labels' own kind, which may be among anybody's pictures.

    Each vector is scored by a boundary that was fitted without it, and the `DROPPED` highest are
    left out; twice, so that the second boundary is fitted without the first's finds.

    Returns:
        bool [N], true for the vectors to keep.
    """
    keep = np.ones(len(natural), bool)
    parts = np.array_split(np.random.default_rng(0).permutation(len(natural)), FOLDS)
    for _ in range(ROUNDS):
        found = np.empty(len(natural))
        for part in parts:
            rest = keep.copy()
            rest[part] = False
            outside = np.concatenate([natural[rest], drawn])
            found[part] = fit_boundary(inside, outside).scores(natural[part])
        keep = found <= np.quantile(found, 1 - DROPPED)
    return keep


def fit(inside: Vectors, natural: Vectors, drawn: Vectors) -> Boundary:
    """Fit the boundary between pictures of the labels and a bank of other things.

    Args:
        inside: of training pictures.
        natural: of photographs of all kinds of things, the labels' perhaps among them.
        drawn: of what no camera took; none of them is of a label.
    """
    kept = natural[unlike(inside, natural, drawn)]
    return fit_boundary(inside, np.concatenate([kept, drawn]))


def cross_scores(inside: Vectors, natural: Vectors, drawn: Vectors) -> Scores:
    """Score each training vector by a boundary that was fitted on the other folds.

    They stand in for those of validation pictures where there are none. Of pictures exchangeable
    with them, a share of at most 2p then has a typicality of p or less (cross-conformal: Barber et
    al. 2019, arXiv:1905.02928).
    """
    turns = np.random.default_rng(0).permutation(len(inside)) % FOLDS
    scores = np.empty(len(inside))
    for turn in range(FOLDS):
        held = turns == turn
        scores[held] = fit(inside[~held], natural, drawn).scores(inside[held])
    return scores


def typicality(score: float, reference: Sequence[float]) -> float:
    """Say how typical a score is: the share of scores up to it, itself among them, above 0 to 1.

    `reference` are the scores of known pictures, in ascending order. What is no number is as
    untypical as can be.
    """
    lower = bisect_right(reference, score) if math.isfinite(score) else 0
    return (1 + lower) / (len(reference) + 1)


def refused(scores: Scores, level: float = UNKNOWN_BELOW, folds: int = FOLDS) -> NDArray[np.bool_]:
    """Say for each score whether it would be unknown, measured by the other folds' scores.

    The folds are drawn, the same every time; where so few are left that they could refuse nothing,
    each score is a fold. Scores [N], at least two.
    """
    if len(scores) - math.ceil(len(scores) / folds) < FEWEST:
        folds = len(scores)
    turns = np.random.default_rng(0).permutation(len(scores)) % folds
    unknown = np.zeros(len(scores), bool)
    for turn in np.unique(turns):
        held = turns == turn
        others = np.sort(scores[~held]).tolist()
        unknown[held] = [typicality(score, others) <= level for score in scores[held].tolist()]
    return unknown


@dataclass(frozen=True)
class Judge:
    """Tells how typical a picture is, from its vector; may be asked from several threads at once.

    Attributes:
        boundary: between the labels and other things.
        reference: the scores of known pictures, in ascending order.
    """

    boundary: Boundary
    reference: Sequence[float]

    def typicality(self, vector: Vectors) -> float:
        """Return the typicality, 0 to 1, of a picture's vector [channels]."""
        return typicality(
            float(vector @ self.boundary.direction) + self.boundary.bias, self.reference
        )


def write_typicality(model: PackedModel, boundary: Boundary, scores: Mapping[str, Scores]) -> None:
    """Write the file of a packed model; `scores` are those of known pictures by runtime.

    Its bytes are the same for the same numbers.
    """
    draw = np.random.default_rng(0)
    arrays = {
        # Drawn, so that they are exchangeable with all of them.
        f"{_SCORES}{runtime}": np.sort(draw.permutation(found)[:MOST_SCORES]).astype(np.float32)
        for runtime, found in scores.items()
    }
    direction = boundary.direction.astype(np.float32)
    bias = np.float64(boundary.bias)
    np.savez(model.folder / TYPICALITY, direction=direction, bias=bias, **arrays)  # type: ignore[arg-type]  # its last parameter is a keyword


def load_judge(model: PackedModel, runtime: str) -> Judge | None:
    """Read what judges the vectors of a runtime; None where the model cannot tell.

    Raises:
        ModelError: the file is missing or damaged, or is not what its name says.
    """
    if not model.tells_unknown:
        return None
    path = model.path(TYPICALITY)
    try:
        with np.load(path, allow_pickle=False) as arrays:
            direction, bias = arrays["direction"].astype(np.float64), float(arrays["bias"])
            reference = arrays[f"{_SCORES}{runtime}"].astype(np.float64)
    except (AttributeError, EOFError, KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise ModelError(f"{path} is not what it should be: pack the model again") from error
    if direction.ndim != 1 or reference.ndim != 1 or not np.isfinite(direction).all():
        raise ModelError(f"{path} does not fit the model: pack the model again")
    return Judge(Boundary(direction, bias), reference.tolist())
