"""The machine that a process runs on."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from antbee import machine
from antbee.machine import (
    MASTER_MB,
    PIXEL_BYTES,
    SMALL_MB,
    WORKER_MB,
    cores,
    free_memory,
    limits_of_worker,
    memory_limit,
    workers_that_fit,
)
from antbee.serving.settings import read_settings
from tests.conftest import REPOSITORY

MACHINE = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")

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


def test_memory_is_that_of_every_group_around_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A limit counts where a service has it, without a container, and where its parent has it."""
    own, root = tmp_path / "own", tmp_path / "groups"
    own.write_text("4:memory:/of/version/one\n1:cpu:/another\n0::/slice/service\n")
    files = (str(root / "limit"), str(root / "used"))
    monkeypatch.setattr(machine, "_OWN_GROUPS", own)
    monkeypatch.setattr(machine, "_GROUPS", [files])
    for group, limit in [("slice/service", "max"), ("slice", "900"), ("another", "1")]:
        (root / group).mkdir(parents=True, exist_ok=True)
        (root / group / "limit").write_text(limit)
        (root / group / "used").write_text("300")

    assert (memory_limit(), free_memory()) == (900, 600)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"two/cpu.max": "240000 100000\n"}, 2),
        ({"two/cpu.max": "max 100000\n"}, 4),
        ({"two/slice/service/cpu.max": "max 100000", "two/slice/cpu.max": "290000 100000"}, 3),
        ({"two/cpu.max": "150000 100000"}, 2),
        ({"two/slice/service/cpu.max": "20000 100000"}, 1),
        ({"two/cpu.max": "900000 100000"}, 4),
        ({"two/another/cpu.max": "100000 100000"}, 4),
        (
            {"one/of/one/cpu.cfs_quota_us": "200000\n", "one/of/one/cpu.cfs_period_us": "100000\n"},
            2,
        ),
        ({"one/cpu.cfs_quota_us": "-1\n", "one/cpu.cfs_period_us": "100000\n"}, 4),
        ({}, 4),
    ],
    ids=["quota", "max", "parent", "half", "less", "more", "another", "v1", "none", "nothing"],
)
def test_cores_are_the_containers(
    files: dict[str, str], expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A quota of CPU time counts, in either version and in every group around."""
    own = tmp_path / "own"
    own.write_text("4:memory:/another\n3:cpu,cpuacct:/of/one\n0::/slice/service\n")
    monkeypatch.setattr(machine, "_OWN_GROUPS", own)
    v1 = (f"{tmp_path}/one", ("cpu.cfs_quota_us", "cpu.cfs_period_us"))
    monkeypatch.setattr(machine, "_QUOTAS", [(f"{tmp_path}/two", ("cpu.max",)), v1])
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(4), raising=False)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)

    assert cores() == expected


@pytest.mark.parametrize(
    ("texts", "limit", "free"),
    [
        (["1000", "300"], 1000, 700),
        (["1000", "1300"], 1000, 0),
        (["max", "300"], MACHINE, None),  # version 2 without a limit
        ([str(2**63 - 4096), "300"], MACHINE, None),  # version 1 without a limit
        ([], MACHINE, None),  # no control groups
    ],
)
def test_memory_is_the_containers(
    texts: list[str],
    limit: int,
    free: int | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A container's limit counts, in either version of control groups; else the machine's does."""
    files = (str(tmp_path / "limit"), str(tmp_path / "used"))
    for file, text in zip(files, texts, strict=False):
        Path(file).write_text(f"{text}\n")

    for groups in ([files, ("/nowhere", "/nowhere")], [("/nowhere", "/nowhere"), files]):
        monkeypatch.setattr(machine, "_GROUPS", groups)
        assert memory_limit() == limit
        if free is None:
            assert 0 < free_memory() <= MACHINE
        else:
            assert free_memory() == free


def test_free_memory_is_guessed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system does not say what is free, half of what it has is taken."""
    monkeypatch.setattr(machine, "_MEMORY", Path("/nowhere"))
    monkeypatch.setattr(machine, "_GROUPS", ())

    assert free_memory() == MACHINE // 2


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
@pytest.mark.parametrize(("size", "more"), [(0, 0), (224, 0), (448, 24)])
def test_limits_fit_the_memory(megabytes: int, cores: int, size: int, more: int) -> None:
    """The uploads, the network and one large picture of every worker fit in what they leave."""
    workers = workers_that_fit(megabytes, cores)
    limits = limits_of_worker(megabytes, workers, cores, size)
    settings = read_settings(limits)
    large = settings.max_megapixels * PIXEL_BYTES
    small = (SMALL_MB + more) * settings.threads

    needed = workers * (WORKER_MB + settings.uploads_mb + large + small)
    assert needed + MASTER_MB <= megabytes
    assert settings.max_megapixels >= 12.2  # 4032 by 3024, as telephones take them
    assert settings.threads * workers <= 2 * max(cores, workers)
