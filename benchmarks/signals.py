"""Send SIGINT and SIGTERM to every command at random moments, and count how it ends.

    python benchmarks/signals.py --rounds 40 --seconds 5

Each goes to a process of its own, which must end with 130 and say `interrupted`, beside its usual
lines of progress; `started` counts those that the interpreter had not begun to run. Prints a
table, then one JSON line; the exit code is 1 if any ended otherwise.
"""

import argparse
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
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from antbee.command import INTERRUPTED, say, table

REPOSITORY: Final = Path(__file__).resolve().parents[1]
STOPPING: Final = ("stopping after this batch; Ctrl-C again stops at once", "saved; to go on: ")
CLEAN: Final = (INTERRUPTED, "interrupted")
UNBORN: Final = 0.5
"""Seconds in which the interpreter may not have come to the first line of a script of ours."""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit code."""
    parser = argparse.ArgumentParser(description="Interrupt every command at random moments.")
    parser.add_argument("--rounds", type=int, default=40, help="a command (%(default)s)")
    parser.add_argument("--seconds", type=float, default=5, help="the latest (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--command", choices=("train", "pack", "predict"), help="only this one")
    options = parser.parse_args(argv)
    generator = random.Random(options.seed)  # noqa: S311 - moments, not secrets
    ends: dict[str, Counter[tuple[int, str]]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        commands, regular = prepare(Path(temporary))
        for name in [options.command] if options.command else commands:
            ends[name] = Counter()
            for number in range(options.rounds):
                moment = options.seconds * generator.random()
                chosen = (signal.SIGINT, signal.SIGTERM)[number % 2]
                code, lines = interrupt(commands[name], moment, chosen, Path(temporary))
                said = "; ".join(line for line in lines if shape(line) not in regular)
                if moment < UNBORN and code != INTERRUPTED and str(REPOSITORY) not in said:
                    said = "started"
                ends[name][code, said] += 1
                if (code, said) != CLEAN:
                    say(f"{name}: {chosen.name} after {moment:.3f} s: {code}: " + "\n".join(lines))
    rows = [
        (name, code, count, "yes" if "Traceback" in said else "no", said[:100])
        for name, counted in ends.items()
        for (code, said), count in counted.most_common()
    ]
    print(table(("command", "exit code", "times", "traceback", "stderr"), rows) + "\n")
    others = {
        name: sum(n for end, n in counted.items() if end != CLEAN and end[1] != "started")
        for name, counted in ends.items()
    }
    print(json.dumps({"rounds": options.rounds, "seed": options.seed, "not_clean": others}))
    return 1 if any(others.values()) else 0


def prepare(folder: Path) -> tuple[dict[str, list[str]], set[str]]:
    """Draw pictures, train and pack once; return the commands, and what they say when let alone."""
    pixels = np.random.default_rng(0)
    for place in ("train/a", "train/b", "val/a", "val/b"):
        (folder / "data" / place).mkdir(parents=True)
        for number in range(6):
            picture = Image.fromarray(pixels.integers(0, 256, (240, 320, 3), np.uint8))
            picture.save(folder / "data" / place / f"{number}.png")
    python, data = sys.executable, str(folder / "data")
    train = [python, "train.py", "--data", data, "--weights", "none", "--bento", "no"]
    train += ["--batch-size", "4", "--out", str(folder / "runs"), "--epochs"]
    checkpoint, said = start([*train, "1"], folder).communicate()
    pack = [python, "save_to_bento.py", checkpoint.strip(), "--data", data]
    said += start(pack, folder).communicate()[1]
    predict = [python, "-m", "antbee.predict", *[f"{data}/train"] * 500, "--csv", os.devnull]
    regular = {shape(line) for line in (*said.splitlines(), *STOPPING)}
    assert "serve it" in said, said  # noqa: S101 - what fails without a signal, too, shows nothing
    return {"train": [*train, "99"], "pack": pack, "predict": predict}, regular


def interrupt(
    command: list[str], moment: float, number: signal.Signals, folder: Path
) -> tuple[int, list[str]]:
    """Return a command's exit code and what it said."""
    process = start(command, folder)
    time.sleep(moment)
    process.send_signal(number)
    lines = process.communicate()[1].splitlines()
    return process.returncode, list(filter(None, lines))


def shape(line: str) -> str:
    """Leave out what differs from run to run: numbers, and the command to go on with."""
    return re.sub(r"(?<=saved; to go on: ).*|[0-9a-z]*\d[0-9a-z.]*", "", line)


def start(command: list[str], folder: Path) -> "subprocess.Popen[str]":
    """Start a command."""
    environment = {**os.environ, "BENTOML_HOME": str(folder), "BENTOML_DO_NOT_TRACK": "True"}
    return subprocess.Popen(  # noqa: S603 - our own commands
        command,
        cwd=REPOSITORY,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


if __name__ == "__main__":
    raise SystemExit(main())
