"""Which runtime a packed model is served with: int8 is tried, and every candidate put to the gate.

What is good enough is known to `gate`, how int8 is made to `quantize`.
"""

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

from antbee.artifact import INT8, ONNX, PackedModel, read_model, write_model
from antbee.calibration import Calibration
from antbee.command import printable, say
from antbee.errors import DataError, ModelError
from antbee.packing import gate
from antbee.packing.outliers import fit_typicality
from antbee.packing.quantize import MOST_PICTURES, QUANTIZATIONS, quantize
from antbee.packing.samples import (
    Validation,
    calibration_arrays,
    describe_difference,
    find_used,
)
from antbee.predictor import Floats, Predictor, load_predictor
from antbee.training.data import Split

SERVED: Final = ("int8", "onnx")
"""What `auto` chooses from: PyTorch would have to be installed wherever the model is served."""
FLOAT32: Final = ("torch", "onnx")


def choose(model: PackedModel, data: Path, runtime: str) -> PackedModel:
    """Make int8 where it may be served, compare the runtimes with PyTorch, and choose.

    Args:
        model: as read from its folder; int8 is added to the folder if it is good enough.
        data: the pictures' folder.
        runtime: one of `antbee.predictor.RUNTIMES`, or `auto`: the fastest of `SERVED` that is good
            enough, and all that are, for the server to choose from on its own machine.

    Returns:
        `model` with its runtime, candidates, calibration, gate and typicality filled in, yet to be
        written.

    Raises:
        DataError: the validation pictures have other labels, or none can be read.
        ModelError: the export does not agree with PyTorch; or int8 was asked for by name and cannot
            be made or is not good enough.
    """
    used = find_used(model, data)
    samples, change = Validation(model, data, used), None
    if not samples.labelled:
        say(
            f"no validation pictures in {data}: the export is checked on random noise instead, and "
            "nothing is calibrated: --data names the pictures of the run"
        )
    elif change := describe_difference(model, data, used):
        say(f"the pictures in {data} are not those of the run: {change}")
    float32 = {name: load_predictor(model, name) for name in FLOAT32}
    rows, calibration, vectors, int8 = _try_int8(
        model, data, used.get("train"), samples, runtime, float32
    )
    if reason := int8["reason"]:
        (model.folder / INT8).unlink(missing_ok=True)
        if runtime == "int8":
            advice = "nothing was packed; --runtime auto packs without it"
            raise ModelError(f"no int8: {reason}: {advice}")
        say(f"no int8: {reason}")
        vectors.pop("int8", None)
    if not rows:
        rows, calibration, vectors = _compare(model, float32, samples)
    candidates = tuple(gate.ranked(rows, SERVED)) if runtime == "auto" else ()
    chosen = candidates[0] if candidates else runtime
    say(f"runtime {chosen}" + ("; measured again where it is served" if candidates[1:] else ""))
    say(calibration.describe())
    typicality = fit_typicality(
        read_model(model.folder), chosen, data, used.get("train"), samples, vectors
    )
    return replace(
        model,
        runtime=chosen,
        candidates=candidates,
        calibration=calibration,
        typicality=typicality,
        gate={
            "inputs": samples.inputs,
            "change": change,
            "reference": gate.REFERENCE,
            "rows": [asdict(row) for row in rows],
            "int8": int8,
        },
    )


def _try_int8(
    model: PackedModel,
    data: Path,
    train: Split | None,
    samples: Validation,
    runtime: str,
    float32: Mapping[str, Predictor],
) -> tuple[list[gate.Row], Calibration, dict[str, Floats], dict[str, Any]]:
    """Quantize in one way after another, up to the first that the gate does not refuse.

    Returns:
        The last comparison, its rows without int8 if that was refused, and none if nothing was
        tried; and what `model.json` keeps: the `recipe` that passed, or the `reason` why there is
        no int8, which is shown to anybody who asks the server and so names no paths, and all that
        was tried.
    """
    arrays: list[Floats] = []
    reason, name = None, printable(data.resolve().name)
    if runtime not in ("auto", "int8"):
        reason = f"packed with --runtime {runtime}"
    elif not samples.labelled:
        reason = f"no validation pictures in {name} to compare it on"
    else:
        try:
            arrays = calibration_arrays(model, train, MOST_PICTURES) if train else []
        except DataError as error:
            say(f"cannot calibrate: {error}")
        if not arrays:
            reason = f"no training pictures in {name} to calibrate it on"
    rows: list[gate.Row] = []
    calibration = Calibration()
    vectors: dict[str, Floats] = {}
    tried: list[dict[str, Any]] = []
    kept = gate.Kept()
    for quantization in QUANTIZATIONS if arrays else ():
        say(f"int8: {quantization}")
        quantize(model.folder / ONNX, model.folder / INT8, arrays, quantization)
        write_model(model)  # so that the new file is vouched for, as the predictors require
        predictors = {**float32, "int8": load_predictor(read_model(model.folder), "int8")}
        rows, calibration, vectors = _compare(model, predictors, samples, kept)
        recipe, refusal = str(quantization), gate.refusal(rows[-1])
        tried.append({"recipe": recipe, "objection": refusal, "row": asdict(rows[-1])})
        if refusal is None:
            return rows, calibration, vectors, {"recipe": recipe, "reason": None, "tried": tried}
        say(f"int8 refused: {refusal}")
    if tried:
        best = min(tried, key=lambda attempt: attempt["row"]["changed"])
        reason = f"at best, of {len(tried)} recipes, {best['objection']}"
    int8 = {"recipe": None, "reason": reason, "tried": tried}
    return rows[: len(FLOAT32)], calibration, vectors, int8


def _compare(
    model: PackedModel,
    predictors: Mapping[str, Predictor],
    samples: Validation,
    kept: gate.Kept | None = None,
) -> tuple[list[gate.Row], Calibration, dict[str, Floats]]:
    """Put the runtimes to the gate and print its table; an export that differs is refused."""
    pooled = model.pooled is not None
    rows, calibration, vectors = gate.compare(predictors, samples, pooled=pooled, kept=kept)
    if not rows:
        raise DataError("none of the validation pictures can be read: nothing was packed")
    say(gate.describe(rows, labelled=samples.labelled))
    for row in rows[: len(FLOAT32)]:
        gate.check_export(row)
    return rows, calibration, vectors
