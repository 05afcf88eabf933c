"""The clients that we show: the programs in `examples/` and in the documents."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.conftest import KEY, LABELS, REPOSITORY, Server, encode, noise

EXAMPLES: Final = ("classify.py", "classify.mjs")
PROGRAMS: Final = [
    program
    for page in ("README.md", "docs/serving.md")
    for program in re.findall(
        r"^```(python|js)\n(.*?)^```$", (REPOSITORY / page).read_text(), re.MULTILINE | re.DOTALL
    )
]
"""The programs in the README and in what it links to: their language and their text."""
ADDRESS: Final = "http://127.0.0.1:3000"
"""The server that they ask."""


def execute(
    program: Path, *arguments: object, folder: Path, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run a program in Python or JavaScript; skip the test where there is no Node."""
    runner = sys.executable if program.suffix == ".py" else shutil.which("node")
    if runner is None:
        pytest.skip("Node is not installed, and runs the examples in JavaScript")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ANTBEE_")}
    return subprocess.run(
        [runner, str(program), *map(str, arguments)],
        cwd=folder,
        env=kept | variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make a folder as `get_data.sh` does, with one picture of an ant and a broken one of a bee."""
    for label, content in (("ant", encode(noise(320, 240))), ("bee", b"\xff\xd8\xffbroken")):
        path = tmp_path / "data/val" / label / f"{label}.jpg"
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
    return tmp_path


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_classify_several(server: Server, folder: Path, name: str) -> None:
    """Each picture gets a line, in order, and a broken one says so without stopping the others."""
    pictures = [folder / f"data/val/{label}/{label}.jpg" for label in ("bee", "ant")]
    run = execute(REPOSITORY / "examples" / name, server.url, *pictures, folder=folder)

    assert (run.returncode, run.stderr) == (0, "")
    answer = server.predict(pictures[1].read_bytes()).json()
    broken, line = run.stdout.strip().split("ant.jpg")
    assert broken.startswith("bee.jpg - ")
    assert "corrupt_image" in broken
    assert line.split() == [answer["label"], str(answer["probability"])]


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_send_a_key(guarded: Server, folder: Path, name: str) -> None:
    """With the key in the environment they are let in; without it they say what is missing."""
    program, picture = REPOSITORY / "examples" / name, folder / "data/val/ant/ant.jpg"
    known = execute(program, guarded.url, picture, folder=folder, ANTBEE_API_KEY=KEY)
    stranger = execute(program, guarded.url, picture, folder=folder)

    assert (known.returncode, known.stdout.split()[1] in LABELS) == (0, True)
    assert (stranger.returncode, stranger.stdout) == (1, "")
    assert stranger.stderr.startswith("unauthorized: ")


@pytest.mark.parametrize(("language", "text"), PROGRAMS)
def test_what_we_show_can_be_pasted(server: Server, folder: Path, language: str, text: str) -> None:
    """What the documents show runs as it stands, beside `data/`, and prints a prediction."""
    assert ADDRESS in text
    program = folder / {"python": "program.py", "js": "program.mjs"}[language]
    program.write_text(text.replace(ADDRESS, server.url))
    run = execute(program, folder=folder)

    assert (run.returncode, run.stderr) == (0, "")
    assert any(label in run.stdout for label in LABELS)


def test_the_documents_have_programs() -> None:
    """The documents' programs are found at all: two in Python, one in JavaScript."""
    assert sorted(language for language, _ in PROGRAMS) == ["js", "python", "python"]
