"""What the peers of the benchmark share answers as our server does."""

from pathlib import Path

import pytest

from antbee.artifact import PackedModel
from antbee.images import read_array
from antbee.predictor import load_predictor, to_prediction
from tests.conftest import REPOSITORY, encode, noise

PEERS = REPOSITORY / "benchmarks" / "peers"


@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
@pytest.mark.parametrize("size", [(320, 240), (1200, 2000)])
def test_a_peer_answers_as_ours(
    packed_int8: PackedModel,
    monkeypatch: pytest.MonkeyPatch,
    runtime: str,
    size: tuple[int, int],
) -> None:
    """Given our int8 network, it gives our probabilities."""
    if runtime == "openvino":
        pytest.importorskip("openvino", reason="pip install -e '.[openvino]'")
    monkeypatch.syspath_prepend(PEERS)
    from packed import Packed  # noqa: PLC0415 - the peers' folder is no package

    picture = encode(noise(*size))
    answer = Packed(packed_int8.folder, runtime).classify(picture)

    (logits,) = load_predictor(packed_int8, "int8").logits(read_array(picture)[None])
    ours = to_prediction(packed_int8, logits)
    assert answer["label"] == ours.label
    assert answer["probabilities"] == pytest.approx(ours.probabilities, abs=0.02)


def test_a_peer_takes_float32_where_int8_was_refused(
    packed: PackedModel, monkeypatch: pytest.MonkeyPatch, jpeg: bytes
) -> None:
    """The folder has no int8 network then."""
    monkeypatch.syspath_prepend(PEERS)
    from packed import Packed  # noqa: PLC0415 - likewise

    assert not Path(packed.folder, "model.int8.onnx").exists()
    (logits,) = load_predictor(packed, "onnx").logits(read_array(jpeg)[None])
    ours = to_prediction(packed, logits).probabilities
    assert Packed(packed.folder, "onnx").classify(jpeg)["probabilities"] == pytest.approx(
        ours, abs=1e-4
    )
