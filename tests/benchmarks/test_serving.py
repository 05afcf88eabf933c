"""In which order the benchmark of serving measures, and what it leaves out."""

import importlib.util

import pytest

from servers import OURS, PEERS, on_cores
from serving import rotated


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


def test_a_peer_has_a_process_on_the_fewest_cores() -> None:
    """None would answer otherwise."""
    assert [on_cores(server, 1).workers for server in PEERS] == [1] * len(PEERS)
