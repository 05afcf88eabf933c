"""Those who wish a server ill, and a real one."""

import json

import pytest

from hostile import attack
from hostile.requests import PARTS
from tests.conftest import Server


def test_a_server_stands_it(
    server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A few of everything but what is huge: the exit code says that the server stood it."""
    monkeypatch.setattr(attack, "SETTLED", 0)
    parts = [name for name in PARTS if name not in ("bombs", "lengths")]
    watched = ["--url", server.url, "--pid", str(server.process.pid)]
    code = attack.main([*watched, "--count", "100", "--every", "13", "--only", *parts])
    result = json.loads(capsys.readouterr().out.splitlines()[-1])

    assert result["faults"] == []
    assert code == 0
    assert result["requests"] > 100
    assert result["children"] == result["ended"] == 0
    assert {"cut", "polyglot", "format not allowed", "form", "JSON"} <= result["kinds"].keys()
    assert result["answers"]["422 corrupt_image"] > 10
