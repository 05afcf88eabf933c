"""A small archive of pictures, and what becomes of it."""

import zipfile
from pathlib import Path

from antbee.pictures.get import SOURCE

MEMBERS = {
    "set/train/ants/1.jpg": b"first",
    "set/train/ants/2.jpg": b"second",
    "set/train/bees/1.jpg": b"third",
    "set/val/ants/3.jpg": b"fourth",
    "set/val/bees/4.jpg": b"fifth",
}
TREE = {
    "train/ant/1.jpg": b"first",
    "train/ant/2.jpg": b"second",
    "train/bee/1.jpg": b"third",
    "val/ant/3.jpg": b"fourth",
    "val/bee/4.jpg": b"fifth",
}
RENAMES = ("--rename", "ants=ant", "--rename", "bees=bee")


def make_zip(
    path: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED
) -> Path:
    """Zip `members`, contents by name."""
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, contents in members.items():
            file.writestr(name, contents)
    return path


def read_tree(folder: Path) -> dict[str, bytes]:
    """Return the contents of every picture under the folder, by relative path."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != SOURCE
    }


def names_in(folder: Path) -> list[str]:
    """Names in a folder, hidden ones too."""
    return sorted(path.name for path in folder.iterdir())


def packed(path: Path, name: str) -> bytes:
    """Return what an archive holds of a member, as it is packed."""
    with zipfile.ZipFile(path) as file:
        member = file.getinfo(name)
    start = member.header_offset + 30 + len(name)  # APPNOTE.TXT, section 4.3.7
    return path.read_bytes()[start : start + member.compress_size]
