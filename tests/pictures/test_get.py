"""Zips of every kind, unpacked or refused, by the command in process."""

import itertools
import os
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from antbee.pictures import get
from tests.pictures.archives import (
    MEMBERS,
    RENAMES,
    TREE,
    make_zip,
    names_in,
    packed,
    read_tree,
)

Refuse = Callable[..., str]


@pytest.fixture
def refuse(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Refuse:
    """Check that a source is refused in one line, with nothing left behind; return the line."""

    def check(source: object, folder: Path = tmp_path / "home/data") -> str:
        before, _ = names_in(tmp_path), capsys.readouterr()
        code = get.main([str(source), str(folder), *RENAMES])
        stdout, stderr = capsys.readouterr()
        assert (code, stdout) == (1, "")
        assert stderr.startswith("error: ")
        assert stderr.count("\n") == 1
        assert names_in(tmp_path) == before
        return stderr

    return check


@pytest.fixture
def refuse_zip(refuse: Refuse) -> Refuse:
    """Check that a zip is refused as `refuse` does, by its name."""

    def check(path: Path) -> str:
        line = refuse(path)
        assert line.startswith(f"error: {path} cannot be used: ")
        return line

    return check


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Make a small archive."""
    return make_zip(tmp_path / "pictures.zip", MEMBERS)


def _unpack(path: object, folder: Path) -> dict[str, bytes]:
    assert get.main([str(path), str(folder), *RENAMES]) == 0
    return read_tree(folder)


@pytest.mark.parametrize("address", ["pictures.zip", "file://{}", "file://localhost{}"])
def test_takes_a_path_or_a_file_address(
    tmp_path: Path, pictures: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A path counts from the caller's folder, and a file address from the root."""
    monkeypatch.chdir(tmp_path)

    assert _unpack(address.format(pictures), tmp_path / "some/new/folder") == TREE


def test_an_empty_folder_is_filled(tmp_path: Path, pictures: Path) -> None:
    """The folder may exist, if it is empty; a link to it is followed."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "data").symlink_to("elsewhere")

    assert _unpack(pictures, tmp_path / "data") == TREE
    assert (tmp_path / "data").is_symlink()
    assert (tmp_path / "elsewhere/source.txt").read_text() == "pictures.zip\n"


def test_what_is_there_is_left_alone(tmp_path: Path, pictures: Path, refuse: Refuse) -> None:
    """A second run says that the folder is filled, and changes nothing."""
    _unpack(pictures, tmp_path / "data")
    (tmp_path / "data/train/ant/mine.jpg").write_bytes(b"mine")

    line = refuse(pictures, tmp_path / "data")

    assert line.startswith(f"error: {tmp_path}/data is not empty and was left as it is: ")
    assert read_tree(tmp_path / "data") == TREE | {"train/ant/mine.jpg": b"mine"}


def test_where_no_folder_can_be_made(
    tmp_path: Path, pictures: Path, refuse: Refuse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that cannot be filled is refused, and nothing in its way is touched."""
    (tmp_path / "file").write_text("kept")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    assert "is a file" in refuse(pictures, tmp_path / "file")
    assert "Not a directory" in refuse(pictures, tmp_path / "file/data")
    assert "is the folder you are in" in refuse(pictures, Path())
    assert (tmp_path / "file").read_text() == "kept"


@pytest.mark.skipif(not Path("/sys/kernel").is_dir(), reason="needs Linux's /sys")
def test_without_permission(pictures: Path, refuse: Refuse) -> None:
    """A folder that may not be written to is named, with what to do."""
    line = refuse(pictures, Path("/sys/kernel/antbee"))

    assert line.startswith("error: cannot fill /sys/kernel/antbee: ")
    assert line.endswith(": name a folder that you may write to\n")


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("https://127.0.0.1:1/x.zip", "cannot download https://127.0.0.1:1/x.zip: Connection ref"),
        ("http://127.0.0.1/x.zip", "http:// is not accepted: DATA_URL takes https://..."),
        ("ftp://127.0.0.1/x.zip", "ftp:// is not accepted"),
        ("https://[/x.zip", "is not an address"),
        ("https://", "cannot download https://: no host given"),
        ("file://x.zip", "file://x.zip names a host: write file:///"),
        ("missing.zip", "there is no file missing.zip"),
        ("/", "there is no file /"),
    ],
)
def test_an_address_that_gives_nothing(
    refuse: Refuse, address: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line names what is wrong with the address."""
    monkeypatch.setenv("no_proxy", "*")

    assert reason in refuse(address)


def test_a_zip_that_may_not_be_read(
    pictures: Path, refuse: Refuse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another user's file is there, and cannot be used."""
    monkeypatch.setattr(os, "access", lambda _, mode: mode == os.F_OK)

    assert refuse(pictures) == f"error: {pictures} cannot be read: Permission denied\n"


@pytest.mark.parametrize("rename", ["ants", "ants=", "=ant", "ants=a/b", "ants=.ant"])
def test_renames_are_checked(rename: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A rename to what cannot be a folder is wrong usage."""
    with pytest.raises(SystemExit, match="2"):
        get.main(["x.zip", "data", "--rename", rename])

    assert "--rename" in capsys.readouterr().err


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
    """Hidden files, what macOS adds and read-me files are not unpacked."""
    others = (
        "README.txt",
        "set/README.txt",
        "set/train/README.txt",
        "set/train/.DS_Store",
        "set/train/ants/.DS_Store",
        "set/train/ants/",
        "set/train/ants/.deeper/1.jpg",
        "set/train/.hidden/1.jpg",
        "__MACOSX/set/train/ants/._1.jpg",
        "__MACOSX/train/ants/1.jpg",
    )
    path = make_zip(tmp_path / "x.zip", MEMBERS | dict.fromkeys(others, b"not a picture"))

    assert _unpack(path, tmp_path / "data") == TREE


@pytest.mark.parametrize("val", ["val", "valid", "validation"])
def test_what_other_programs_call_them(tmp_path: Path, val: str) -> None:
    """The validation pictures' folder has several names, and deeper folders are a label's."""
    members = {"train/wasps/day/1.jpg": b"1", f"{val}/wasps/2.jpg": b"2", "test/wasps/3.jpg": b"3"}

    tree = _unpack(make_zip(tmp_path / "x.zip", members), tmp_path / "data")

    assert tree == {
        "train/wasps/day/1.jpg": b"1",
        "val/wasps/2.jpg": b"2",
        "test/wasps/3.jpg": b"3",
    }


def test_other_labels_keep_their_names(tmp_path: Path) -> None:
    """A label without a rename is called as it is in the archive."""
    members = {"train/wasps/1.jpg": b"1", "val/wasps/2.jpg": b"2"}

    tree = _unpack(make_zip(tmp_path / "x.zip", members), tmp_path / "data")

    assert tree == {"train/wasps/1.jpg": b"1", "val/wasps/2.jpg": b"2"}


@pytest.mark.parametrize("contents", [b"", b"<html>no such file</html>", b"PK\x03\x04" + bytes(99)])
def test_not_a_zip(tmp_path: Path, refuse_zip: Refuse, contents: bytes) -> None:
    """A web page saved under the archive's name is not one."""
    (tmp_path / "x.zip").write_bytes(contents)

    assert "it is not a zip file" in refuse_zip(tmp_path / "x.zip")


def test_a_zip_cut_short_anywhere(tmp_path: Path, refuse_zip: Refuse) -> None:
    """However much of an archive arrived, nothing of an incomplete one is used."""
    path = make_zip(tmp_path / "x.zip", MEMBERS)
    whole = path.read_bytes()
    for length in range(0, len(whole) - 1, 7):
        path.write_bytes(whole[:length])

        assert "not a complete one" in refuse_zip(path)


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_any_damage_is_noticed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], compression: int
) -> None:
    """Whichever byte is changed: either the very same pictures come out, or one line and none."""
    members = {"train/ant/1.jpg": b"first " * 9, "val/ant/2.jpg": b"second"}
    path = make_zip(tmp_path / "x.zip", members, compression)
    whole = path.read_bytes()
    for position in range(len(whole)):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0xFF]) + whole[position + 1 :])
        folder = tmp_path / str(position)
        code = get.main([str(path), str(folder)])
        lines = capsys.readouterr().err.splitlines()

        if code == 0:
            assert len(lines) == 2
            assert set(read_tree(folder).values()) == set(members.values())
        else:
            assert (code, len(lines), folder.exists()) == (1, 1, False)
            assert lines[0].startswith(f"error: {path} cannot be used: ")


def test_a_damaged_picture_is_named(tmp_path: Path, refuse_zip: Refuse) -> None:
    """A member that does not match its checksum is named."""
    path = make_zip(tmp_path / "x.zip", MEMBERS)
    path.write_bytes(path.read_bytes().replace(packed(path, "set/val/ants/3.jpg"), b"\xff" * 8))

    assert "its member 'set/val/ants/3.jpg' is damaged: get the file again" in refuse_zip(path)


@pytest.mark.parametrize("lacking", ["train", "val", "set"])
def test_both_splits_are_needed(tmp_path: Path, refuse_zip: Refuse, lacking: str) -> None:
    """Without train, without val or without either there is nothing to train, or measure, on."""
    members = {name: contents for name, contents in MEMBERS.items() if lacking not in name}

    assert "lacks pictures at" in refuse_zip(make_zip(tmp_path / "x.zip", members))


def test_two_sets_are_one_too_many(tmp_path: Path, refuse_zip: Refuse) -> None:
    """Which of two sets is meant cannot be guessed."""
    second = {f"other/{name}": b"" for name in ("train/ants/1.jpg", "val/ants/1.jpg")}

    line = refuse_zip(make_zip(tmp_path / "x.zip", MEMBERS | second))

    assert "more than one set of pictures, other/train and set/train" in line


def test_two_files_for_one_place(tmp_path: Path, refuse_zip: Refuse) -> None:
    """A rename that brings two labels together must not lose a picture."""
    members = MEMBERS | {"set/train/ant/1.jpg": b"another"}

    line = refuse_zip(make_zip(tmp_path / "x.zip", members))

    assert "more than one file for 'train/ant/1.jpg'" in line


def test_a_name_too_long_for_the_disk(tmp_path: Path, refuse_zip: Refuse) -> None:
    """It is the picture's name, and no other folder would take it."""
    members = MEMBERS | {f"set/train/ants/{'蟻' * 100}.jpg": b"another"}

    line = refuse_zip(make_zip(tmp_path / "x.zip", members))

    assert "蟻.jpg' has a longer name than this disk takes: rename it" in line


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
def test_names_that_point_outside(tmp_path: Path, refuse_zip: Refuse, name: str) -> None:
    """An archive that tries to write elsewhere is not trusted in anything."""
    path = make_zip(tmp_path / "x.zip", MEMBERS | {name: b"outside"})

    assert "points outside the folder: do not trust this file" in refuse_zip(path)


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_devices(tmp_path: Path, refuse_zip: Refuse, kind: int) -> None:
    """A member that is a link or a device is refused."""
    member = zipfile.ZipInfo("set/train/ants/link.jpg")
    member.external_attr = (kind | 0o777) << 16
    with zipfile.ZipFile(make_zip(tmp_path / "x.zip", MEMBERS), "a") as file:
        file.writestr(member, "/etc/passwd")

    assert "'set/train/ants/link.jpg' is no ordinary file" in refuse_zip(tmp_path / "x.zip")


def test_encrypted(tmp_path: Path, refuse_zip: Refuse) -> None:
    """An archive with a password says so, instead of failing in the middle."""
    path = make_zip(tmp_path / "x.zip", MEMBERS)
    # The flags are two bytes, 8 bytes into each entry of the central directory.
    entries = path.read_bytes().split(b"PK\x01\x02")
    marked = [entry[:4] + b"\x01\x00" + entry[6:] for entry in entries[1:]]
    path.write_bytes(b"PK\x01\x02".join([entries[0], *marked]))

    assert "it is encrypted: unpack it with its password" in refuse_zip(path)


def test_labels_that_cannot_be_shown(tmp_path: Path, refuse_zip: Refuse) -> None:
    """A label with a terminal's control characters is refused, and shown harmless."""
    path = make_zip(tmp_path / "x.zip", MEMBERS | {"set/train/\x1b[2J/1.jpg": b"1"})

    assert "'\\x1b[2J' cannot be a label" in refuse_zip(path)


def test_a_bomb(tmp_path: Path, refuse_zip: Refuse) -> None:
    """What unpacks to a hundred times its size and more is refused before it is unpacked."""
    path = make_zip(tmp_path / "x.zip", MEMBERS | {"set/train/ants/0.jpg": bytes(70_000_000)})

    assert "unpacks to more than 100 times its size" in refuse_zip(path)


def test_too_much(tmp_path: Path, refuse_zip: Refuse, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is a limit to the pictures together, and it is named."""
    monkeypatch.setattr(get, "MAX_BYTES", 20)

    assert "at most 0.0 MB are accepted" in refuse_zip(make_zip(tmp_path / "x.zip", MEMBERS))


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("below", ["2.jpg", "deeper/2.jpg"])
def test_a_file_that_is_a_folder_too(
    tmp_path: Path, refuse_zip: Refuse, below: str, order: int
) -> None:
    """No disk can hold a file and a folder of one name, whichever comes first."""
    clash = [("set/train/ants/x", b"a file"), (f"set/train/ants/x/{below}", b"in a folder")]

    line = refuse_zip(make_zip(tmp_path / "x.zip", MEMBERS | dict(clash[::order])))

    assert "is both a file and a folder in it: rename one" in line


def test_nested_pictures_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What lies in folders below a label's counts, and the folders do not."""
    nested = {f"set/train/ants/deeper/{number}.jpg": b"nested" for number in range(7)}
    path = make_zip(tmp_path / "x.zip", MEMBERS | nested)

    assert get.main([str(path), str(tmp_path / "data"), *RENAMES]) == 0
    assert "train: ant 9, bee 1\n" in capsys.readouterr().err


def test_names_that_this_disk_cannot_tell_apart(
    tmp_path: Path, refuse_zip: Refuse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where upper and lower case are one, a second file does not overwrite the first."""
    opened = Path.open
    monkeypatch.setattr(
        Path, "open", lambda path, mode: opened(path.with_name(path.name.lower()), mode)
    )
    path = make_zip(tmp_path / "x.zip", MEMBERS | {"set/train/ants/1.JPG": b"another"})

    assert "two files '1.JPG' that this disk cannot tell apart" in refuse_zip(path)


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
    code = get.main([str(path), str(tmp_path / "data")])

    assert (code, names_in(tmp_path)) == (1, ["x.zip"])
    assert capsys.readouterr().err == (
        f"error: cannot fill {tmp_path}/data: No space left on device: "
        "free some space and run this again\n"
    )
