"""The manifests of batches and of training: that they fit together, and what they run."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from torch.distributed.run import get_args_parser

from antbee.artifact import PackedModel
from antbee.batch.__main__ import INDEXES, find_shard
from antbee.training.arguments import make_parser
from tests.batch import command
from tests.conftest import REPOSITORY, free_port
from tests.kubernetes.conftest import MANIFESTS, Objects
from tests.training import together
from tests.training.conftest import ENVIRONMENT, make_data, measured


def read(name: str) -> Objects:
    """Read a manifest."""
    return list(yaml.safe_load_all((MANIFESTS / name).read_text()))


def template(job: dict[str, Any]) -> dict[str, Any]:
    """Return a job's pod."""
    found = job["spec"]["template"]
    assert found["metadata"]["labels"] == job["metadata"]["labels"]
    return dict(found["spec"])


@pytest.mark.parametrize("name", ["batch-job.yaml", "train-job.yaml", "raycluster.yaml"])
def test_only_they_may_talk_to_each_other(name: str) -> None:
    """Nobody else reaches what would run whatever it is told."""
    *objects, policy = read(name)
    labels = objects[-1]["metadata"]["labels"]
    selected = policy["spec"]["podSelector"]["matchLabels"]

    assert selected == labels
    for rule in policy["spec"].get("ingress", []):
        assert rule == {"from": [{"podSelector": {"matchLabels": labels}}]}


def test_each_pod_does_a_share() -> None:
    """There are as many indexes as shares."""
    job, _ = read("batch-job.yaml")
    (container,) = template(job)["containers"]

    assert job["spec"]["completionMode"] == "Indexed"
    (asked,) = (one for one in container["args"] if one.startswith("--shard="))
    shares = job["spec"]["completions"]
    assert find_shard(asked.removeprefix("--shard="), {INDEXES[0]: "3"}) == (3, shares)
    assert container["command"] == ["python", "-m", "antbee.batch"]
    assert (
        container["name"]
        == job["spec"]["podFailurePolicy"]["rules"][1]["onExitCodes"]["containerName"]
    )


def test_a_retry_reads_what_could_not_be_read(
    packed: PackedModel, jpeg: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A share with a broken picture fails with all answers written; whole later, it has one."""
    job, _ = read("batch-job.yaml")
    (container,) = template(job)["containers"]
    picture, out = tmp_path / "pictures/1.jpg", tmp_path / "answers"
    arguments = [one.replace("s3://BUCKET", str(tmp_path)) for one in container["args"]]
    monkeypatch.setenv(INDEXES[0], "0")
    picture.parent.mkdir()
    for content, code in ((jpeg[:200], 1), (jpeg, 0)):
        picture.write_bytes(content)
        assert command.run(packed, *arguments) == code
        assert command.read_success(out)["errors"] == code

    assert job["spec"]["backoffLimitPerIndex"] > 0


def test_machines_that_train_find_each_other(tmp_path: Path) -> None:
    """The options are torchrun's own, and name the first pod; a run that was begun goes on."""
    service, job, _ = read("train-job.yaml")
    pod = template(job)
    (container,) = pod["containers"]
    (port,) = service["spec"]["ports"]
    (tmp_path / "torchrun").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    (tmp_path / "torchrun").chmod(0o755)
    (script,) = container["args"]
    script = script.replace("runs=/", f"runs={tmp_path}/")
    seen = []
    for index, is_host in (("0", "true"), ("1", "false")):
        run = subprocess.run(
            [*container["command"], script],
            env={
                "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
                "JOB_COMPLETION_INDEX": index,
            },
            capture_output=True,
            text=True,
            check=True,
        )
        launched = get_args_parser().parse_args(run.stdout.splitlines())
        assert launched.nnodes == str(job["spec"]["completions"])
        first = f"{job['metadata']['name']}-0.{pod['subdomain']}"
        assert launched.rdzv_endpoint == f"{first}:{port['port']}"
        assert launched.rdzv_conf == f"is_host={is_host}"
        assert launched.training_script == "train.py"
        seen.append(make_parser().parse_args(launched.training_script_args))
        last = seen[0].out / "1-resnet18/last.pt"
        last.parent.mkdir(parents=True, exist_ok=True)
        last.touch()

    assert [options.checkpoint for options in seen] == [None, last]
    assert {options.bento for options in seen} == {"no"}
    assert pod["subdomain"] == service["metadata"]["name"]
    assert service["spec"]["clusterIP"] == "None"
    assert (
        service["spec"]["selector"].items() <= job["spec"]["template"]["metadata"]["labels"].items()
    )
    assert container["ports"] == [{"name": port["targetPort"], "containerPort": port["port"]}]
    mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert {"/runs", str(Path(seen[0].data))} <= mounted
    assert seen[0].out.parent == tmp_path / "runs"  # a folder of its own in there


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[int], subprocess.Popen[str]]]:
    """Return what starts the pod of an index here: it trains a tiny network on a few pictures."""
    _, job, _ = read("train-job.yaml")
    (container,) = template(job)["containers"]
    (script,) = container["args"]
    for name, here in (
        ("runs=/", f"runs={tmp_path}/"),
        ("antbee-train-0.antbee-train:29400", f"127.0.0.1:{free_port()}"),
        ("exec torchrun", f"exec {sys.executable} -m torch.distributed.run"),
        ("train.py --data /data", f"-m {together.__name__} --data {make_data(tmp_path / 'data')}"),
        ("--bento no", "--bento no --weights none --epochs 10 --batch-size 4"),
    ):
        assert script.count(name) == 1
        script = script.replace(name, here)
    started = []

    def start(index: int) -> subprocess.Popen[str]:
        variables = {"JOB_COMPLETION_INDEX": str(index), "PET_LOCAL_ADDR": "127.0.0.1"}
        started.append(
            subprocess.Popen(
                [*container["command"], script],
                cwd=REPOSITORY,
                env=ENVIRONMENT | variables,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        return started[-1]

    yield start
    for pod in started:
        if pod.poll() is None:
            lose(pod)


def lose(pod: subprocess.Popen[str]) -> None:
    """Let a pod's processes be gone, as where its memory was not enough."""
    agent = psutil.Process(pod.pid)
    for process in (*agent.children(recursive=True), agent):
        process.kill()
    pod.communicate()


@pytest.mark.slow
def test_a_lost_pod_ends_the_other_and_new_ones_go_on(
    start: Callable[[int], subprocess.Popen[str]], tmp_path: Path
) -> None:
    """The one that is left does not wait for what cannot come; two new ones finish the run."""
    first, second = start(0), start(1)
    deadline = time.monotonic() + 120
    while not any(path.read_text() for path in tmp_path.glob("runs/*/*/metrics.jsonl")):
        assert (first.poll(), second.poll()) == (None, None)
        assert time.monotonic() < deadline
        time.sleep(0.01)
    lose(second)

    assert "another process ended" in first.communicate(timeout=60)[1]
    assert first.returncode == 1
    new = [start(0), start(1)]
    said = [pod.communicate(timeout=120)[1] for pod in new]
    assert [pod.returncode for pod in new] == [0, 0], said
    (run,) = tmp_path.glob("runs/*/*")
    assert [line["epoch"] for line in measured(run)] == list(range(1, 11))


def test_the_cluster_runs_what_the_image_has() -> None:
    """The first pod gives out the work and does none; the others count the cores of their limit."""
    cluster, _ = read("raycluster.yaml")
    head = cluster["spec"]["headGroupSpec"]
    (workers,) = cluster["spec"]["workerGroupSpecs"]
    (worker,) = workers["template"]["spec"]["containers"]

    assert head["rayStartParams"]["num-cpus"] == "0"
    assert workers["rayStartParams"]["num-cpus"] == worker["resources"]["limits"]["cpu"]
    port = worker["readinessProbe"]["tcpSocket"]["port"]
    assert workers["rayStartParams"]["node-manager-port"] == str(port)
    # Those that are missing KubeRay fills in, with questions that nothing here answers.
    for group in (head, workers):
        (container,) = group["template"]["spec"]["containers"]
        assert group["template"]["metadata"]["labels"] == cluster["metadata"]["labels"]
        assert {"readinessProbe", "livenessProbe"} <= container.keys()
