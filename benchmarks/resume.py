"""Interrupt training again and again, and compare its end with a run that nothing interrupted.

    python benchmarks/resume.py --data data --weights none --processes 2

Half of the rounds send SIGINT, half SIGKILL, one to three times each, at moments spread over the
whole run; several processes are started by torchrun, and all of them are killed. Every round must
end with the very same weights and metrics, bit for bit. Prints a table, then one JSON line; the
exit code is 1 if any round differs.
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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil
import torch

from antbee.training.checkpoint import Checkpoint, load_checkpoint

TRAIN: Final = Path(__file__).resolve().parents[1] / "train.py"
TIMES: Final = ("seconds", "pictures_per_second")


@dataclass
class Round:
    """A run that was interrupted.

    Attributes:
        signal: its name.
        places: epoch and step of the state that was saved at each interruption.
        exits: the exit code of each interrupted process.
        same: whether the end was that of the run without interruption.
    """

    signal: str
    places: list[tuple[int, int]] = field(default_factory=list)
    exits: list[int] = field(default_factory=list)
    same: bool = False


def main(argv: Sequence[str] | None = None) -> int:
    """Run the rounds, and return the exit code."""
    options = parse(argv)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        data = pick_pictures(options.data, folder / "data", options.pictures)
        arguments = ["--data", data, "--weights", options.weights, "--epochs", options.epochs]
        arguments += ["--batch-size", options.batch_size, "--freeze", options.freeze]
        program = make_program(options.processes)
        rounds = measure(program, list(map(str, arguments)), folder, options)
    print(summary(rounds))
    return 0 if all(one.same for one in rounds) else 1


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Interrupt and resume training, and compare.")
    add = parser.add_argument
    add("--data", type=Path, default=Path("data"))
    add("--weights", default="none")
    add("--freeze", default="auto", help="as train.py takes it (%(default)s)")
    add("--epochs", type=int, default=3)
    add("--batch-size", type=int, default=4)
    add("--pictures", type=int, default=10, help="of each label and split (%(default)s)")
    add("--rounds", type=int, default=20)
    add("--processes", type=int, default=1, help="that train together (%(default)s)")
    add("--seed", type=int, default=0, help="of the moments")
    return parser.parse_args(argv)


def make_program(processes: int) -> list[str]:
    """Return the command that trains in so many processes, without its arguments."""
    program = [sys.executable, str(TRAIN)]
    if processes > 1:
        torchrun = ["-m", "torch.distributed.run", "--standalone", "--local-addr", "127.0.0.1"]
        program[1:1] = [*torchrun, "--nproc-per-node", str(processes)]
    return program


def pick_pictures(source: Path, target: Path, count: int) -> Path:
    """Link the first pictures of each label of both splits."""
    for label in [*source.glob("train/*/"), *source.glob("val/*/")]:
        folder = target / label.relative_to(source)
        folder.mkdir(parents=True)
        for picture in sorted(label.glob("[!.]*"))[:count]:
            (folder / picture.name).symlink_to(picture.resolve())
    return target


def measure(
    program: list[str], arguments: list[str], folder: Path, options: argparse.Namespace
) -> list[Round]:
    """Train once without and many times with interruptions; print a line for each."""
    reference, _ = start([*program, *arguments, "--out", str(folder / "whole")])
    began = time.monotonic()
    expected, ended = end(reference)
    seconds, rounds = ended - began, options.rounds
    generator = random.Random(options.seed)  # noqa: S311 - moments, not secrets
    print(f"uninterrupted: {seconds:.1f} s\n\nround  signal   saved at (epoch.step)  same")
    done = []
    for number in range(rounds):
        one = Round("SIGINT" if number % 2 == 0 else "SIGKILL")
        # The first interruption goes through the whole run, round by round.
        moments = [(number + generator.random()) / rounds * seconds]
        moments += [generator.random() * seconds for _ in range(generator.randrange(3))]
        last = interrupt(program, [*arguments, "--out", str(folder / str(number))], one, moments)
        one.same = same_end(expected, end(start([*program, "-c", str(last)])[0])[0])
        places = " ".join(f"{epoch}.{step}" for epoch, step in one.places)
        same = "yes" if one.same else "NO"
        print(f"{number + 1:5}  {one.signal:7}  {places:21}  {same}", flush=True)
        done.append(one)
    return done


def interrupt(program: list[str], arguments: list[str], one: Round, moments: list[float]) -> Path:
    """Start a run and interrupt it at each of the moments; return where it goes on."""
    for moment in moments:
        process, last = start([*program, *arguments])
        time.sleep(moment)
        # torchrun passes on what it is told, but for this.
        workers = psutil.Process(process.pid).children() if one.signal == "SIGKILL" else []
        process.send_signal(signal.Signals[one.signal])
        for worker in workers:
            worker.kill()
        process.communicate()
        saved = load_checkpoint(last)
        one.places.append((saved.epoch, saved.position.step))
        one.exits.append(process.returncode)
        arguments = ["-c", str(last)]
    return last


def start(command: list[str]) -> tuple[subprocess.Popen[str], Path]:
    """Start or go on with a run; return its process, once it trains, and its last.pt."""
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


def same_end(expected: Path, actual: Path) -> bool:
    """Compare the weights of both checkpoints and the metrics, bit for bit."""
    return metrics(expected) == metrics(actual) and all(
        same_weights(load_checkpoint(expected / name), load_checkpoint(actual / name))
        for name in ("last.pt", "best.pt")
    )


def same_weights(expected: Checkpoint, actual: Checkpoint) -> bool:
    """Compare two state dicts bit for bit."""
    return expected.model.keys() == actual.model.keys() and all(
        torch.equal(tensor, actual.model[name]) for name, tensor in expected.model.items()
    )


def metrics(folder: Path) -> list[dict[str, float]]:
    """Read metrics.jsonl without the times."""
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [{name: line[name] for name in line if name not in TIMES} for line in lines]


def summary(rounds: list[Round]) -> str:
    """Count, as a line of JSON."""
    places = [place for one in rounds for place in one.places]
    return "\n" + json.dumps(
        {
            "rounds": len(rounds),
            "interruptions": len(places),
            "interrupted_mid_epoch": sum(step > 0 for _, step in places),
            "identical": sum(one.same for one in rounds),
        }
    )


if __name__ == "__main__":
    raise SystemExit(main())
