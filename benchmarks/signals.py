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

from PIL import Image

from antbee.command import INTERRUPTED, say, table

REPOSITORY: Final = Path(__file__).resolve().parents[1]
STOPPING: Final = ("stopping after this batch; Ctrl-C again stops at once", "saved; to go on: ")
UNBORN: Final = 0.5
"""Seconds in which the interpreter may not have come to the first line of a script of ours."""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit code."""
    parser = argparse.ArgumentParser(description="Interrupt every command at random moments.")
    parser.add_argument("--rounds", type=int, default=40, help="a command (%(default)s)")
    parser.add_argument("--seconds", type=float, default=5, help="the latest (%(default)s)")
    options = parser.parse_args(argv)
    generator = random.Random(0)  # noqa: S311 - moments, not secrets
    ends: Counter[tuple[str, int, str]] = Counter()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for place in ("train/a", "train/b", "val/a", "val/b"):
            (folder / "data" / place).mkdir(parents=True)
            for number in range(6):
                noise = Image.frombytes("RGB", (320, 240), generator.randbytes(320 * 240 * 3))
                noise.save(folder / "data" / place / f"{number}.png")
        data = str(folder / "data")
        train = ["train.py", "--data", data, "--weights", "none", "--bento", "no"]
        train += ["--batch-size", "4", "--out", str(folder / "runs"), "--epochs"]
        # What they say when let alone is no fault.
        checkpoint, said = start([*train, "1"], folder).communicate()
        pack = ["save_to_bento.py", checkpoint.strip(), "--data", data]
        said += start(pack, folder).communicate()[1]
        if "serve it" not in said:
            raise SystemExit(f"error: they fail without a signal, too:\n{said}")
        regular = {shape(line) for line in ("", *said.splitlines(), *STOPPING)}
        predict = ["-m", "antbee.predict", *[f"{data}/train"] * 500, "--csv", os.devnull]
        commands = {"train": [*train, "99"], "pack": pack, "predict": predict}

        for name, command in commands.items():
            for number in range(options.rounds):
                moment = options.seconds * generator.random()
                process = start(command, folder)
                time.sleep(moment)
                process.send_signal((signal.SIGINT, signal.SIGTERM)[number % 2])
                lines = process.communicate()[1].splitlines()
                code = process.returncode
                said = "; ".join(line for line in lines if shape(line) not in regular)
                if moment < UNBORN and code != INTERRUPTED and str(REPOSITORY) not in said:
                    said = "started"
                ends[name, code, said] += 1
                if (code, said) != (INTERRUPTED, "interrupted"):
                    say(f"{name}: signal after {moment:.3f} s: {code}: " + "\n".join(lines))

    unclean = dict.fromkeys(commands, 0)
    rows = []
    for (name, code, said), count in ends.items():
        if said != "started" and (code, said) != (INTERRUPTED, "interrupted"):
            unclean[name] += count
        rows.append((name, code, count, "yes" if "Traceback" in said else "no", said[:100]))
    print(table(("command", "exit code", "times", "traceback", "stderr"), rows) + "\n")
    print(json.dumps({"rounds": options.rounds, "not_clean": unclean}))
    return 1 if any(unclean.values()) else 0


def shape(line: str) -> str:
    """Leave out what differs from run to run: numbers, and the command to go on with."""
    return re.sub(r"(?<=saved; to go on: ).*|[0-9a-z]*\d[0-9a-z.]*", "", line)


def start(words: list[str], folder: Path) -> "subprocess.Popen[str]":
    """Start a Python program of ours, whose bentos are in a folder."""
    environment = {**os.environ, "BENTOML_HOME": str(folder), "BENTOML_DO_NOT_TRACK": "True"}
    command, pipe = [sys.executable, *words], subprocess.PIPE
    return subprocess.Popen(  # noqa: S603 - our own commands
        command, cwd=REPOSITORY, env=environment, stdout=pipe, stderr=pipe, text=True
    )


if __name__ == "__main__":
    raise SystemExit(main())
