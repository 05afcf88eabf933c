"""What `benchmarks/predicting.py` lets programs classify, and how it reads their answers."""

import sys
from pathlib import Path

from predicting import classify, link

PROGRAM = """
import pathlib, sys
out, pictures = map(pathlib.Path, sys.argv[1:])
rows = ["path,label,probability"]
rows += [f"{path},{path.read_text()},0.5" for path in sorted(pictures.iterdir(), reverse=True)]
out.write_text("\\n".join(rows))
"""


def test_every_picture_has_a_name_of_its_own(tmp_path: Path) -> None:
    """As many as are asked for, of those that are there; answers are read in the names' order."""
    (tmp_path / "in").mkdir()
    for name in ("a.jpg", "b.PNG", "c.txt"):
        (tmp_path / "in" / name).write_text(name[0])
    link(tmp_path / "in", tmp_path / "many", 5)

    command = [sys.executable, "-c", PROGRAM, "OUT"]
    used, labels = classify(command, tmp_path / "many", tmp_path)

    assert labels == ["a", "b", "a", "b", "a"]
    assert used["seconds"] > 0
