"""Typicality: the boundary between the labels and other things, and the promise of its p-values."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from antbee.artifact import TYPICALITY, PackedModel, read_model, write_model
from antbee.errors import ModelError
from antbee.typicality import (
    FEWEST,
    MOST_SCORES,
    UNKNOWN_BELOW,
    Boundary,
    Vectors,
    cross_scores,
    fit,
    fit_boundary,
    load_judge,
    refused,
    typicality,
    unlike,
    write_typicality,
)

CHANNELS = 8


def drawn(count: int, middle: float, seed: int = 0) -> Vectors:
    """Draw vectors around a point."""
    return np.random.default_rng(seed).normal(middle, 1, (count, CHANNELS)).astype(np.float32)


def test_known_boundary() -> None:
    """Two points on a line are a half apart each, less what the ridge takes; the middle is 0."""
    boundary = fit_boundary(np.array([[3.0]]), np.array([[1.0]]))

    # One channel standardised to 1 and -1: (1 + ridge) w = 1, so w = 1/1.1.
    assert boundary.scores(np.array([[3.0], [2.0], [1.0]])) == pytest.approx([1 / 1.1, 0, -1 / 1.1])


def test_sides_weigh_the_same() -> None:
    """However many other things there are, the boundary lies in the middle."""
    inside, outside = np.array([[3.0], [3.2]]), np.array([[1.0], [0.8]])
    few = fit_boundary(inside, outside)
    many = fit_boundary(inside, np.tile(outside, (50, 1)))

    def zero(boundary: Boundary) -> float:
        return -boundary.bias / float(boundary.direction[0])

    assert zero(few) == pytest.approx(2, abs=0.01)
    assert abs(zero(many) - 2) < 0.1


def test_constant_channel_tells_nothing() -> None:
    """A channel that is the same in all pictures has no weight, and breaks nothing."""
    inside, outside = drawn(20, 1), drawn(20, -1)
    inside[:, 3] = outside[:, 3] = 7

    assert fit_boundary(inside, outside).direction[3] == pytest.approx(0)


def test_other_things_score_lower() -> None:
    """What lies elsewhere than the labels scores lower than what lies among them."""
    boundary = fit(drawn(60, 1), drawn(80, -1, 1), drawn(40, -3, 2))

    assert boundary.scores(drawn(50, 1, 3)).min() > boundary.scores(drawn(50, -1, 4)).mean()
    assert boundary.scores(drawn(50, -1, 4)).mean() < 0 < boundary.scores(drawn(50, 1, 3)).mean()


def test_own_kind_is_left_out_of_the_bank() -> None:
    """Pictures of the labels among the bank's photographs are found and not taken for others."""
    natural = np.concatenate([drawn(85, -1, 1), drawn(15, 1, 2)])
    kept = unlike(drawn(60, 1), natural, drawn(40, -3, 3))

    assert kept.sum() == 80
    assert not kept[85:].any()


def test_typicality_is_known() -> None:
    """It is the share of known scores up to a picture's, itself among them."""
    known = [float(score) for score in range(1, 20)]

    assert [typicality(score, known) for score in (0.5, 1, 10.5, 99)] == [0.05, 0.1, 0.55, 1]
    assert typicality(0.5, known) <= UNKNOWN_BELOW


def test_typicality_rises_with_the_score() -> None:
    """A higher score is never less typical."""
    known = sorted(np.random.default_rng(0).normal(size=30).tolist())
    found = [typicality(score, known) for score in np.linspace(-4, 4, 100).tolist()]

    assert found == sorted(found)


@pytest.mark.parametrize("score", [float("nan"), float("inf"), float("-inf")])
def test_no_number_is_not_typical(score: float) -> None:
    """A vector that went wrong is as untypical as can be."""
    assert typicality(score, [1.0] * FEWEST) == 1 / (FEWEST + 1)


def test_fewest_pictures() -> None:
    """Nineteen pictures are the fewest with which anything can be unknown."""
    assert typicality(-9, [0.0] * FEWEST) <= UNKNOWN_BELOW
    assert typicality(-9, [0.0] * (FEWEST - 1)) > UNKNOWN_BELOW


@pytest.mark.parametrize("pictures", [19, 40, 153])
def test_promise_is_kept(pictures: int) -> None:
    """Of pictures exchangeable with the known ones a share of at most p has a typicality up to p.

    Over many draws the typicality of a new one is uniform on its steps.
    """
    draws = 4000
    generator = np.random.default_rng(pictures)
    scores = generator.gumbel(size=(draws, pictures + 1))
    found = np.array([typicality(new, sorted(known)) for new, *known in scores.tolist()])

    for level in (0.05, 0.1, 0.5, 0.9):
        # Exactly so many steps lie up to the level; four standard errors are allowed.
        expected = np.floor(level * (pictures + 1) + 1e-9) / (pictures + 1)
        share = (found <= level + 1e-9).mean()
        assert abs(share - expected) < 4 * np.sqrt(0.25 / draws)
        assert share <= level + 4 * np.sqrt(level * (1 - level) / draws)


def test_refused_share_of_known_pictures() -> None:
    """Measured by the other folds, about one known picture in twenty is refused."""
    scores = np.random.default_rng(1).normal(size=400)

    assert 0.03 < refused(scores).mean() < 0.06
    assert not refused(scores[: FEWEST - 1]).any()
    assert refused(scores[: FEWEST + 1]).sum() == 1  # each fold's 16 others alone refuse nothing


def test_cross_scores_are_those_of_strangers() -> None:
    """A training picture's cross-fitted score is lower than by a boundary that saw it."""
    inside, natural, others = drawn(15, 0.4), drawn(60, -0.4, 1), drawn(20, -1, 2)
    seen = fit(inside, natural, others).scores(inside)

    assert cross_scores(inside, natural, others).mean() < seen.mean()


@pytest.fixture
def model(tmp_path: Path) -> PackedModel:
    """Return a packed model that has a pooled output, and yet no file."""
    return PackedModel("resnet18", ("a", "b"), "onnx", folder=tmp_path, pooled="layer3")


def packed(model: PackedModel) -> PackedModel:
    """Write the model down and read it again."""
    write_model(replace(model, metrics={}, gate={}, provenance={}))
    return read_model(model.folder)


BOUNDARY = Boundary(np.linspace(-1, 1, CHANNELS), 0.25)


def test_what_is_written_is_read(model: PackedModel) -> None:
    """A judge says of a vector what the boundary and its own runtime's scores say."""
    write_typicality(model, BOUNDARY, {"onnx": np.arange(20.0), "int8": np.arange(20.0) - 100})
    vector = drawn(1, 1)[0]
    score = float(BOUNDARY.scores(vector[np.newaxis])[0])
    onnx, int8 = (load_judge(packed(model), runtime) for runtime in ("onnx", "int8"))

    assert onnx is not None
    assert int8 is not None
    assert onnx.typicality(vector) == typicality(score, list(range(20)))
    assert int8.typicality(vector) == 1


def test_same_numbers_same_bytes(model: PackedModel) -> None:
    """The file does not depend on when it is written, and has no more scores than it needs."""
    scores = {"onnx": np.arange(5.0 * MOST_SCORES)}
    written = []
    for _ in range(2):
        write_typicality(model, BOUNDARY, scores)
        written.append((model.folder / TYPICALITY).read_bytes())
    judge = load_judge(packed(model), "onnx")

    assert written[0] == written[1]
    assert len(written[0]) < 10_000
    assert judge is not None
    assert len(judge.reference) == MOST_SCORES


def test_older_model_cannot_tell(model: PackedModel) -> None:
    """A model without the file, or without the output, has no judge."""
    assert load_judge(packed(model), "onnx") is None
    write_typicality(model, BOUNDARY, {"onnx": np.arange(20.0)})
    assert load_judge(packed(replace(model, pooled=None)), "onnx") is None


def test_damaged_file_is_refused(model: PackedModel) -> None:
    """A file that is not the one that was packed is named."""
    write_typicality(model, BOUNDARY, {"onnx": np.arange(20.0)})
    found = packed(model)
    (model.folder / TYPICALITY).write_bytes(b"PK")

    with pytest.raises(ModelError, match=r"typicality\.npz is damaged"):
        load_judge(found, "onnx")


@pytest.mark.parametrize("content", [b"", b"PK", b"no archive at all"])
def test_foreign_file_is_refused(model: PackedModel, content: bytes) -> None:
    """A file that was packed, but is none of ours, is named."""
    (model.folder / TYPICALITY).write_bytes(content)

    with pytest.raises(ModelError, match=r"typicality\.npz is not what it should be"):
        load_judge(packed(model), "onnx")


def test_missing_runtime_is_refused(model: PackedModel) -> None:
    """A file without the scores of the runtime that serves is named."""
    write_typicality(model, BOUNDARY, {"onnx": np.arange(20.0)})

    with pytest.raises(ModelError, match="pack the model again"):
        load_judge(packed(model), "int8")
