"""The processor that trains, and the numbers that it multiplies fastest."""

import os
from typing import Final

import torch

from antbee.errors import SettingsError

_BFLOAT16: Final = ("avx512_bf16", "amx_bf16")


def choose_device(name: str) -> torch.device:
    """Take the named device; `auto` takes the first of cuda, mps and cpu that is there.

    Of several processes on a machine each takes a GPU of its own, unless one is named.

    Raises:
        SettingsError: torch does not know the device, or does not find it here.
    """
    try:
        device = _own_gpu(torch.device(_available()[0] if name == "auto" else name))
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise SettingsError(
            f"torch cannot use the device {name!r} here; it can use {', '.join(_available())}"
        ) from error
    return device


def choose_precision(device: torch.device) -> str:
    """Take bfloat16 where the processor multiplies it in hardware, float32 elsewhere.

    A property of the processor and not a timing, so that a run is repeatable on its machine.
    """
    if device.type == "cuda":
        able = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        able = device.type == "cpu" and any(map(torch.cpu.get_capabilities().get, _BFLOAT16))
    return "bfloat16" if able else "float32"


def _own_gpu(device: torch.device) -> torch.device:
    if device.type != "cuda" or device.index is not None or "LOCAL_RANK" not in os.environ:
        return device
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    torch.cuda.set_device(device)  # NCCL asks for it
    return device


def _available() -> list[str]:
    cuda = ["cuda"] if torch.cuda.is_available() else []
    mps = ["mps"] if torch.backends.mps.is_available() else []
    return [*cuda, *mps, "cpu"]
