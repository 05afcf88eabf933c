"""Which runtime a packed model is served with: int8 is tried, and every candidate put to the gate.

What is good enough is known to `gate`, how int8 is made to `quantize`.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from antbee.artifact import INT8, ONNX, PackedModel, read_model, write_model
from antbee.command import say
from antbee.errors import DataError, ModelError
from antbee.packing import gate
from antbee.packing.quantize import MOST_PICTURES, RECIPES, Recipe, quantize
from antbee.packing.samples import Validation, calibration_arrays, name_of
from antbee.predictor import Floats, load_predictor

SERVED: Final = ("int8", "onnx")
"""What `auto` chooses from: PyTorch would have to be installed wherever the model is served."""
FLOAT32: Final = ("torch", "onnx")


class NoInt8Error(ModelError):
    """There is no int8 network, and the message says why."""


@dataclass(frozen=True)
class Attempt:
    """What became of one recipe.

    Attributes:
        recipe: the recipe.
        compared: all runtimes, int8 last.
        objection: why its network may not be served, or None.
    """

    recipe: Recipe
    compared: gate.Comparison
    objection: str | None

    @property
    def row(self) -> gate.Row:
        """How the recipe's network answers."""
        return self.compared.rows[-1]


def choose(model: PackedModel, data: Path, runtime: str) -> PackedModel:
    """Make int8 where it may be served, compare the runtimes with PyTorch, and choose.

    Args:
        model: as read from its folder; int8 is added to the folder if it is good enough.
        data: the pictures' folder.
        runtime: one of `antbee.predictor.RUNTIMES`, or `auto`: the fastest of `SERVED` that is good
            enough, and all that are, for the server to choose from on its own machine.

    Returns:
        `model` with its runtime, candidates, calibration and gate filled in, yet to be written.

    Raises:
        DataError: the validation pictures have other labels, or none can be read.
        ModelError: the export does not agree with PyTorch; or int8 was asked for by name and cannot
            be made or is not good enough.
    """
    samples = Validation(model, data)
    if not samples.labelled:
        say(f"no validation pictures in {data}: the export is checked on random noise instead")
    compared, int8 = _measure(model, data, samples, runtime)
    candidates = tuple(gate.ranked(compared.rows, SERVED)) if runtime == "auto" else ()
    chosen = candidates[0] if candidates else runtime
    say(f"runtime {chosen}" + ("; measured again where it is served" if candidates[1:] else ""))
    say(compared.calibration.describe())
    return replace(
        model,
        runtime=chosen,
        candidates=candidates,
        calibration=compared.calibration,
        gate={**gate.as_json(compared.rows, samples.inputs), "int8": int8},
    )


def _measure(
    model: PackedModel, data: Path, samples: Validation, runtime: str
) -> tuple[gate.Comparison, dict[str, Any]]:
    """Compare the runtimes that the package will hold; tell what `model.json` keeps of int8."""
    attempts: list[Attempt] = []
    try:
        arrays = _calibration(model, data, samples, runtime)
        attempts += _attempts(model, samples, arrays)
        _check_last(attempts)
    except NoInt8Error as error:
        (model.folder / INT8).unlink(missing_ok=True)
        if runtime == "int8":
            advice = "nothing was packed; --runtime auto packs without it"
            raise ModelError(f"no int8: {error}: {advice}") from error
        say(f"no int8: {error}")
        compared = _without_int8(attempts) if attempts else _compare(model, FLOAT32, samples)
        return compared, _as_json(attempts, str(error))
    return attempts[-1].compared, _as_json(attempts, None)


def _without_int8(attempts: Sequence[Attempt]) -> gate.Comparison:
    last = attempts[-1].compared
    return replace(last, rows=last.rows[:-1])


def _calibration(model: PackedModel, data: Path, samples: Validation, runtime: str) -> list[Floats]:
    if runtime not in ("auto", "int8"):
        raise NoInt8Error(f"packed with --runtime {runtime}")
    # These reasons are shown to anybody who asks the server: no paths.
    if not samples.labelled:
        raise NoInt8Error(f"no validation pictures in {name_of(data)} to compare it on")
    try:
        return calibration_arrays(model, data, MOST_PICTURES)
    except DataError as error:
        say(f"cannot calibrate: {error}")
        raise NoInt8Error(f"no training pictures in {name_of(data)} to calibrate it on") from error


def _attempts(model: PackedModel, samples: Validation, arrays: list[Floats]) -> list[Attempt]:
    """Try one recipe after another, up to the first that nothing is to be said against."""
    attempts: list[Attempt] = []
    for recipe in RECIPES:
        say(f"int8: {recipe}")
        quantize(model.folder / ONNX, model.folder / INT8, arrays, recipe)
        write_model(model)  # so that the new file is vouched for, as the predictors require
        compared = _compare(read_model(model.folder), (*FLOAT32, "int8"), samples)
        attempts.append(Attempt(recipe, compared, gate.objection(compared.rows[-1])))
        if attempts[-1].objection is None:
            break
        say(f"int8 refused: {attempts[-1].objection}")
    return attempts


def _check_last(attempts: Sequence[Attempt]) -> None:
    if attempts[-1].objection is None:
        return
    best = min(attempts, key=lambda attempt: attempt.row.changed)
    raise NoInt8Error(f"at best, of {len(attempts)} recipes, {best.objection}")


def _compare(model: PackedModel, runtimes: Sequence[str], samples: Validation) -> gate.Comparison:
    predictors = {runtime: load_predictor(model, runtime) for runtime in runtimes}
    compared = gate.compare(predictors, samples)
    if not compared.rows:
        raise DataError("none of the validation pictures can be read: nothing was packed")
    say(gate.table(compared.rows))
    for row in compared.rows[: len(FLOAT32)]:
        gate.check_export(row)
    return compared


def _as_json(attempts: Sequence[Attempt], reason: str | None) -> dict[str, Any]:
    """What `model.json` keeps of int8; `reason` is why there is none."""
    tried = [
        {"recipe": str(one.recipe), "objection": one.objection, "row": asdict(one.row)}
        for one in attempts
    ]
    return {
        "recipe": tried[-1]["recipe"] if reason is None else None,
        "reason": reason,
        "tried": tried,
    }
