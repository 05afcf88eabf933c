"""The processor that trains, and the numbers that it multiplies fastest."""

from typing import Final

import torch

from antbee.errors import SettingsError

_BFLOAT16: Final = ("avx512_bf16", "amx_bf16")


def choose_device(name: str) -> torch.device:
    """Take the named device; `auto` takes the first of cuda, mps and cpu that is there.

    Raises:
        SettingsError: torch does not know the device, or does not find it here.
    """
    if name == "auto":
        return torch.device(_available()[0])
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise SettingsError(
            f"torch cannot use the device {name!r} here; it can use {', '.join(_available())}"
        ) from error
    return device


def choose_precision(device: torch.device) -> str:
    """Take bfloat16 where the CPU multiplies it in hardware, float32 elsewhere.

    A property of the processor and not a timing, so that a run is repeatable on its machine.
    """
    if device.type != "cpu":
        return "float32"
    capabilities = torch.cpu.get_capabilities()
    return "bfloat16" if any(map(capabilities.get, _BFLOAT16)) else "float32"


def _available() -> list[str]:
    cuda = ["cuda"] if torch.cuda.is_available() else []
    mps = ["mps"] if torch.backends.mps.is_available() else []
    return [*cuda, *mps, "cpu"]
