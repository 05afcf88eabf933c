"""The machine that a process runs on."""

import subprocess
import sys

import pytest

from antbee.machine import (
    MASTER_MB,
    PIXEL_BYTES,
    SMALL_MB,
    WORKER_MB,
    limits_of_worker,
    workers_that_fit,
)
from antbee.serving.settings import read_settings
from tests.conftest import REPOSITORY

SCRIPT = """
import platform, resource, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from antbee.machine import give_back_large_memory

if platform.libc_ver()[0] != "glibc":
    sys.exit(77)
if sys.argv[1] == "yes":
    give_back_large_memory()


def work():
    for _ in range(2):
        held = [(bytearray(12_000_000), bytearray(100_000)) for _ in range(20)]
        for large, _ in held:
            large[::4096] = b"x" * len(large[::4096])
        small = [one for _, one in held]
        del held, large
    return small


with ThreadPoolExecutor(1) as threads:
    small = threads.submit(work).result()
pages = int(Path("/proc/self/statm").read_text().split()[1])
print(pages * resource.getpagesize() // 1_000_000)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc is Linux's")
def test_large_memory_is_given_back() -> None:
    """What large buffers took is the system's again, where by default the C library keeps it."""
    kept, given_back = (_megabytes(answer) for answer in ("no", "yes"))

    assert given_back < 60
    assert kept > given_back + 100


def _megabytes(give_back: str) -> int:
    command = [sys.executable, "-c", SCRIPT, give_back]
    run = subprocess.run(command, cwd=REPOSITORY, capture_output=True, check=False)
    if run.returncode == 77:
        pytest.skip("another C library than glibc")
    assert run.returncode == 0, run.stderr
    return int(run.stdout)


@pytest.mark.parametrize(
    ("megabytes", "cores", "workers"),
    [
        (256, 1, 1),
        (512, 1, 1),
        (536, 8, 1),
        (1073, 8, 2),
        (2684, 4, 4),
        (2684, 8, 5),
        (15032, 8, 8),
    ],
)
def test_workers_fit_the_memory(megabytes: int, cores: int, workers: int) -> None:
    """One worker a core, as far as the memory goes, and never none."""
    assert workers == workers_that_fit(megabytes, cores)


@pytest.mark.parametrize("megabytes", [536, 1073, 2684, 15032])
@pytest.mark.parametrize("cores", [1, 2, 8])
def test_limits_fit_the_memory(megabytes: int, cores: int) -> None:
    """The uploads, and one large picture, of every worker fit in what the workers leave."""
    workers = workers_that_fit(megabytes, cores)
    limits = limits_of_worker(megabytes, workers, cores)
    settings = read_settings(limits)
    large = settings.max_megapixels * PIXEL_BYTES
    small = SMALL_MB * settings.threads

    needed = workers * (WORKER_MB + settings.uploads_mb + large + small)
    assert needed + MASTER_MB <= megabytes
    assert settings.max_megapixels >= 12.2  # 4032 by 3024, as telephones take them
    assert settings.threads * workers <= max(cores, workers)
