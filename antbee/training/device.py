"""The processor that trains, and the numbers that it multiplies fastest."""

import os
import time
from typing import Final

import torch
from torch import distributed
from torch.nn import functional

from antbee.errors import SettingsError
from antbee.machine import cores

CLEARLY: Final = 1.2
"""How many times faster bfloat16 must be, which loses digits."""
TRIES: Final = 5
_BFLOAT16: Final = ("avx512_bf16", "amx_bf16")


def choose_device(name: str) -> torch.device:
    """Take the named device; `auto` takes the first of cuda, mps and cpu that is there.

    Of several processes on a machine each takes a GPU of its own, unless one is named. On a
    CPU torch takes a thread for each core that it sees; of a container's quota it gets fewer.

    Raises:
        SettingsError: torch does not know the device or does not find it here, or several processes
            cannot share it.
    """
    # What is validated is what is served, which rounds no factor to ten bits.
    torch.backends.cudnn.allow_tf32 = False
    torch.set_num_threads(min(torch.get_num_threads(), cores()))
    several = distributed.is_available() and distributed.is_initialized()
    available = ["cpu"]
    if torch.backends.mps.is_available() and not several:
        available.insert(0, "mps")
    if torch.cuda.is_available():
        available.insert(0, "cuda")
    try:
        device = torch.device(available[0] if name == "auto" else name)
        if device.type == "mps" and several:
            raise SettingsError("Apple's GPUs cannot train in several processes: give --device cpu")
        if device.type == "cuda" and device.index is None and "LOCAL_RANK" in os.environ:
            rank, count = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
            if count <= rank:
                raise SettingsError(
                    f"each process needs a GPU of its own, and here are {count}: "
                    "start as many processes, or give --device cpu"
                )
            device = torch.device("cuda", rank)
            torch.cuda.set_device(device)  # NCCL asks for it
        torch.empty(1, device=device).item()  # which a device that only pretends cannot give
    except (RuntimeError, AssertionError, NotImplementedError, ImportError) as error:
        raise SettingsError(
            f"torch cannot use the device {name!r} here; it can use {', '.join(available)}"
        ) from error
    return device


def choose_precision(device: torch.device) -> str:
    """Take bfloat16 where a step of training is clearly faster with it, float32 elsewhere.

    A GPU that multiplies it in hardware does so many times faster. On a CPU that does, it is tried,
    in a fraction of a second; where there is no hardware, every product would be converted to and
    fro. The two are far apart and time is the processor's own, so that a machine chooses the same
    each time, busy or not, and runs are repeatable.
    """
    if device.type == "cuda":
        with torch.cuda.device(device):  # the question is about the one in use
            faster = torch.cuda.is_bf16_supported(including_emulation=False)
    elif device.type == "cpu" and any(map(torch.cpu.get_capabilities().get, _BFLOAT16)):
        exact, rounded = time_precisions()
        faster = exact > CLEARLY * rounded
    else:
        faster = False
    return "bfloat16" if faster else "float32"


def time_precisions() -> tuple[float, float]:
    """Processor seconds of a ResNet's most frequent convolution, there and back, by precision.

    Returns:
        float32's and bfloat16's.
    """
    features, weight = (
        torch.ones(shape).to(memory_format=torch.channels_last).requires_grad_()
        for shape in ((4, 256, 14, 14), (256, 256, 3, 3))
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # of several, one may wait long for a core that others use
    seconds: dict[torch.dtype, list[float]] = {torch.float32: [], torch.bfloat16: []}
    try:
        for _ in range(TRIES):
            for dtype, times in seconds.items():
                began = time.process_time()
                with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
                    convolved = functional.conv2d(features, weight, padding=1)
                convolved.float().sum().backward()  # type: ignore[no-untyped-call]
                times.append(time.process_time() - began)
    finally:
        torch.set_num_threads(threads)
    return min(seconds[torch.float32]), min(seconds[torch.bfloat16])
