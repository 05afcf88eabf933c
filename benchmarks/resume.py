"""Interrupt training again and again, and compare its end with a run that nothing interrupted.

    python benchmarks/resume.py --data data --processes 2 --freeze none

    python benchmarks/resume.py --size 160 --balance

Half of the rounds send SIGINT, half SIGKILL, one to three times each, at moments spread over the
whole run; several processes are started by torchrun, and all of them are killed. Options of
train.py are handed on. Every round must end with the very same weights and metrics, bit for bit.
Prints a table, then one JSON line; the exit code is 1 if any round differs.
"""

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from antbee.training.checkpoint import load_checkpoint
from servers import family
from training import read_metrics

TRAIN: Final = Path(__file__).resolve().parents[1] / "train.py"
DEFAULTS: Final = ("--weights", "none", "--epochs", "3", "--batch-size", "4")
PICTURES: Final = 10  # of each label and split, the first: a run takes seconds
FEWER: Final = 6  # to train on, of the first label: for --balance labels must be unequal
TIMES: Final = ("seconds", "pictures_per_second")


def main(argv: Sequence[str] | None = None) -> int:
    """Train once without and many times with interruptions, and return the exit code."""
    parser = argparse.ArgumentParser(description="Interrupt and resume training, and compare.")
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--processes", type=int, default=1, help="that train together")
    options, more = parser.parse_known_args(argv)

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for label in [*options.data.glob("train/*/"), *options.data.glob("val/*/")]:
            target = folder / "data" / label.relative_to(options.data)
            target.mkdir(parents=True)
            first = label == min(options.data.glob("train/*/"))
            for picture in sorted(label.glob("[!.]*"))[: FEWER if first else PICTURES]:
                (target / picture.name).symlink_to(picture.resolve())
        program = [sys.executable, str(TRAIN)]
        if options.processes > 1:
            torchrun = ["-m", "torch.distributed.run", "--standalone", "--local-addr", "127.0.0.1"]
            program[1:1] = [*torchrun, "--nproc-per-node", str(options.processes)]
        begin = [*program, "--data", str(folder / "data"), *DEFAULTS, *more]

        reference, _ = start([*begin, "--out", str(folder / "whole")])
        began = time.monotonic()
        whole, ended = end(reference)
        seconds, expected = ended - began, outcome(whole)
        print(f"uninterrupted: {seconds:.1f} s\n\nround  signal   saved at (epoch.step)  same")
        generator = random.Random(0)  # noqa: S311 - moments, not secrets
        places: list[tuple[int, int]] = []
        identical = 0
        for number in range(options.rounds):
            kind = signal.SIGINT if number % 2 == 0 else signal.SIGKILL
            # The first interruption goes through the whole run, round by round.
            moments = [(number + generator.random()) / options.rounds * seconds]
            moments += [generator.random() * seconds for _ in range(generator.randrange(3))]
            saved = []
            command = [*begin, "--out", str(folder / str(number))]
            for moment in moments:
                process, last = start(command)
                time.sleep(moment)
                # torchrun passes on what it is told, but for SIGKILL.
                everyone = family(process.pid) if kind == signal.SIGKILL else [process]
                for one in everyone:
                    one.send_signal(kind)
                process.communicate()
                state = load_checkpoint(last)
                saved.append((state.position.epoch, state.position.step))
                command = [*program, "-c", str(last)]
            finished, _ = end(start(command)[0])
            same = outcome(finished) == expected
            where = " ".join(f"{epoch}.{step}" for epoch, step in saved)
            answer = "yes" if same else "NO"
            print(f"{number + 1:5}  {kind.name:7}  {where:21}  {answer}", flush=True)
            places += saved
            identical += same

    inside = sum(step > 0 for _, step in places)
    summary = {"rounds": options.rounds, "interruptions": len(places)}
    summary |= {"interrupted_mid_epoch": inside, "identical": identical}
    print("\n" + json.dumps(summary))
    return 0 if identical == options.rounds else 1


def start(command: list[str]) -> tuple[subprocess.Popen[str], Path]:
    """Start a run, or go on with one; return its process, once it trains, and its last.pt."""
    process = subprocess.Popen(  # noqa: S603 - train.py with arguments of our own
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    said = []
    for line in process.stderr or ():
        said.append(line)
        if line.startswith("training "):
            return process, Path(line.split(" in ", 1)[1].strip()) / "last.pt"
    raise SystemExit("train.py did not start:\n" + "".join(said))


def end(process: subprocess.Popen[str]) -> tuple[Path, float]:
    """Let a run end; return its folder, and when it had trained, before it wrote its report."""
    best = process.stdout.readline() if process.stdout else ""
    trained = time.monotonic()
    _, said = process.communicate()
    if process.returncode != 0:
        raise SystemExit(f"train.py failed:\n{said}")
    return Path(best.strip()).parent, trained


def outcome(folder: Path) -> list[dict[str, Any]]:
    """Read what must be the same: the metrics without times, and both checkpoints' weights."""
    lines = read_metrics(folder)
    metrics = [{name: line[name] for name in line if name not in TIMES} for line in lines]
    models = [load_checkpoint(folder / name).model for name in ("last.pt", "best.pt")]
    return metrics + [{name: one.numpy().tobytes() for name, one in m.items()} for m in models]


if __name__ == "__main__":
    raise SystemExit(main())
