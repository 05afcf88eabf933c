"""Archives of every kind, unpacked or refused."""

import itertools
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from antbee.pictures import archive, download
from tests.pictures.archives import MEMBERS, RENAMES, TREE, make_zip, names_in, read_tree

Refuse = Callable[[Path], str]


@pytest.fixture
def refuse(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Refuse:
    """Check that an archive is refused in one line that names it, and return the line."""

    def check(path: Path) -> str:
        code = download.main([str(path), str(tmp_path / "home/data"), *RENAMES])
        stdout, stderr = capsys.readouterr()
        assert (code, stdout) == (1, "")
        assert stderr.startswith(f"error: {path} cannot be used: ")
        assert stderr.count("\n") == 1
        assert not (tmp_path / "home").exists()
        assert names_in(tmp_path) == [path.name]
        return stderr

    return check


def _unpack(path: Path, folder: Path) -> dict[str, bytes]:
    assert download.main([str(path), str(folder), *RENAMES]) == 0
    return read_tree(folder)


@pytest.mark.parametrize("top", ["", "./", "some folder/"])
def test_train_and_val_may_be_in_one_folder(tmp_path: Path, top: str) -> None:
    """The two splits are at the top, or under one folder of any name."""
    members = {top + name.removeprefix("set/"): contents for name, contents in MEMBERS.items()}

    assert _unpack(make_zip(tmp_path / "x.zip", members), tmp_path / "data") == TREE


def test_windows_separators_are_understood(tmp_path: Path) -> None:
    """Backslashes, which some programs write against the format, separate folders too."""
    members = {name.replace("/", "\\"): contents for name, contents in MEMBERS.items()}

    assert _unpack(make_zip(tmp_path / "x.zip", members), tmp_path / "data") == TREE


def test_the_rest_stays_in_the_archive(tmp_path: Path) -> None:
    """Hidden files, what macOS adds, read-me files and deeper folders are not unpacked."""
    others = (
        "README.txt",
        "set/README.txt",
        "set/train/README.txt",
        "set/train/.DS_Store",
        "set/train/ants/.DS_Store",
        "set/train/ants/",
        "set/train/ants/deeper/1.jpg",
        "set/train/.hidden/1.jpg",
        "set/test/ants/1.jpg",
        "__MACOSX/set/train/ants/._1.jpg",
        "__MACOSX/train/ants/1.jpg",
    )
    path = make_zip(tmp_path / "x.zip", MEMBERS | dict.fromkeys(others, b"not a picture"))

    assert _unpack(path, tmp_path / "data") == TREE


def test_other_labels_keep_their_names(tmp_path: Path) -> None:
    """A label without a rename is called as it is in the archive."""
    members = {"train/wasps/1.jpg": b"1", "val/wasps/2.jpg": b"2"}

    tree = _unpack(make_zip(tmp_path / "x.zip", members), tmp_path / "data")

    assert tree == {"train/wasps/1.jpg": b"1", "val/wasps/2.jpg": b"2"}


@pytest.mark.parametrize("contents", [b"", b"<html>no such file</html>", b"PK\x03\x04" + bytes(99)])
def test_not_a_zip(tmp_path: Path, refuse: Refuse, contents: bytes) -> None:
    """A web page saved under the archive's name is not one."""
    (tmp_path / "x.zip").write_bytes(contents)

    assert "it is not a zip file" in refuse(tmp_path / "x.zip")


def test_a_zip_cut_short_anywhere(tmp_path: Path, refuse: Refuse) -> None:
    """However much of an archive arrived, nothing of an incomplete one is used."""
    path = make_zip(tmp_path / "x.zip", MEMBERS)
    whole = path.read_bytes()
    for length in range(0, len(whole) - 1, 7):
        path.write_bytes(whole[:length])

        assert "not a complete one" in refuse(path)


def test_any_damage_is_noticed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whichever byte is changed: either the very same pictures come out, or one line and none."""
    path = make_zip(tmp_path / "x.zip", MEMBERS)
    whole = path.read_bytes()
    for position in range(len(whole)):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0xFF]) + whole[position + 1 :])
        folder = tmp_path / str(position)
        code = download.main([str(path), str(folder), *RENAMES])
        lines = capsys.readouterr().err.count("\n")
        contents = sorted(read_tree(folder).values()) if folder.exists() else []

        assert (code, lines) in {(0, 2), (1, 1)}
        assert set(contents) <= set(TREE.values())
        assert (code == 1) == (contents == [])


def test_a_damaged_picture_is_named(tmp_path: Path, refuse: Refuse) -> None:
    """A member that does not match its checksum is named."""
    path = make_zip(tmp_path / "x.zip", MEMBERS)
    path.write_bytes(path.read_bytes().replace(_packed(path, "set/val/ants/3.jpg"), b"\xff" * 8))

    assert "its member 'set/val/ants/3.jpg' is damaged: get the file again" in refuse(path)


@pytest.mark.parametrize("split", ["train", "val"])
def test_both_splits_are_needed(tmp_path: Path, refuse: Refuse, split: str) -> None:
    """Without train or without val there is nothing to be trained, or measured, on."""
    members = {name: contents for name, contents in MEMBERS.items() if split not in name}

    assert "lacks pictures at" in refuse(make_zip(tmp_path / "x.zip", members))


def test_an_empty_zip(tmp_path: Path, refuse: Refuse) -> None:
    """An archive of nothing lacks pictures."""
    assert "lacks pictures at" in refuse(make_zip(tmp_path / "x.zip", {}))


def test_two_sets_are_one_too_many(tmp_path: Path, refuse: Refuse) -> None:
    """Which of two sets is meant cannot be guessed."""
    second = {f"other/{name}": b"" for name in ("train/ants/1.jpg", "val/ants/1.jpg")}

    line = refuse(make_zip(tmp_path / "x.zip", MEMBERS | second))

    assert "more than one set of pictures, other/train and set/train" in line


def test_two_files_for_one_place(tmp_path: Path, refuse: Refuse) -> None:
    """A rename that brings two labels together must not lose a picture."""
    members = MEMBERS | {"set/train/ant/1.jpg": b"another"}

    line = refuse(make_zip(tmp_path / "x.zip", members))

    assert "more than one file for 'train/ant/1.jpg'" in line


@pytest.mark.parametrize(
    "name",
    [
        "../out.jpg",
        "set/train/../../../out.jpg",
        "set/train/ants/..",
        "/tmp/out.jpg",  # noqa: S108 - a name in an archive, never written to
        "..\\out.jpg",
        "C:\\out.jpg",
    ],
)
def test_names_that_point_outside(tmp_path: Path, refuse: Refuse, name: str) -> None:
    """An archive that tries to write elsewhere is not trusted in anything."""
    path = make_zip(tmp_path / "x.zip", MEMBERS | {name: b"outside"})

    assert "points outside the folder: do not trust this file" in refuse(path)


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_devices(tmp_path: Path, refuse: Refuse, kind: int) -> None:
    """A member that is a link or a device is refused."""
    member = zipfile.ZipInfo("set/train/ants/link.jpg")
    member.external_attr = (kind | 0o777) << 16
    with zipfile.ZipFile(make_zip(tmp_path / "x.zip", MEMBERS), "a") as file:
        file.writestr(member, "/etc/passwd")

    assert "'set/train/ants/link.jpg' is no ordinary file" in refuse(tmp_path / "x.zip")


def test_encrypted(tmp_path: Path, refuse: Refuse) -> None:
    """An archive with a password says so, instead of failing in the middle."""
    path = make_zip(tmp_path / "x.zip", MEMBERS)
    # The flags are two bytes, 8 bytes into each entry of the central directory.
    entries = path.read_bytes().split(b"PK\x01\x02")
    marked = [entry[:4] + b"\x01\x00" + entry[6:] for entry in entries[1:]]
    path.write_bytes(b"PK\x01\x02".join([entries[0], *marked]))

    assert "it is encrypted: unpack it with its password" in refuse(path)


def test_labels_that_cannot_be_shown(tmp_path: Path, refuse: Refuse) -> None:
    """A label with a terminal's control characters is refused, and shown harmless."""
    path = make_zip(tmp_path / "x.zip", MEMBERS | {"set/train/\x1b[2J/1.jpg": b"1"})

    assert "'\\x1b[2J' cannot be a label" in refuse(path)


def test_a_bomb(tmp_path: Path, refuse: Refuse) -> None:
    """What unpacks to a hundred times its size and more is refused before it is unpacked."""
    path = make_zip(tmp_path / "x.zip", MEMBERS | {"set/train/ants/0.jpg": bytes(70_000_000)})

    assert "unpacks to more than 100 times its size" in refuse(path)


def test_too_much(tmp_path: Path, refuse: Refuse, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is a limit to the pictures together, and it is named."""
    monkeypatch.setattr(archive, "MAX_BYTES", 20)

    assert "at most 0.0 MB are accepted" in refuse(make_zip(tmp_path / "x.zip", MEMBERS))


def test_names_that_this_disk_cannot_tell_apart(
    tmp_path: Path, refuse: Refuse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where upper and lower case are one, a second file does not overwrite the first."""
    opened = Path.open
    monkeypatch.setattr(
        Path, "open", lambda path, mode: opened(path.with_name(path.name.lower()), mode)
    )
    path = make_zip(tmp_path / "x.zip", MEMBERS | {"set/train/ants/1.JPG": b"another"})

    assert "two files '1.JPG' that this disk cannot tell apart" in refuse(path)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_a_disk_that_fills_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A disk that is full after all is said in one line, and what was written is removed."""
    path = make_zip(tmp_path / "x.zip", MEMBERS)
    opened, count = Path.open, itertools.count()

    def fill_up(place: Path, mode: str) -> object:
        full = mode == "xb" and next(count) > 1
        return opened(Path("/dev/full"), "wb") if full else opened(place, mode)

    monkeypatch.setattr(Path, "open", fill_up)
    code = download.main([str(path), str(tmp_path / "data")])

    assert (code, names_in(tmp_path)) == (1, ["x.zip"])
    assert capsys.readouterr().err == (
        f"error: cannot fill {tmp_path}/data: No space left on device: "
        "free some space and run this again\n"
    )


def _packed(path: Path, name: str) -> bytes:
    with zipfile.ZipFile(path) as file:
        member = file.getinfo(name)
    start = member.header_offset + 30 + len(name)  # APPNOTE.TXT, section 4.3.7
    return path.read_bytes()[start : start + member.compress_size]
