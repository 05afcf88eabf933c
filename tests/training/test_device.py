"""The processor that trains."""

import pytest
import torch

from antbee.errors import SettingsError
from antbee.training.device import choose_device, choose_precision

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("capabilities", "precision"),
    [
        ({"avx2": True}, "float32"),
        ({"avx512_bf16": False, "amx_bf16": False}, "float32"),
        ({"avx512_bf16": True}, "bfloat16"),
        ({"amx_bf16": True}, "bfloat16"),
    ],
)
def test_bfloat16_where_the_processor_has_it(
    capabilities: dict[str, bool], precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A CPU that multiplies bfloat16 in hardware trains with it, any other with float32."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)

    assert choose_precision(CPU) == precision


def test_other_devices_train_in_float32() -> None:
    """A GPU's precision does not depend on the CPU beside it."""
    assert choose_precision(torch.device("meta")) == "float32"


def test_the_cpu_is_always_there() -> None:
    """A device that torch can use is taken."""
    assert choose_device("cpu") == CPU


@pytest.mark.parametrize("name", ["gpu", "cuda:99", ""])
def test_a_device_that_is_not_there(name: str) -> None:
    """A device that torch cannot use is answered with those that it can."""
    with pytest.raises(SettingsError, match=r"it can use .*cpu"):
        choose_device(name)
