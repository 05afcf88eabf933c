"""The machine that this process runs on."""

import contextlib
import ctypes
import gc
import os


def cores() -> int:
    """How many CPU cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def give_back_memory() -> None:
    """Return what this process has freed to the system, where the C library is glibc.

    glibc keeps freed memory for itself, and of a network that was dropped that is most of it.
    """
    gc.collect()
    # Other C libraries have no such function, and Windows has no name for its own.
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
