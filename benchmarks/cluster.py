"""`antbee.batch --engine ray` on a cluster of three machines, and what is killed meanwhile.

    unshare -n sh -c 'ip link set lo up && exec .venv-ray/bin/python benchmarks/cluster.py \
        SOURCE FOLDER --model FOLDER'

Without a network of its own Ray would look for this machine's address. The cluster's head has no
CPU, as a driver's machine; three nodes, processes of this machine, have one each. FOLDER gets an
OUT for each run. Each round kills a driver and runs it again, and then, in another OUT, kills a
node. Prints JSON: of each how many parts there were, and how many of those are as they were.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from ray.cluster_utils import Cluster

from antbee.batch.ray_data import ENVIRONMENT

PARTS_BEFORE = 4
"""When something is killed: more than one an actor are done, and more are under way."""


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description="antbee.batch on a cluster of Ray.")
    parser.add_argument("source")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", required=True)
    parser.add_argument("--runtime", help="default: what packing found the faster")
    parser.add_argument("--rows", default="256")
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    os.environ.update(ENVIRONMENT)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})

    def start(out: Path) -> subprocess.Popen[str]:
        arguments = [options.source, out, "--rows", options.rows, "--model", options.model]
        arguments += ["--runtime", options.runtime] if options.runtime else []
        engine = ["--engine", "ray", "--address", cluster.address]
        command = [sys.executable, "-m", "antbee.batch", *map(str, arguments), *engine]
        return subprocess.Popen(  # noqa: S603 - ourselves
            command, stderr=subprocess.PIPE, text=True
        )

    with start(options.folder / "none") as driver:
        _, err = driver.communicate()
    report: dict[str, Any] = {"no_cpu": {"code": driver.returncode, "error": err.splitlines()[-1]}}
    nodes = [cluster.add_node(num_cpus=1) for _ in range(3)]
    report["kills"] = []
    for number in range(options.rounds):
        out = options.folder / f"driver{number}"
        with start(out) as driver:
            before = wait_for_parts(out, driver)
            driver.send_signal(signal.SIGKILL)
        report["kills"].append(finish("driver", out, start(out), before))

        out = options.folder / f"node{number}"
        driver = start(out)
        before = wait_for_parts(out, driver)
        cluster.remove_node(nodes.pop(0), allow_graceful=False)
        report["kills"].append(finish("node", out, driver, before))
        nodes.append(cluster.add_node(num_cpus=1))
    cluster.shutdown()
    print(json.dumps(report))


def wait_for_parts(out: Path, driver: subprocess.Popen[str]) -> dict[str, int]:
    """Wait until there are some, and tell when each was written."""
    while len(parts := list(out.glob("part-*"))) < PARTS_BEFORE:
        if driver.poll() is not None:
            raise SystemExit(f"the driver ended early: {driver.communicate()[1]}")
        time.sleep(0.01)
    return {path.name: path.stat().st_mtime_ns for path in parts}


def finish(
    killed: str, out: Path, driver: subprocess.Popen[str], before: dict[str, int]
) -> dict[str, Any]:
    """Wait for the driver's end, and count the parts that are as they were."""
    _, err = driver.communicate()
    same = sum((out / name).stat().st_mtime_ns == when for name, when in before.items())
    parts = {"parts": len(list(out.glob("part-*"))), "before": len(before), "same": same}
    return {"killed": killed, "out": str(out), "code": driver.returncode, "log": err, **parts}


if __name__ == "__main__":
    main()
