"""The manifests of batches and of training: that they fit together, and what they run."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from torch.distributed.run import get_args_parser

from antbee.batch.__main__ import INDEXES, find_shard
from antbee.training.arguments import make_parser
from tests.kubernetes.conftest import MANIFESTS, Objects


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


def test_machines_that_train_find_each_other(tmp_path: Path) -> None:
    """The options are torchrun's own, and name the first pod; a run that was begun goes on."""
    service, job, _ = read("train-job.yaml")
    pod = template(job)
    (container,) = pod["containers"]
    (port,) = service["spec"]["ports"]
    (tmp_path / "torchrun").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    (tmp_path / "torchrun").chmod(0o755)
    (script,) = container["args"]
    script = script.replace("/runs/", f"{tmp_path}/runs/")
    last = tmp_path / "runs/antbee-train/1-resnet18/last.pt"
    seen = []
    for _ in range(2):
        run = subprocess.run(
            [*container["command"], script],
            env={"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            check=True,
        )
        launched = get_args_parser().parse_args(run.stdout.splitlines())
        assert launched.nnodes == str(job["spec"]["completions"])
        first = f"{job['metadata']['name']}-0.{pod['subdomain']}"
        assert launched.rdzv_endpoint == f"{first}:{port['port']}"
        assert launched.training_script == "train.py"
        seen.append(make_parser().parse_args(launched.training_script_args))
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
