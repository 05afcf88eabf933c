"""How the code is cut up, counted on a tree of two small files."""

from pathlib import Path

from structure import count

MODULE = '''"""What it is."""


def _once():
    """Say it."""
    return 1  # a reason


def _twice():
    return _once()


def public():
    return [
        _twice(),
        _twice(),
    ]
'''


def test_a_tree_is_counted(tmp_path: Path) -> None:
    """Comments, docstrings and blanks are lines without code."""
    for name in ("antbee", "benchmarks"):
        (tmp_path / name).mkdir()
    (tmp_path / "antbee" / "module.py").write_text(MODULE)
    (tmp_path / "train.py").write_text("x = 1\n")
    (tmp_path / "benchmarks" / "load.py").write_text("x = 1\ny = 2\n")
    (tmp_path / "README.md").write_text("one\n")

    assert count(tmp_path) == {
        "Python files": 2,
        "lines": 18,
        "lines without blanks, comments and docstrings": 10,
        "functions in 100 code lines": 30.0,
        "lines of a function, median": 3,
        "lines of a function, ninth decile": 5,
        "functions whose name begins with _": 2,
        "of these, named once beside their definition, in their file": 1,
        "lines of README.md": 1,
        "lines of Python in benchmarks/": 2,
    }
