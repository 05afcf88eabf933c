"""The processor that trains."""

import pytest
import torch

from antbee.errors import SettingsError
from antbee.training import device as module
from antbee.training.device import CLEARLY, choose_device, choose_precision

CPU = torch.device("cpu")


@pytest.mark.parametrize("capability", ["avx512_bf16", "amx_bf16"])
@pytest.mark.parametrize(
    ("seconds", "precision"),
    [((2.0, 1.0), "bfloat16"), ((CLEARLY, 1.0), "float32"), ((1.0, 2.0), "float32")],
)
def test_bfloat16_where_it_is_clearly_faster(
    capability: str,
    seconds: tuple[float, float],
    precision: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A CPU that multiplies bfloat16 in hardware trains with it, if that gains enough."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {capability: True})
    monkeypatch.setattr(module, "time_precisions", lambda: seconds)

    assert choose_precision(CPU) == precision


@pytest.mark.parametrize("capabilities", [{"avx2": True}, {"avx512_bf16": False}])
def test_float32_without_hardware_for_bfloat16(
    capabilities: dict[str, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where every product would be converted, nothing is tried."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    monkeypatch.setattr(module, "time_precisions", lambda: pytest.fail("it was tried"))

    assert choose_precision(CPU) == "float32"


def test_trying_leaves_torch_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the threads nor the random numbers that a run depends on are touched."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    threads, state = torch.get_num_threads(), torch.get_rng_state()

    assert choose_precision(CPU) in {"float32", "bfloat16"}

    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)


def test_other_devices_train_in_float32() -> None:
    """A GPU's precision does not depend on the CPU beside it."""
    assert choose_precision(torch.device("meta")) == "float32"


def test_the_cpu_is_always_there() -> None:
    """A device that torch can use is taken."""
    assert choose_device("cpu") == CPU


@pytest.mark.parametrize("name", ["gpu", "cuda:99", "meta", "hpu", ""])
def test_a_device_that_is_not_there(name: str) -> None:
    """A device that torch cannot use is answered with those that it can."""
    with pytest.raises(SettingsError, match=r"it can use .*cpu"):
        choose_device(name)


def test_a_quota_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a container may use fewer cores than torch sees, torch gets fewer threads."""
    before = torch.get_num_threads()
    monkeypatch.setattr(module, "cores", lambda: 2)
    try:
        for asked, given in ((3, 2), (1, 1)):
            torch.set_num_threads(asked)
            choose_device("cpu")
            assert torch.get_num_threads() == given
    finally:
        torch.set_num_threads(before)
