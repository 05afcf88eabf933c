"""What differs on an NVIDIA GPU: copies to and fro, precision, and sums in another order."""

import csv
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from antbee.artifact import PackedModel
from antbee.predictor import load_predictor
from antbee.training import run as module
from antbee.training.arguments import DEFAULTS
from antbee.training.check import check_pictures
from antbee.training.checkpoint import Checkpoint, load_checkpoint
from antbee.training.data import Pictures
from antbee.training.device import choose_device, choose_precision
from antbee.training.features import Features
from antbee.training.learner import Hyperparameters, Learner
from antbee.training.network import build_model
from antbee.training.report.write import write_report
from antbee.training.run import begin_run, resume_run
from antbee.training.terminal import Stop
from tests.training.test_run import StopAfter

CPU, GPU = torch.device("cpu"), torch.device("cuda")

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no NVIDIA GPU here"),
]


@pytest.fixture(autouse=True)
def _as_every_command() -> None:
    """Choose the device as every command does, which also settles how exactly it multiplies."""
    assert choose_device("cuda").type == "cuda"


@pytest.fixture
def pictures(data: Path) -> Pictures:
    """Read the shared data set."""
    return check_pictures(data)


def settings(**more: object) -> dict[str, object]:
    """Return the arguments of a run of three epochs, from random weights."""
    return DEFAULTS | {"weights": "none", "epochs": 3, "batch_size": 4} | more


def make_learner(device: torch.device, precision: str = "float32") -> Learner:
    """Make a ResNet-18's learner, frozen as far as layer3, that always begins alike."""
    torch.manual_seed(0)
    network = build_model("resnet18", 2)
    with torch.inference_mode():  # batch-norm statistics of something like a picture
        network.train()(torch.randn(8, 3, 224, 224))
    return Learner(network, device, Hyperparameters(0.02, 20, precision, freeze="layer3"))


def noise(count: int) -> Tensor:
    """Draw what is the size of a batch, in the memory's order of batches."""
    torch.manual_seed(1)
    return torch.randn(count, 3, 224, 224).contiguous(memory_format=torch.channels_last)


@pytest.mark.usefixtures("tiny")
def test_training_comes_to_what_it_does_on_a_cpu(
    pictures: Pictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In float32 the same pictures in the same order give the same losses, but for rounding."""
    monkeypatch.setattr(module, "choose_precision", lambda _: "float32")
    histories: list[list[tuple[float, float]]] = []
    for device in (CPU, GPU):
        run = begin_run(tmp_path / str(len(histories)), settings(), pictures, device)
        run.train(Stop())
        histories.append([(one.train_loss, one.val_loss) for one in run.history])

    np.testing.assert_allclose(histories[1], histories[0], rtol=0.02)


@pytest.mark.usefixtures("tiny")
def test_a_run_goes_on_there_and_elsewhere(pictures: Pictures, tmp_path: Path) -> None:
    """Stopped in its middle, a run's checkpoint is on the CPU, and goes on there or on the GPU."""
    for number, device in enumerate((GPU, CPU)):
        run = begin_run(tmp_path / str(number), settings(), pictures, GPU)
        with pytest.raises(KeyboardInterrupt):
            run.train(StopAfter(6))
        last = load_checkpoint(run.folder / "last.pt")
        assert (last.position.epoch, last.position.step) == (1, 2)
        assert tensors_of(last)
        assert all(one.device == CPU for one in tensors_of(last))

        again = resume_run(run.folder / "last.pt", last, pictures, device)
        again.train(Stop())

        assert [one.epoch for one in again.history] == [1, 2, 3]


def tensors_of(checkpoint: Checkpoint) -> list[Tensor]:
    """Return the weights, and what the optimizer keeps of each."""
    buffers = [one["momentum_buffer"] for one in checkpoint.optimizer["state"].values()]
    return [*checkpoint.model.values(), *buffers]


def test_frozen_features_are_the_cpu_s() -> None:
    """What is kept of a picture is what the CPU makes of it, but for rounding."""
    inputs = noise(4)
    there, here = make_learner(GPU), make_learner(CPU)

    for one, other in (
        (there.exact_features(inputs), here.exact_features(inputs)),
        (there.features(inputs), here.features(inputs)),
    ):
        assert one.device.type == GPU.type
        torch.testing.assert_close(one.cpu(), other, rtol=1e-3, atol=1e-3)


def test_views_are_kept_in_the_machine_s_memory(pictures: Pictures) -> None:
    """Features wait on the CPU, where there is room, and are pooled there at the end."""
    pooled = []
    with ThreadPoolExecutor(2) as pool:
        for device in (CPU, GPU):
            learner = make_learner(device)
            features = Features(learner, pictures, pool, lambda: None, seed=0, size=4, views=1)
            batches = [*features.train(0, 0), *features.val()]
            assert all(one.device == CPU for batch in batches for one in batch)
            pooled.append(features.pooled())

    torch.testing.assert_close(pooled[1], pooled[0], rtol=1e-3, atol=1e-3)


def test_bfloat16_multiplies_and_float32_keeps() -> None:
    """Trained in bfloat16, weights and their momentum stay float32, and the loss falls."""
    if choose_precision(GPU) != "bfloat16":
        pytest.skip("this GPU does not multiply bfloat16")
    learner = make_learner(GPU, "bfloat16")
    features, labels = learner.features(noise(8)), torch.arange(8) % 2
    assert features.dtype == torch.bfloat16

    losses = [learner.train((features, labels)) for _ in range(20)]

    assert losses[-1] < losses[0]
    assert learner.exact_features(noise(1)).dtype == torch.float32
    kept = [one["momentum_buffer"] for one in learner.optimizer.state.values()]
    assert {one.dtype for one in (*learner.model.parameters(), *kept)} == {torch.float32}


@pytest.mark.usefixtures("tiny")
def test_the_report_asks_there_what_it_asks_here(
    finished: Path, pictures: Pictures, tmp_path: Path
) -> None:
    """A frozen run's features, made again for its report, come to the same suspects."""
    run = begin_run(tmp_path, settings(weights=str(finished / "best.pt")), pictures, GPU)
    run.train(Stop())
    assert run.pooled is not None

    tables = []
    for device, pooled in ((GPU, run.pooled), (GPU, None), (CPU, None)):
        page = write_report(run.folder, pictures, device, pooled)
        assert "Pictures to look at" in page.read_text("utf-8")
        rows = csv.DictReader((run.folder / "suspects.csv").read_text().splitlines())
        tables.append([(row["path"], row["looks_like"]) for row in rows])

    assert tables[0] == tables[1] == tables[2]


def test_the_torch_runtime_answers_on_the_cpu_as_the_network_does_there(
    packed: PackedModel,
) -> None:
    """Serving leaves the GPU alone, and its answers are those of the same network on the GPU."""
    batch = np.random.default_rng(0).standard_normal((2, 3, 224, 224), np.float32)
    before = torch.cuda.memory_allocated()

    served = load_predictor(packed, "torch").logits(batch)

    assert torch.cuda.memory_allocated() == before
    network = build_model(packed.arch, len(packed.labels)).eval()
    network.load_state_dict(torch.load(packed.folder / "weights.pt", weights_only=True))
    with torch.inference_mode():
        there = network.to(GPU)(torch.from_numpy(batch).to(GPU)).cpu().numpy()
    np.testing.assert_allclose(there, served, rtol=1e-3, atol=1e-3)
