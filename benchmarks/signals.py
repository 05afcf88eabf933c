"""Send SIGINT and SIGTERM to every command at random moments, and count how it ends.

    python benchmarks/signals.py --rounds 200 --seconds 5 --at-once 2

Each goes to a process of its own, which must end with 130 and say `interrupted`, beside its usual
lines of progress. `bentoml serve` must end as BentoML does, with all its processes and without a
word beside its log, but for a worker's `interrupted` where it was still importing. `started` counts
those whose interpreter, or whose BentoML, had not come to a line of ours; `over` those that had
ended before. Prints a table, then one JSON line; the exit code is 1 if any ended otherwise.
"""

import argparse
import functools
import itertools
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import psutil

from antbee.command import INTERRUPTED, say, table
from servers import family
from structure import draw_noise

REPOSITORY: Final = Path(__file__).resolve().parents[1]
COMMANDS: Final = ("train", "pack", "predict", "serve")
STOPPING: Final = "\nstopping after this batch\nsaved; to go on"
"""How lines begin that only an interrupted training prints."""
OURS: Final = re.compile(rf'"{re.escape(str(REPOSITORY))}/(?!\.venv)')
"""What a traceback through a file of ours says."""
UNBORN: Final = 0.5  # seconds in which Python may not have come to the first line of our script
GOOD: Final = ("started", "over", "stopped")
PATIENCE: Final = 60  # seconds after the signal; what runs then still does not end by it


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit code."""
    parser = argparse.ArgumentParser(description="Interrupt every command at random moments.")
    add = parser.add_argument
    add("--rounds", type=int, default=40, help="a command (%(default)s)")
    add("--seconds", type=float, default=5, help="the latest (%(default)s)")
    add("--at-once", type=int, default=1, help="processes; each more makes them slower")
    add("--only", nargs="+", choices=COMMANDS, default=COMMANDS)
    options = parser.parse_args(argv)
    # What this process ignores, as a job in the background does, the others would ignore, too.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    ends: Counter[tuple[str, int, str]] = Counter()
    unclean = dict.fromkeys(options.only, 0)
    with tempfile.TemporaryDirectory() as temporary, ThreadPoolExecutor(options.at_once) as pool:
        folder = Path(temporary)
        data = str(folder / "data")
        draw_noise(folder / "data", 10, (320, 240))
        train = ["train.py", "--data", data, "--weights", "none", "--bento", "no"]
        train += ["--batch-size", "4", "--out", str(folder / "runs"), "--epochs"]
        checkpoint, trained = start([*train, "1"], folder).communicate()
        pack = ["save_to_bento.py", checkpoint.strip(), "--data", data]
        packed = start(pack, folder).communicate()[1]
        if "serve it" not in packed:
            raise SystemExit(f"error: they fail without a signal, too:\n{trained}{packed}")
        # What they say when let alone is no fault, whatever the numbers in it.
        usual = {first_word(line) for line in (trained + packed + STOPPING).splitlines()}
        commands = {
            "train": [*train, "99"],
            "pack": pack,
            "predict": ["-m", "antbee.predict", *[f"{data}/train"] * 500, "--csv", os.devnull],
            "serve": ["-m", "bentoml", "serve", ".", "--host", "127.0.0.1", "--port", "0"],
        }
        generator = random.Random(0)  # noqa: S311 - moments, not secrets
        for name in options.only:
            moments = [options.seconds * generator.random() for _ in range(options.rounds)]
            work = functools.partial(interrupt, commands[name], folder)
            ended = pool.map(work, moments, itertools.cycle((signal.SIGINT, signal.SIGTERM)))
            for moment, (code, lines) in zip(moments, ended, strict=True):
                said = judge(name, moment, code, lines, usual)
                ends[name, code, said] += 1
                if not (said in GOOD or (code, said) == (INTERRUPTED, "interrupted")):
                    unclean[name] += 1
                    say(f"{name}: signal after {moment:.3f} s: {code}: " + "\n".join(lines))

    rows = []
    for (name, code, said), count in ends.items():
        rows.append((name, code, count, "yes" if "Traceback" in said else "no", said[:100]))
    print(table(("command", "exit code", "times", "traceback", "stderr"), rows) + "\n")
    print(json.dumps({"rounds": options.rounds, "not_clean": unclean}))
    return 1 if any(unclean.values()) else 0


def judge(name: str, moment: float, code: int, lines: Sequence[str], usual: Collection[str]) -> str:
    """Say how a command ended: one of `GOOD`, or what it said beside its usual lines."""
    said = "; ".join(line for line in lines if first_word(line) not in usual)
    killed = code in (-signal.SIGINT, -signal.SIGTERM) or said.endswith(
        ("KeyboardInterrupt", "Aborted!")
    )
    if killed and (moment < UNBORN or name == "serve") and not any(map(OURS.search, lines)):
        return "started"
    return "stopped" if name == "serve" and said in ("", "interrupted") else said


def interrupt(
    command: list[str], folder: Path, moment: float, kind: signal.Signals
) -> tuple[int, list[str]]:
    """Start a command, send it a signal, and return its exit code and what it said."""
    process = start(command, folder)
    time.sleep(moment)
    if process.poll() == 0:
        return 0, ["over"]
    everyone = family(process.pid)
    process.send_signal(kind)
    try:
        out, err = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        for one in filter(psutil.Process.is_running, everyone):
            one.kill()
        out, err = process.communicate()
        err += "\nstill running"
    lines = [*err.splitlines(), *out.splitlines()]  # a server's log is on stdout
    return process.returncode, [line for line in lines if " [INFO] " not in line]


def first_word(line: str) -> str:
    """Tell lines of one kind from others: numbers, names and figures differ from run to run."""
    return re.sub(r"\d+", "#", (line.split() or [""])[0])


def start(words: list[str], folder: Path) -> "subprocess.Popen[str]":
    """Start a Python program of ours, whose bentos are in a folder."""
    environment = {**os.environ, "BENTOML_HOME": str(folder), "BENTOML_DO_NOT_TRACK": "True"}
    command, pipe = [sys.executable, *words], subprocess.PIPE
    return subprocess.Popen(  # noqa: S603 - our own commands
        command, cwd=REPOSITORY, env=environment, stdout=pipe, stderr=pipe, text=True
    )


if __name__ == "__main__":
    raise SystemExit(main())
