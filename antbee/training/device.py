"""The processor that trains."""

import torch

from antbee.errors import SettingsError


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


def _available() -> list[str]:
    cuda = ["cuda"] if torch.cuda.is_available() else []
    mps = ["mps"] if torch.backends.mps.is_available() else []
    return [*cuda, *mps, "cpu"]
