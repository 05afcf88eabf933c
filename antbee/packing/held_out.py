"""The test pictures, put to the runtimes that will serve: how often people get a right answer.

Nothing is chosen by them here either. Where there are none, there may be what training measured.
"""

from pathlib import Path
from typing import Any

import numpy as np

from antbee.accuracy import HeldOut, confusion, describe_accuracy, recall
from antbee.artifact import PackedModel
from antbee.command import progress_bar, say
from antbee.packing.samples import decoded
from antbee.predictor import load_predictor
from antbee.training.check import say_left_out
from antbee.training.data import find_test, hash_files
from antbee.training.provenance import describe_test
from antbee.training.report.held_out import read_result


def measure_test(model: PackedModel, data: Path, checkpoint: Path) -> dict[str, Any] | None:
    """Measure every runtime that may serve a packed model.

    Args:
        model: read from its folder, its runtime chosen.
        data: the pictures' folder, with `test/<label>/*`.
        checkpoint: the file that the model was packed from, in whose place training may have put
            another by now; `test.json` beside it is training's.

    Returns:
        What `model.json` says, see `HeldOut.describe`, of the chosen runtime, and `by_runtime`, how
        many answers of each are right. Without pictures, what training measured; or None.
    """
    runtimes = model.candidates or (model.runtime,)
    sha256 = model.provenance["checkpoint"]["sha256"]
    found = find_test(data, model.labels)
    if found:
        say_left_out(data, found.faults)
    readable, answers = [], {runtime: list[int]() for runtime in runtimes}
    if found and found.pictures:
        predictors = {runtime: load_predictor(model, runtime) for runtime in runtimes}
        with progress_bar("testing", len(found.pictures)) as bar:
            for picture, array in decoded(found.pictures, model.preprocessing):
                readable.append(picture)
                for runtime, predictor in predictors.items():
                    answers[runtime].append(int(predictor.logits(array[np.newaxis])[0].argmax()))
                bar.update(1)
    if not found or not readable:
        if (result := read_result(checkpoint)) and result.checkpoint == sha256:
            say(f"test, as training measured it: {describe_accuracy(result.right)}")
            return result.describe()
        return None

    # A file that went away in between has no sum, and is as good as unreadable.
    sums = hash_files([one.path for one in readable])
    tested = describe_test(found.only(sums), sums, {})
    recorded = model.provenance.get("data", {}).get("test", {})
    same = recorded.get("sha256") == tested["sha256"]
    if recorded and not same:
        say(f"the test pictures in {data} are not those that training measured")
    truth, classes = np.array([one.label for one in readable]), len(model.labels)
    counts = {
        runtime: confusion(truth, np.array(mine), classes) for runtime, mine in answers.items()
    }
    result = HeldOut(
        measured=model.runtime,
        checkpoint=sha256,
        sha256=tested["sha256"],
        # Whoever trained has looked for copies; here the other pictures may be elsewhere.
        copies=recorded["copies"] if same else None,
        labels={
            label: recall(counts[model.runtime], index) for index, label in enumerate(model.labels)
        },
    )
    say(f"test, as served with {model.runtime}: {describe_accuracy(result.right)}")
    by_runtime = {runtime: int(mine.trace()) for runtime, mine in counts.items()}
    return result.describe() | {"by_runtime": by_runtime}
