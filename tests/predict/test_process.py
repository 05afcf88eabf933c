"""`python -m antbee.predict` as a process: the store's models, and how it ends."""

import json
import signal
import subprocess
import sys
from pathlib import Path

from antbee.artifact import PackedModel
from tests.conftest import REPOSITORY, Server, environment


def process(home: Path, *arguments: object, **options: object) -> subprocess.Popen[bytes]:
    """Start the command as a person does."""
    return subprocess.Popen(  # type: ignore[call-overload, no-any-return]
        [sys.executable, "-m", "antbee.predict", *map(str, arguments)],
        cwd=REPOSITORY,
        env=environment(home),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **options,
    )


def test_the_store_and_the_server_agree(
    bentoml_home: Path, server: Server, pictures: Path, jpeg: bytes
) -> None:
    """As a process, with the newest model of BentoML's store, it answers what the server does."""
    picture = pictures / "a.jpg"
    picture.write_bytes(jpeg)
    with process(bentoml_home, picture, "--jsonl", "-") as running:
        out, err = running.communicate()

    assert running.returncode == 0
    assert json.loads(out) == {"path": str(picture), **server.predict(jpeg).json()}
    assert len(err.splitlines()) == 1


def test_no_such_model(bentoml_home: Path, pictures: Path) -> None:
    """Each tag that the store does not know is answered in one line."""
    tags = ["nobody:latest", "ant_bee_classifier:none", "no tag!", "a/b"]
    script = (
        "import sys; from antbee.predict import main; "
        "sys.exit(sum(main([sys.argv[1], '--model', tag]) for tag in sys.argv[2:]))"
    )
    command = [sys.executable, "-c", script, str(pictures), *tags]
    environ = environment(bentoml_home)
    run = subprocess.run(
        command, cwd=REPOSITORY, env=environ, capture_output=True, text=True, check=False
    )

    assert (run.returncode, run.stdout) == (len(tags), "")
    for tag, line in zip(tags, run.stderr.splitlines(), strict=True):
        assert line.startswith(f"error: there is no packed model {tag}: ")


def test_interrupted(bentoml_home: Path, packed: PackedModel, pictures: Path) -> None:
    """Ctrl-C ends it soon, without a traceback, with exit code 130."""
    again = [pictures / "b.jpg"] * 5000
    with process(bentoml_home, *again, "--model", packed.folder, "--jsonl", "-") as running:
        assert running.stdout is not None
        assert running.stdout.read(1) == b"{"
        running.send_signal(signal.SIGINT)
        out, err = running.communicate()

    assert (running.returncode, err) == (130, b"interrupted\n")
    assert len(out.splitlines()) < 5000


def test_a_reader_that_has_enough(bentoml_home: Path, packed: PackedModel, pictures: Path) -> None:
    """A pipe that is closed, as `head` does, ends it without a word."""
    again = [pictures / "b.jpg"] * 500
    with process(bentoml_home, *again, "--model", packed.folder, "--jsonl", "-") as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.read(1)
        running.stdout.close()
        err = running.stderr.read()
        running.wait()

    assert (running.returncode, err) == (1, b"")
