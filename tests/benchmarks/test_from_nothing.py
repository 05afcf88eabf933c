"""The benchmark of `make serve`, beside a repository whose `make serve` does next to nothing."""

import json
import subprocess
from pathlib import Path

import pytest

from from_nothing import main
from tests.conftest import free_port

SERVE = """
import json, os, time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
assert not any(Path.home().iterdir()) and "PYTHONDONTWRITEBYTECODE" not in os.environ
print("making .venv")
for line in ("data/train: ant 1", "data/val: ant 1", "epoch 1/1  train loss 1"):
    time.sleep(0.1)
    print(line, flush=True)
for folder in ("data/val/ant", "saved_models"):
    Path(folder).mkdir(parents=True)
Path("data/val/ant/1.jpg").write_bytes(b"a picture")
print("serve it: bentoml serve", flush=True)
class Answer(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"label": "ant"}).encode())
HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Answer).serve_forever()
"""


def test_phases_are_timed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each version starts in an empty folder and home; its phases add up to the whole."""
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "Makefile").write_text("serve:\n\t@$(PYTHON) serve.py\n")
    (tree / "serve.py").write_text(SERVE)
    author = ["-c", "user.name=a", "-c", "user.email=a@example.com"]
    for command in (["init", "-q"], ["add", "."], [*author, "commit", "-qm", "all"]):
        subprocess.run(["git", *command], cwd=tree, check=True)  # noqa: S607 - whichever there is
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")

    assert main([str(tree), str(tree), "--port", str(free_port())]) == 0
    (old,), (new,) = json.loads(capsys.readouterr().out.splitlines()[-1]).values()
    phases = ("environment", "pictures", "training", "packing", "start")
    assert list(old) == list(new) == [*phases, "all", "processor"]
    assert sum(old[phase] for phase in phases) == pytest.approx(old["all"], abs=0.5)
    assert old["training"] > 0
    assert [path.name for path in tmp_path.iterdir()] == ["tree"]
