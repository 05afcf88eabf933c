"""Whether a model can tell pictures of none of its labels, and what that takes.

How they are told is known to `antbee.typicality`, from what to `bank`. The boundary lies between
vectors of float32, as the bank's are: int8 makes a little less of every picture, and would be told
from the bank by that. Where the boundary refuses, the scores of each runtime's own vectors decide.
"""

from collections.abc import Iterable, Mapping
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np

from antbee.ahead import open_pool, work_ahead
from antbee.artifact import POOLED, PackedModel
from antbee.command import progress_bar, say
from antbee.images import IMAGENET
from antbee.machine import cores
from antbee.packing.bank import ALIKE, Bank, agreement, probe_pictures, read_bank
from antbee.packing.samples import Validation, other_arrays, training_arrays
from antbee.predictor import Floats, Predictor, load_predictor
from antbee.training.data import Split
from antbee.typicality import (
    FEWEST,
    UNKNOWN_BELOW,
    cross_scores,
    fit,
    refused,
    write_typicality,
)

MOST: Final = 1000
"""Training pictures, and pictures of other things, that are looked at; more change little."""
WEAK: Final = ("layer1", "layer2")
"""Stages that tell other things less well than layer3: they know textures, and hardly parts."""
SIZES: Final = range(160, 289)
"""Of the network's pictures, in pixels: others lie too far from the bank's, which has 224. With 160
the AUROC for photographs of other things was 96.2 % and with 288 97.5 %, where 224 has 98.5 %."""


def fit_typicality(
    model: PackedModel,
    runtime: str,
    data: Path,
    train: Split | None,
    samples: Validation,
    vectors: Mapping[str, Floats],
) -> dict[str, Any]:
    """Fit what tells other things, and write it into the model's folder.

    Args:
        model: as read from its folder.
        runtime: what serves it, whose share of refused pictures is told.
        data: the pictures' folder; those in its folder `others` are of none of the labels.
        train: the training pictures, if they can be had.
        samples: the validation pictures, which have been read.
        vectors: of those, float32 [N, channels], by runtime.

    Returns:
        What `model.json` says of it: a `reason` why the model cannot tell, or None.
    """
    bank, reason = None, None
    if model.pooled is None:
        frozen = model.provenance.get("arguments", {}).get("freeze", "none")
        trained = "all stages but the stem were" if frozen == "stem" else "every stage was"
        reason = f"{trained} trained, and what is told by is what training leaves alone"
    elif not train:
        reason = "there are no training pictures"
    elif samples.labelled and len(samples.labels) < FEWEST:
        reason = (
            f"of {len(samples.labels)} validation pictures none can be unusual: it takes {FEWEST}"
        )
    else:
        bank = read_bank(model.pooled)
        reason = _misfit(model, bank)
    if reason or bank is None or train is None:
        say(f"it cannot tell pictures of none of its labels: {reason}")
        return {"reason": reason}

    predictor = load_predictor(model, "onnx")
    inside = _pool(predictor, training_arrays(model, train), len(train.pictures))
    if len(inside) < FEWEST:
        reason = f"there are only {len(inside)} training pictures, and it takes {FEWEST}"
        say(f"it cannot tell pictures of none of its labels: {reason}")
        return {"reason": reason}
    others = _pool(predictor, other_arrays(model, data), MOST)
    outside = np.concatenate([bank.drawn, others]) if len(others) else bank.drawn
    boundary = fit(inside, bank.natural, outside)
    if samples.labelled:
        scores = {name: boundary.scores(found) for name, found in vectors.items()}
        labels = np.asarray(samples.labels)
    else:  # then there is no int8, and the float32 runtimes agree
        scores = dict.fromkeys(vectors, cross_scores(inside, bank.natural, outside))
        labels = np.full(len(inside), -1)
    write_typicality(model, boundary, scores)
    unknown = refused(scores[runtime])
    about = {
        "reason": None,
        "stage": model.pooled,
        "weak": model.pooled in WEAK,
        "level": UNKNOWN_BELOW,
        "reference": "validation pictures"
        if samples.labelled
        else "training pictures, cross-fitted",
        "pictures": len(unknown),
        "refused": float(unknown.mean()),
        "refused_by_label": {
            label: float(unknown[labels == index].mean())
            for index, label in enumerate(model.labels)
            if (labels == index).any()
        },
        "training_pictures": len(inside),
        "others": len(others),
        "bank": bank.about,
    }
    say(describe(about))
    return about


def describe(about: Mapping[str, Any]) -> str:
    """Say in a line what a model promises that can tell."""
    return (
        f"tells pictures of none of its labels, by {about['stage']}: {about['refused']:.1%} of "
        f"{about['pictures']} {about['reference']} are refused, cross-validated"
    )


def _misfit(model: PackedModel, bank: Bank) -> str | None:
    """Say why the bank is none of this network's, or None if it is."""
    if model.arch != bank.about["arch"]:
        return f"what it takes was made for {bank.about['arch']}, and this is a {model.arch}"
    if model.preprocessing.crop not in SIZES:
        return (
            f"it sees pictures at {model.preprocessing.crop} pixels, and other things were looked "
            f"at with {IMAGENET.crop}"
        )
    network = load_predictor(model, "torch")
    probes = [network.outputs(one[np.newaxis], (POOLED,))[0][0] for one in probe_pictures()]
    if (cosine := agreement(np.stack(probes), bank)) < ALIKE:
        return (
            "its frozen part is not the network that other things were looked at with "
            f"(cosine {cosine:.4f}, where {ALIKE:g} is needed)"
        )
    return None


def _pool(predictor: Predictor, arrays: Iterable[Floats], count: int) -> Floats:
    """Take the vectors of up to `MOST` pictures, of `count` that there may be."""
    found = []
    with progress_bar("telling others", min(count, MOST)) as bar, open_pool() as pool:
        ask = partial(_ask, predictor)
        for vector in work_ahead(pool, ask, islice(arrays, MOST), 2 * cores()):
            found.append(vector)
            bar.update(1)
    return np.stack(found) if found else np.empty((0, 0), np.float32)


def _ask(predictor: Predictor, array: Floats) -> Floats:
    (pooled,) = predictor.outputs(array[np.newaxis], (POOLED,))
    vector: Floats = pooled[0]
    return vector
