"""Thousands of pictures, by `antbee.predict`, fastai's `get_preds` and PyTorch's `DataLoader`.

    make trainers
    python benchmarks/predicting.py PICTURES --model FOLDER

PICTURES is a folder; links to what is in it, each with a name of its own, make as many as are asked
for. Each program classifies them all in a process of its own, several times in turn, and as often
one picture for each core, which is its start-up. PyTorch's gets the number of loading processes and
the size of batches that were fastest on a tenth of the pictures; fastai's are its defaults.

Prints a table of medians, then one JSON line: `pictures_per_second` without the start-up; `seconds`
and `cpu_seconds` with it; `peak_mb`, megabytes of all its processes, once what they share; and
`same`, how many of PyTorch's answers are ours, which is of the same weights. fastai's network has a
head of its own.
"""

import argparse
import csv
import itertools
import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from antbee.artifact import WEIGHTS, PackedModel, read_model
from antbee.machine import cores
from antbee.predict import SUFFIXES
from training import PYTHON, is_installed
from usage import measure

PEERS: Final = Path(__file__).resolve().parent / "trainers"
LOADERS: Final = tuple(itertools.product((0, 2, 4), (16, 64)))
"""Loading processes and sizes of batches that are tried."""
ROW: Final = "{who:24} {pictures_per_second:10.1f} {seconds:8.1f} {cpu_seconds:6.1f} {peak_mb:7.0f}"


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit code."""
    parser = argparse.ArgumentParser(description="antbee.predict beside its peers.")
    add = parser.add_argument
    add("pictures", type=Path)
    add("--model", type=Path, required=True, help="a packed model's folder")
    add("--runtimes", default="int8,onnx", help="of ours (%(default)s)")
    add("--count", type=int, default=5000)
    add("--rounds", type=int, default=3)
    options = parser.parse_args(argv)
    model = read_model(options.model)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        many, tenth, few = folder / "many", folder / "tenth", folder / "few"
        for target, count in ((many, options.count), (tenth, options.count // 10), (few, cores())):
            link(options.pictures, target, count)

        ours = [sys.executable, "-m", "antbee.predict", "--model", options.model, "--csv"]
        commands: dict[str, list[Any]] = {
            f"antbee, {runtime}": [*ours, "OUT", "--runtime", runtime]
            for runtime in options.runtimes.split(",")
        }
        if is_installed("fastai"):
            commands["fastai"] = [PYTHON, PEERS / "fastai_predict.py", "--arch", model.arch]
            commands["fastai"] += ["--out", "OUT"]
        if is_installed("torch"):
            name, command = fastest_loader(model, tenth, folder)
            commands[name] = command
        else:
            print("PyTorch and fastai are left out: make trainers")

        rounds: dict[str, list[dict[str, float]]] = {who: [] for who in commands}
        answers: dict[str, list[str]] = {}
        for _ in range(options.rounds):
            for who, command in commands.items():
                start, _ = classify(command, few, folder)
                run, answers[who] = classify(command, many, folder)
                run["pictures_per_second"] = options.count / (run["seconds"] - start["seconds"])
                rounds[who].append(run)
                print(ROW.format(who=who, **run), file=sys.stderr)

    print("                         pictures/s  seconds  CPU s      MB")
    table = {}
    for who, runs in rounds.items():
        table[who] = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
        print(ROW.format(who=who, **table[who]))
    first = answers[next(iter(commands))]
    same = {
        who: sum(one == model.labels[int(other)] for one, other in zip(first, found, strict=True))
        for who, found in answers.items()
        if who.startswith("PyTorch")
    }
    for who, count in same.items():
        print(f"{count} of {len(first)} answers of {who} are ours")
    print(json.dumps({"medians": table, "rounds": rounds, "same": same}))
    return 0


def link(pictures: Path, folder: Path, count: int) -> None:
    """Link to the pictures of a folder, again and again, until there are so many."""
    found = [path for path in sorted(pictures.rglob("*")) if path.suffix.lower() in SUFFIXES]
    folder.mkdir()
    for number, path in zip(range(count), itertools.cycle(found), strict=False):
        (folder / f"{number:06}{path.suffix}").symlink_to(path.resolve())


def fastest_loader(model: PackedModel, pictures: Path, folder: Path) -> tuple[str, list[Any]]:
    """Try PyTorch's loop with all of `LOADERS`; return the fastest's name and command."""
    command = [PYTHON, PEERS / "torch_predict.py", "--weights", model.path(WEIGHTS)]
    command += ["--arch", model.arch, "--out", "OUT"]
    times = {}
    for workers, batch in LOADERS:
        own = ["--workers", workers, "--batch", batch]
        times[workers, batch] = classify([*command, *own], pictures, folder)[0]["seconds"]
    workers, batch = min(times, key=times.__getitem__)
    name = f"PyTorch, {workers} workers x {batch}"
    return name, [*command, "--workers", workers, "--batch", batch]


def classify(
    command: Sequence[Any], pictures: Path, folder: Path
) -> tuple[dict[str, float], list[str]]:
    """Run a command; return what it used, and the labels that it wrote, in order of the paths."""
    out = folder / "answers"
    arguments = [out if one == "OUT" else one for one in command]
    used = measure([*arguments, pictures], folder / "log")
    with out.open() as file:
        rows = sorted(row[:2] for row in csv.reader(file) if row[0] != "path")
    measured = {
        "seconds": used.seconds,
        "cpu_seconds": used.cpu_seconds,
        "peak_mb": used.peak_mb,
    }
    return measured, [label for _, label in rows]


if __name__ == "__main__":
    raise SystemExit(main())
