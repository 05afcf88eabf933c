"""Thousands of pictures, by `antbee.predict`, and by `antbee.batch` here and on Ray, in turn.

    make ray
    .venv-ray/bin/python benchmarks/batch.py PICTURES --model FOLDER

PICTURES is a folder, copied until there are enough. Each engine answers them all in a process of
its own, several times in turn, and as often one picture for each core, which is its start-up, of
all actors. Prints a table of pictures a second without the start-up, and of seconds, CPU and
megabytes with it; then what comes of killed drivers and nodes of a cluster
(`benchmarks/cluster.py`, as root). Each answer is compared with `antbee.predict`'s. Ends with one
JSON line, and exit code 1 if any is not the same, or a run in which something was killed did not
end well.
"""

import argparse
import itertools
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import psutil
from pyarrow import parquet

from antbee.machine import cores

SUFFIXES: Final = (".jpg", ".jpeg", ".png")
ENGINES: Final = ("predict", "local", "ray")
EVERY: Final = 4.0
"""Seconds between two looks at a command's memory: each takes milliseconds a process, and Ray has
twenty of them."""
NETWORK: Final = ("unshare", "-n", "sh", "-c", 'ip link set lo up && exec "$0" "$@"')
Rows = dict[str, dict[str, Any]]
"""Answers by path."""


def main() -> int:
    """Measure, print, and return the exit code."""
    parser = argparse.ArgumentParser(description="antbee.batch beside antbee.predict.")
    add = parser.add_argument
    add("pictures", type=Path)
    add("--model", required=True, help="a packed model's folder")
    add("--runtime", default="int8")
    add("--count", type=int, default=5000)
    add("--rounds", type=int, default=3)
    add("--rows", default="256")
    add("--kills", type=int, default=5, help="of each kind; 0 for none")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        many, few = folder / "many", folder / "few"
        copy(options.pictures, many, options.count)
        copy(options.pictures, few, cores())
        shared = ["--model", options.model, "--runtime", options.runtime]

        def command(engine: str, source: Path, out: Path, rows: str) -> list[str]:
            if engine == "predict":
                return ["-m", "antbee.predict", str(source), "--jsonl", str(out), *shared]
            more = ["--rows", rows, "--engine", engine]
            return ["-m", "antbee.batch", str(source), str(out), *more, *shared]

        times: dict[str, list[tuple[float, ...]]] = {engine: [] for engine in ENGINES}
        outs: list[Path] = []
        for turn in range(options.rounds):
            for engine in ENGINES:
                start = run_once(command(engine, few, folder / f"few-{engine}{turn}", "1"))[0]
                out = folder / f"{engine}{turn}"
                used = run_once(command(engine, many, out, options.rows))
                times[engine].append((options.count / (used[0] - start), *used))
                print(engine, times[engine][-1], file=sys.stderr)
                outs += [out] if engine != "predict" else []
        expected = read_lines(folder / "predict0")
        kills: list[dict[str, Any]] = []
        if options.kills:
            arguments = [str(many), str(folder / "kills"), *shared]
            more = ["--rows", options.rows, "--rounds", str(options.kills)]
            script = str(Path(__file__).with_name("cluster.py"))
            asked = [*NETWORK, sys.executable, script, *arguments, *more]
            done = subprocess.run(asked, stdout=subprocess.PIPE, check=True)  # noqa: S603
            kills = json.loads(done.stdout.splitlines()[-1])["kills"]
            outs += [Path(kill["out"]) for kill in kills]
        faults = sum(compare(expected, out) for out in outs)
        failed = sum(kill["code"] != 0 for kill in kills)

    print("engine   pictures/s  of predict's  seconds  of CPU  MB")
    table = {
        name: [statistics.median(row) for row in zip(*times[name], strict=True)] for name in times
    }
    for name, (speed, seconds, cpu, megabytes) in table.items():
        share = speed / table["predict"][0]
        print(
            f"{name:7}  {speed:10.1f}  {share:12.1%}  {seconds:7.1f}  {cpu:6.1f}  {megabytes:.0f}"
        )
    for kill in kills:
        del kill["log"]
        print(
            f"killed a {kill['killed']}: {kill['same']} of {kill['before']} parts kept, "
            f"exit code {kill['code']}"
        )
    print(f"{faults} answers of {len(outs)} runs are missing, twice there, or not predict's")
    print(json.dumps({"engines": table, "rounds": times, "kills": kills, "faults": faults}))
    return 1 if faults or failed else 0


def copy(pictures: Path, folder: Path, count: int) -> None:
    """Copy pictures, again and again, until there are so many."""
    found = [path for path in sorted(pictures.rglob("*")) if path.suffix.lower() in SUFFIXES]
    for number, path in zip(range(count), itertools.cycle(found), strict=False):
        target = folder / f"{number // 500:03}" / f"{number:06}{path.suffix}"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)


def run_once(arguments: list[str]) -> tuple[float, float, float]:
    """Run a command of ours, with all the processes that it starts.

    Returns:
        Its seconds, those of CPU up to the last look, and the most megabytes at any look.
    """
    began, cpu, most = time.perf_counter(), 0.0, 0
    with subprocess.Popen([sys.executable, *arguments], stderr=subprocess.DEVNULL) as running:  # noqa: S603
        parent = psutil.Process(running.pid)
        while True:
            with suppress(subprocess.TimeoutExpired):
                running.wait(EVERY)
                break
            megabytes, seconds = 0, 0.0
            with suppress(psutil.Error):
                for one in (parent, *parent.children(recursive=True)):
                    with suppress(psutil.Error):
                        megabytes += one.memory_full_info().pss
                        times = one.cpu_times()
                        seconds += times.user + times.system
            cpu, most = max(cpu, seconds), max(most, megabytes)
    if running.returncode:
        raise SystemExit(f"{' '.join(arguments)} ended with {running.returncode}")
    return time.perf_counter() - began, cpu, most / 1e6


def read_lines(file: Path) -> Rows:
    """Read what `antbee.predict` wrote."""
    rows = map(json.loads, file.read_text().splitlines())
    return {row.pop("path"): row for row in rows}


def compare(expected: Rows, out: Path) -> int:
    """Count the pictures that are not in OUT exactly once with every number as it should be."""
    found: list[dict[str, Any]] = []
    for path in out.glob("part-*.parquet"):
        found += parquet.read_table(path).to_pylist()
    good = set()
    for row in found:
        told = {name: value for name, value in row.items() if value is not None}
        path = told.pop("path")
        del told["runtime"]
        told["probabilities"] = dict(told.get("probabilities", ()))
        if told == expected.get(path):
            good.add(path)
    return len(expected) - len(good) + len(found) - len(good)


if __name__ == "__main__":
    raise SystemExit(main())
