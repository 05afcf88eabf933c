"""How long `make serve` takes on a machine that has nothing, for two versions in turn.

    python benchmarks/from_nothing.py OLD NEW --rounds 3
    DATA_URL=FILE.zip WEIGHTS=FILE.pth python benchmarks/from_nothing.py OLD NEW

OLD and NEW are checkouts, whose last commit is cloned into an empty folder each time. HOME is
empty, too, and with it the caches of pip, uv and matplotlib and BentoML's store; packages come from
where pip's configuration outside HOME and its variables say. What the system keeps in memory of the
files that it has read stays: with --warm a first round does not count. DATA_URL, WEIGHTS and EPOCHS
mean what they do to `make serve`.

Measured is the time to the first answered prediction, and the processor seconds of everything that
was started for it. A phase ends with the line that it prints: `environment` with the first line
about pictures, `training` with its last epoch, `packing`, in which the report is, with the bento's
tag, and `start` with the answer. Prints a table, then one JSON line.
"""

import argparse
import json
import os
import re
import resource
import signal
import statistics
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Final

from antbee.command import say, table

ENDS: Final = {
    "environment": re.compile(r"pictures: no network|data/train: |left out |downloading "),
    "pictures": re.compile(r"data/val: "),
    "training": re.compile(r"epoch +\d+/\d+  train loss"),
    "packing": re.compile(r"serve it: "),
}
KEPT: Final = re.compile(
    r"PATH|LANG|TZ|TMPDIR|DATA_URL|EPOCHS|WEIGHTS|PIP_(?!CACHE_DIR).*|SSL_.*|.*_CA_BUNDLE"
    r"|(?i:(https?|all|no)_proxy)"
)
"""The variables that a new machine would have, too."""
MOST: Final = 3600.0
"""Seconds after which it is given up."""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit code."""
    parser = argparse.ArgumentParser(description="make serve on an empty machine, two versions.")
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--warm", action="store_true", help="run each once before, uncounted")
    parser.add_argument("--port", type=int, default=3250)
    options = parser.parse_args(argv)
    found: dict[str, list[dict[str, float]]] = {"old": [], "new": []}
    for number in range(-1 if options.warm else 0, options.rounds):
        for name in ("old", "new") if number % 2 == 0 else ("new", "old"):
            tree = getattr(options, name)
            with TemporaryDirectory(prefix="from-nothing-", dir=Path.cwd()) as folder:
                phases = measure(tree, Path(folder), options.port)
            say(f"{name}: {json.dumps(phases)}")
            if number >= 0:
                found[name].append(phases)
    rows = []
    for phase in found["old"][0]:
        old, new = (statistics.median(one[phase] for one in found[name]) for name in found)
        rows.append((phase, f"{old:.1f}", f"{new:.1f}", f"{new / old:.0%}" if old else "-"))
    print(table(("seconds", "old", "new", "new of old"), rows))
    print(json.dumps(found))
    return 0


def measure(tree: Path, folder: Path, port: int) -> dict[str, float]:
    """Run `make serve` of a tree's last commit in an empty folder; seconds by phase, and in all."""
    clone, home = folder / "clone", folder / "home"
    home.mkdir()
    command = ["git", "clone", "--quiet", str(tree.resolve()), str(clone)]
    subprocess.run(command, check=True)  # noqa: S603 - ours
    environment = {name: value for name, value in os.environ.items() if KEPT.fullmatch(name)}
    environment |= {"HOME": str(home), "PORT": str(port)}
    make = ["make", "serve", f"PYTHON={Path(sys._base_executable)}"]  # type: ignore[attr-defined]  # noqa: SLF001
    times: dict[str, float] = {}
    used, began = processor_seconds(), time.monotonic()
    process = subprocess.Popen(  # noqa: S603 - ours
        make,
        cwd=clone,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )

    listener = threading.Thread(target=listen, args=(process.stdout, began, times))
    listener.start()
    try:
        while not answers(clone, port):
            if process.poll() is not None or time.monotonic() - began > MOST:
                raise SystemExit(f"error: make serve of {tree} came to no answer")
            time.sleep(0.1)
        times["start"] = time.monotonic() - began
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait()
        listener.join()
    phases, before = {}, 0.0
    for phase in (*ENDS, "start"):
        phases[phase], before = times[phase] - before, times[phase]
    return {
        **{phase: round(seconds, 1) for phase, seconds in phases.items()},
        "all": round(times["start"], 1),
        "processor": round(processor_seconds() - used, 1),
    }


def listen(output: IO[str], began: float, times: dict[str, float]) -> None:
    """Write down when each phase ended, and show what is said, with its time."""
    with output as lines:
        for line in lines:
            passed = time.monotonic() - began
            for phase, end in ENDS.items():
                if end.match(line) and (phase == "training" or phase not in times):
                    times[phase] = passed
            say(f"{passed:7.1f} {line.rstrip()}")


def answers(clone: Path, port: int) -> bool:
    """Tell whether a picture to validate on gets its prediction."""
    picture = next(clone.glob("data/val/*/*.jpg"), None)
    if picture is None or not (clone / "saved_models").exists():
        return False
    request = urllib.request.Request(f"http://127.0.0.1:{port}/predict", picture.read_bytes())
    request.add_header("Content-Type", "image/jpeg")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - this machine's
            return "label" in json.load(answer)
    except (OSError, ValueError):
        return False


def processor_seconds() -> float:
    """Add up what the children used that have ended, and theirs."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    raise SystemExit(main())
