"""`python -m antbee.batch --engine ray`, on a cluster in a network of its own."""

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import NoReturn

import numpy as np
import pytest

from antbee.artifact import PackedModel
from antbee.batch import ray_data
from antbee.batch.ray_data import MOST_BEGUN, Actor, Begun, Job, count_cpus, joined
from antbee.batch.record import part_name, read_record
from antbee.batch.score import Scorer
from antbee.batch.storage import Folder
from antbee.errors import DataError
from tests.batch.command import read_rows, read_success, run
from tests.batch.conftest import PICTURES, repeat
from tests.conftest import REPOSITORY, environment, free_port

PYTHON = REPOSITORY / ".venv-ray/bin/python"
TIMES = 12


def test_an_actor_for_each_cpu() -> None:
    """A cluster in which Ray would wait in silence is refused before the start."""
    assert count_cpus({"CPU": 6.0, "memory": 1e9}, {"CPU": 2.5}) == 6
    for all_of, free, said in [
        ({}, {}, "has no CPU"),
        ({"CPU": 0.5}, {"CPU": 0.5}, "has no CPU"),
        ({"CPU": 4.0}, {}, "all 4 CPUs of Ray's cluster are taken"),
    ]:
        with pytest.raises(DataError, match=said):
            count_cpus(all_of, free)


def test_a_cluster_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray would try for ever; here it is an error before it is asked."""
    monkeypatch.setitem(sys.modules, "ray", ModuleType("ray"))
    address = f"127.0.0.1:{free_port()}"

    with pytest.raises(DataError, match=f"{address} cannot be reached: "), joined(address):
        pass


def in_own_network() -> list[str]:
    """Return what runs the command that follows it in a network with a loopback and no more."""
    command = ["unshare", "-n", "sh", "-c", 'ip link set lo up && exec "$0" "$@"']
    if not PYTHON.exists():
        pytest.skip("Ray is not installed: make ray")
    try:
        subprocess.run([*command, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("a network of its own takes root, unshare and ip")
    return command


@pytest.mark.slow
def test_kills_lose_and_repeat_nothing(packed: PackedModel, pictures: Path, tmp_path: Path) -> None:
    """After a killed driver, and a killed node of three, there is one row a picture, the same.

    What was done before is not done again; a cluster without a CPU is an error.
    """
    network = in_own_network()
    many = repeat(pictures, tmp_path / "many", TIMES)
    command = [*network, PYTHON, "benchmarks/cluster.py", many, tmp_path / "outs", "--rows", "3"]
    ended = subprocess.run(
        [*map(str, command), "--model", str(packed.folder)],
        cwd=REPOSITORY,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert ended.returncode == 0, ended.stderr
    report = json.loads(ended.stdout.splitlines()[-1])

    assert report["no_cpu"]["code"] == 1
    assert report["no_cpu"]["error"].startswith("error: Ray's cluster has no CPU")
    run(packed, many, tmp_path / "local", "--rows", "3")
    expected = read_rows(tmp_path / "local")
    assert [kill["killed"] for kill in report["kills"]] == ["driver", "node"]
    for kill in report["kills"]:
        assert (kill["code"], kill["parts"]) == (0, TIMES * PICTURES // 3), kill["log"]
        assert kill["same"] == kill["before"] > 0
        assert "Traceback" not in kill["log"]
        assert read_rows(Path(kill["out"])) == expected
        assert read_success(Path(kill["out"]))["errors"] == 0


def test_a_picture_that_ends_processes(
    packed: PackedModel, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A block is begun three times, and then named, be it a picture's fault or lost machines'."""
    out = tmp_path / "out"
    assert run(packed, pictures, out, "--rows", "3") == 0
    (out / part_name(1)).unlink()
    place = Folder(out)
    record = read_record(place)
    assert record is not None
    ray = ModuleType("ray")
    ray.__dict__["get"] = lambda what: what
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setattr(ray_data, "Scorer", Deadly)
    begun = Begun()
    handle = SimpleNamespace(count=SimpleNamespace(remote=begun.count))
    files = {path.name: path.read_bytes() for path in packed.folder.iterdir()}
    actor = Actor(Job(place, record, frozenset()), files, handle)

    for _ in range(MOST_BEGUN):
        assert actor({"block": np.array([0])})["error"] == [""]
        with pytest.raises(SystemExit):
            actor({"block": np.array([1])})
    (said,) = actor({"block": np.array([1])})["error"]
    actor._folder.cleanup()
    assert said.startswith(f"{part_name(1)}, pictures 4 to 6 of the list, was begun 3 times")


class Deadly(Scorer):
    """Ends its process, whatever the picture."""

    def score(self, *_: object) -> NoReturn:
        """End."""
        raise SystemExit


@pytest.mark.slow
def test_on_this_machine(packed: PackedModel, pictures: Path, tmp_path: Path) -> None:
    """Without an address Ray is started, and ended; bad pictures are rows; stdout is empty."""
    network = in_own_network()
    (tmp_path / "list.txt").write_text("0.jpg\nnone.jpg\nsub/4.png\n")
    command = [*network, PYTHON, "-m", "antbee.batch", tmp_path / "list.txt", tmp_path / "out"]
    ended = subprocess.run(
        [*map(str, command), "--engine", "ray", "--rows", "1", "--model", str(packed.folder)],
        cwd=pictures,
        env=environment(tmp_path, PYTHONPATH=str(REPOSITORY)),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    assert (ended.returncode, ended.stdout) == (1, ""), ended.stderr
    rows = read_rows(tmp_path / "out")
    assert [row["path"] for row in rows] == ["0.jpg", "none.jpg", "sub/4.png"]
    assert [row["code"] for row in rows] == [None, "unreadable_file", None]
    assert "1 of 3 have no answer: 1 unreadable_file" in ended.stderr
