"""How the code is cut up: how much there is, in how small pieces, and how far a request travels.

    python benchmarks/structure.py --tree .

Counts what `antbee/`, `service.py`, `train.py` and `save_to_bento.py` hold. Then, in a process of
the tree's own, trains on a few pictures of noise, packs what came of it, and sends one picture to
the service as an ASGI application, to see which of these files run. Prints a table, then one JSON
line.
"""

import argparse
import ast
import io
import itertools
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import threading
import tokenize
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Final

from PIL import Image

OURS: Final = ("antbee", "service.py", "train.py", "save_to_bento.py")


def main(argv: Sequence[str] | None = None) -> int:
    """Count, trace, print, and return the exit code."""
    parser = argparse.ArgumentParser(description="How the code is cut up.")
    parser.add_argument("--tree", type=Path, default=Path(), help="a checkout (%(default)s)")
    parser.add_argument("--trace", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.trace is not None:
        sys.path[0] = str(Path.cwd())  # not this folder, whose names are others'
        print("\n" + json.dumps(trace(options.trace)))
        return 0
    tree = options.tree.resolve()
    python = tree / ".venv" / "bin" / "python"
    with tempfile.TemporaryDirectory() as folder:
        own = {"PYTHONPATH": str(tree), "BENTOML_HOME": folder, "BENTOML_DO_NOT_TRACK": "True"}
        command = [str(python if python.exists() else sys.executable), __file__, "--trace", folder]
        output = subprocess.check_output(command, cwd=tree, env=os.environ | own, text=True)  # noqa: S603 - this file
    result = count(tree) | json.loads(output.splitlines()[-1])
    for meaning, number in result.items():
        print(f"{meaning:66} {number:>6}")
    print("\n" + json.dumps(result))
    return 0


def count(tree: Path) -> dict[str, float]:
    """Count what the files hold."""
    found = [path for name in OURS for path in (tree / name, *(tree / name).rglob("*.py"))]
    texts = [path.read_text("utf-8") for path in found if path.is_file()]
    lengths, uses, code = [], [], 0
    for text in texts:
        lines: set[int] = set()
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type != tokenize.COMMENT and token.string.strip():
                lines.update(range(token.start[0], token.end[0] + 1))
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lengths.append((node.end_lineno or 0) - node.lineno + 1)
                if re.match(r"_(?!_)", node.name):
                    uses.append(len(re.findall(rf"\b{node.name}\b", text)) - 1)
            elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                lines.difference_update(range(node.lineno, (node.end_lineno or 0) + 1))
        code += len(lines)
    lengths.sort()
    once = sum(used <= 1 for used in uses)
    benchmarks = [path.read_text("utf-8") for path in (tree / "benchmarks").rglob("*.py")]
    return {
        "Python files": len(texts),
        "lines": sum(text.count("\n") for text in texts),
        "lines without blanks, comments and docstrings": code,
        "functions in 100 code lines": round(100 * len(lengths) / code, 1),
        "lines of a function, median": lengths[len(lengths) // 2],
        "lines of a function, ninth decile": lengths[len(lengths) * 9 // 10],
        "functions whose name begins with _": len(uses),
        "of these, named once beside their definition, in their file": once,
        "lines of README.md": (tree / "README.md").read_text("utf-8").count("\n"),
        "lines of Python in benchmarks/": sum(text.count("\n") for text in benchmarks),
    }


class Calls:
    """The files of the functions that are called in any thread: ours, and Pillow's `open`."""

    def __init__(self) -> None:
        self._on = False
        self._files: list[str] = []
        self._ours = tuple(str(Path.cwd() / name) for name in OURS)
        self._frames: set[FrameType] = set()
        threading.setprofile(self._look)
        sys.setprofile(self._look)

    def _look(self, frame: FrameType, event: str, _: object) -> None:
        if not self._on or event != "call" or frame in self._frames:
            return  # a coroutine's frame is entered again and again
        name, file = frame.f_code.co_name, frame.f_code.co_filename
        ours = file.startswith(self._ours) and not re.match("<(?!lambda)", name)
        if ours or (name, file) == ("open", Image.__file__):
            self._frames.add(frame)
            self._files.append(file)

    def during(self, work: Callable[[], object]) -> list[str]:
        """Do work twice, and list the calls of the second time, when nothing is imported."""
        work()
        self._files, self._on = [], True
        work()
        self._on = False
        return self._files


def draw_noise(folder: Path, count: int, size: tuple[int, int]) -> None:
    """Draw pictures of noise that can be trained on: so many of two labels in each split."""
    noise = random.Random(0)  # noqa: S311 - pictures, not secrets
    for place in ("train/a", "train/b", "val/a", "val/b"):
        (folder / place).mkdir(parents=True)
        for number in range(count):
            picture = Image.frombytes("RGB", size, noise.randbytes(size[0] * size[1] * 3))
            picture.save(folder / place / f"{number}.jpg")


def trace(folder: Path) -> dict[str, int]:
    """Train, pack and predict with the tree that this process runs in."""
    import bentoml  # noqa: PLC0415 - these four are the tree's
    from starlette.testclient import TestClient  # noqa: PLC0415

    import save_to_bento  # noqa: PLC0415
    import train  # noqa: PLC0415

    draw_noise(folder, 8, (32, 24))
    calls, data = Calls(), ["--data", str(folder)]
    words = [*data, "--out", str(folder / "runs"), "--weights", "none", "--epochs", "1"]
    training = calls.during(lambda: train.main([*words, "--bento", "no"]))
    best = max(folder.glob("runs/*/best.pt"))
    if save_to_bento.main([str(best), *data, "--runtime", "onnx"]):
        raise SystemExit("error: there is no model to predict with; it says above why")
    photo = next(folder.glob("val/*/*.jpg")).read_bytes()
    app = bentoml.load(".").to_asgi()  # type: ignore[union-attr]  # no legacy service
    with TestClient(app) as client:
        files = calls.during(lambda: client.post("/predict", content=photo).raise_for_status())
    ours = [file for file in files if file != Image.__file__]
    return {
        "files with a function that one training calls, once all is imported": len(
            {*training} - {Image.__file__}
        ),
        "files with a function that one warm POST /predict calls": len(set(ours)),
        "functions of ours that it calls": len(ours),
        "times that the next one is in another file": sum(
            one != other for one, other in itertools.pairwise(ours)
        ),
        "functions of ours that it calls before Pillow opens the picture": files.index(
            Image.__file__
        ),
    }


if __name__ == "__main__":
    raise SystemExit(main())
