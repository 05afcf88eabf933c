"""In which order the benchmark of serving measures, and what it leaves out."""

import importlib.util
from dataclasses import replace

import httpx
import pytest

from antbee.machine import cores
from servers import OURS, PEERS, on_cores
from serving import Bench, rotated


def test_every_server_is_first_once() -> None:
    """So that none has the machine always at its warmest."""
    orders = [rotated(["a", "b", "c"], number) for number in range(4)]

    assert orders == [["a", "b", "c"], ["b", "c", "a"], ["c", "a", "b"], ["a", "b", "c"]]
    assert rotated([], 1) == []


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the peers that run OpenVINO need anything that make bench does not install."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)

    missing = {server.key: server.missing() for server in (*PEERS, *OURS) if server.missing()}
    assert missing == {"openvino": "openvino", "nncf": "openvino"}


def test_a_peer_has_its_share_of_processes_and_threads() -> None:
    """One of each at least; none would answer otherwise."""
    all_cores = replace(PEERS[0], workers=cores(), threads=2 * cores())

    on_one = on_cores(all_cores, 1)
    assert (on_one.workers, on_one.threads) == (1, 2)
    assert on_cores(PEERS[0], 1).workers == 1
    assert on_cores(all_cores, cores()) == all_cores


def test_a_server_that_hangs_is_started_anew(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was measured until then is not lost with it; it is told, and has an end."""
    bench, waits = Bench.__new__(Bench), 1

    def measure(_: object) -> dict[str, float]:
        nonlocal waits
        waits -= 1
        if waits >= 0:
            raise httpx.ReadTimeout("no answer")
        return {"ready_s": 1.0}

    monkeypatch.setattr(bench, "measure", measure)
    assert bench.round(PEERS[0]) == {"ready_s": 1.0, "hung": 1}
    assert PEERS[0].name in capsys.readouterr().err

    waits = 3
    with pytest.raises(SystemExit, match="hung 3 times"):
        bench.round(PEERS[0])
