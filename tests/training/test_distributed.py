"""Several processes that train together, as torchrun starts them."""

import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch
from torch import distributed
from torch.nn import functional

from antbee.errors import DistributedError
from antbee.training.distributed import SINGLE, joined_process_group
from antbee.training.learner import SMOOTHING, Learner
from antbee.training.network import build_model, split
from tests.conftest import REPOSITORY
from tests.training.conftest import (
    ENVIRONMENT,
    assert_same_run,
    make_data,
    measured,
    random_start,
)
from tests.training.tiny import TinyResNet
from tests.training.together import PARAMETERS, PICTURES, STEPS, make_batch, make_view

PAIR = [
    *(sys.executable, "-m", "torch.distributed.run"),
    *("--standalone", "--local-addr", "127.0.0.1", "--nproc-per-node", "2"),
]
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Draw a data set for epochs of several batches, some of which cannot be shared evenly."""
    return make_data(tmp_path_factory.mktemp("pictures") / "data", train=11, val=3)


def launch(*arguments: str | Path, restarts: int = 0) -> subprocess.Popen[str]:
    """Let torchrun start two processes that do what `together` says, again if one fails."""
    program = ["--max-restarts", str(restarts), "-m", "tests.training.together"]
    return subprocess.Popen(
        [*PAIR, *program, *map(str, arguments)],
        cwd=REPOSITORY,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    """Let two processes take some steps and train a run; return their folder."""
    folder = tmp_path_factory.mktemp("pair")
    torch.manual_seed(0)
    torch.save(TinyResNet(None, 2).state_dict(), folder / "weights.pth")
    with launch("steps", data, folder) as launcher:
        said = launcher.communicate()[1]
    assert "another process ended, or cannot be reached" in said
    return folder


def test_two_processes_step_by_the_mean_of_their_gradients(pair: Path) -> None:
    """Each takes its part of a batch, with its own batch norms; the statistics are the first's."""
    torch.manual_seed(0)
    model = build_model("resnet18", 3)
    learner = Learner(model, CPU, PARAMETERS)
    _, trained = split(model, PARAMETERS.freeze)
    losses = []
    for step in range(STEPS):  # what the two do, by hand
        pictures, labels = make_batch(step)
        learner.optimizer.zero_grad()
        losses.append(0.0)
        for rank in (1, 0):
            own = list(range(PICTURES))[rank::2]
            before = [one.clone() for one in trained.buffers()]
            logits = trained.train()(learner.features(pictures[own]))
            loss = functional.cross_entropy(logits, labels[own], label_smoothing=SMOOTHING)
            (loss / 2).backward()  # type: ignore[no-untyped-call]
            losses[-1] += loss.item() * len(own)
            if rank == 1:
                for buffer, value in zip(trained.buffers(), before, strict=True):
                    buffer.copy_(value)
        learner.optimizer.step()
        learner.scheduler.step()

    for rank in (0, 1):
        actual = torch.load(pair / f"steps{rank}.pt", weights_only=True)
        assert actual["losses"] == pytest.approx(losses, rel=1e-4)
        for name, tensor in model.state_dict().items():
            assert torch.allclose(actual["model"][name].float(), tensor.float(), atol=1e-4), name


def test_their_steps_are_near_those_of_one_process(pair: Path) -> None:
    """Batch norms that measure half a batch each make a difference, and not a large one."""
    torch.manual_seed(0)
    model = build_model("resnet18", 3)
    learner = Learner(model, CPU, PARAMETERS)
    losses = [
        learner.train((learner.features(pictures), labels)) / PICTURES
        for pictures, labels in map(make_batch, range(STEPS))
    ]

    actual = torch.load(pair / "steps0.pt", weights_only=True)
    weights = {name: one.detach() for name, one in model.named_parameters()}
    largest = max(
        float((actual["model"][name] - tensor).abs().max()) for name, tensor in weights.items()
    )
    losses_apart = max(
        abs(one - other / PICTURES) for one, other in zip(losses, actual["losses"], strict=True)
    )
    print(f"largest difference after {STEPS} steps: weight {largest:.4f}, loss {losses_apart:.3f}")
    assert 0 < largest < 0.05
    assert losses_apart < 0.5


def test_they_make_together_what_one_makes(pair: Path, data: Path) -> None:
    """Of what the frozen part makes each computes a part, and all get the whole, bit for bit."""
    expected = make_view(data)

    for rank in (0, 1):
        assert torch.equal(expected, torch.load(pair / f"view{rank}.pt", weights_only=True))


@pytest.mark.slow
def test_a_killed_process_is_started_again(pair: Path, data: Path, tmp_path: Path) -> None:
    """One process speaks; the run goes on from its last checkpoint, and ends as if never killed."""
    options = random_start(data, tmp_path, "--epochs", "10", "--weights", pair / "weights.pth")
    with launch(*options, restarts=2) as launcher:
        deadline = time.monotonic() + 120
        while not any(path.read_text() for path in tmp_path.glob("*/metrics.jsonl")):
            assert launcher.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        psutil.Process(launcher.pid).children()[-1].kill()
        out, said = launcher.communicate()

    assert launcher.returncode == 0, said
    killed = Path(out.strip()).parent
    assert list(tmp_path.iterdir()) == [killed]
    assert said.count("training on ") == 2
    assert said.count("epoch 10/10") == 1
    assert [line["epoch"] for line in measured(killed)] == list(range(1, 11))
    (whole,) = (pair / "runs").iterdir()
    assert_same_run(whole, killed)


def test_a_single_process_has_everything_to_itself() -> None:
    """Without torchrun there is one process, the main one, and nothing is sent anywhere."""
    with joined_process_group() as group:
        assert group == SINGLE
    assert group.is_main
    assert group.shard([1, 2, 3]) == [1, 2, 3]
    assert group.sum(1.5, 2) == [1.5, 2]
    assert group.min(3) == 3
    assert group.broadcast_object("state") == "state"


def test_processes_that_cannot_be_connected_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """What torchrun sets and somebody else did not is named."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("RANK", raising=False)

    with (
        pytest.raises(DistributedError, match="RANK expected, but not set"),
        joined_process_group(),
    ):
        pass


def test_an_error_of_ones_own_is_not_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what went wrong between processes is called that."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    for name in ("init_process_group", "destroy_process_group"):
        monkeypatch.setattr(distributed, name, lambda *_, **__: None)
    store = distributed.HashStore()  # type: ignore[attr-defined]
    monkeypatch.setattr(distributed, "rendezvous", lambda *_, **__: iter([(store, 0, 2)]))

    with pytest.raises(DistributedError), joined_process_group():
        raise RuntimeError("[gloo/transport/tcp/pair.cc] Connection closed by peer")
    with pytest.raises(RuntimeError, match="out of memory"), joined_process_group():
        raise RuntimeError("out of memory")
