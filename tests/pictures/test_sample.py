"""The drawn pictures, and the command that draws them."""

import signal
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from antbee.images import decode_image
from antbee.pictures import sample
from tests.pictures.archives import names_in, read_tree
from tests.pictures.script import run_script, start_script

NAMES = ("--walker", "ant", "--flyer", "bee")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Draw the whole set, as a user does."""
    home = tmp_path_factory.mktemp("home")
    result = run_script(home, "--sample", PYTHONHASHSEED=123)

    assert (result.returncode, result.stdout) == (0, "")
    assert result.stderr == "data/train: ant 40, bee 40\ndata/val: ant 20, bee 20\n"
    assert (home / "data/source.txt").read_text() == "a drawn sample set, seed 0\n"
    return home / "data"


def _draw(folder: Path, *arguments: str) -> dict[str, bytes]:
    assert sample.main([str(folder), *NAMES, *arguments]) == 0
    return read_tree(folder)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw two of each."""
    monkeypatch.setattr(sample, "COUNTS", {"train": 2, "val": 2})


@pytest.mark.usefixtures("few")
def test_the_same_pictures_every_time(drawn: Path, tmp_path: Path) -> None:
    """Two processes draw the same bytes, whatever their hashes are salted with."""
    again = _draw(tmp_path / "data")

    assert len(again) == 8
    assert again.items() <= read_tree(drawn).items()


def test_every_picture_is_a_small_jpeg(drawn: Path) -> None:
    """Each can be read, is large enough for the network's crop, and takes few kilobytes."""
    tree = read_tree(drawn)
    sizes = {decode_image(contents).size for contents in tree.values()}

    assert len(tree) == 120
    assert sizes == set(sample.SIZES)
    assert max(map(len, tree.values())) < 50_000


def test_no_two_pictures_are_alike(drawn: Path) -> None:
    """What is measured on was not trained on."""
    tree = read_tree(drawn)

    assert len(set(tree.values())) == len(tree)


def test_the_mean_colour_does_not_tell(drawn: Path) -> None:
    """The labels cannot be told apart by the nearest mean colour: shapes have to be learned."""
    labels = ("ant", "bee")
    centres = [_mean_colours(drawn / "train" / label).mean(0) for label in labels]
    right = sum(
        _nearest(colour, centres) == index
        for index, label in enumerate(labels)
        for colour in _mean_colours(drawn / "val" / label)
    )

    assert right <= 30  # of 40


def _mean_colours(folder: Path) -> NDArray[np.float64]:
    return np.array(
        [np.asarray(Image.open(path)).mean((0, 1)) for path in sorted(folder.iterdir())]
    )


def _nearest(colour: NDArray[np.float64], centres: list[NDArray[np.float64]]) -> int:
    return int(np.argmin([np.linalg.norm(colour - centre) for centre in centres]))


@pytest.mark.usefixtures("few")
def test_another_seed_draws_others(tmp_path: Path) -> None:
    """A set for another purpose can be had."""
    first, second = _draw(tmp_path / "0"), _draw(tmp_path / "1", "--seed", "1")

    assert first.keys() == second.keys()
    assert not set(first.values()) & set(second.values())


@pytest.mark.usefixtures("few")
def test_names_do_not_change_the_pictures(tmp_path: Path) -> None:
    """By any other name, the same picture."""
    named = _draw(tmp_path / "0")
    code = sample.main([str(tmp_path / "1"), "--walker", "Ameise", "--flyer", "Biene"])

    assert code == 0
    assert sorted(read_tree(tmp_path / "1").values()) == sorted(named.values())
    assert names_in(tmp_path / "1/train") == ["Ameise", "Biene"]


@pytest.mark.parametrize("names", [("ant", "ant"), ("", "bee"), ("ant", "../bee")])
def test_names_must_be_two_labels(
    tmp_path: Path, names: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """One name for both, or what cannot be a folder, is wrong usage."""
    with pytest.raises(SystemExit, match="2"):
        sample.main([str(tmp_path / "data"), "--walker", names[0], "--flyer", names[1]])

    assert "usage: " in capsys.readouterr().err
    assert names_in(tmp_path) == []


def test_what_is_there_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is drawn over pictures of one's own."""
    (tmp_path / "mine.jpg").write_bytes(b"mine")

    assert sample.main([str(tmp_path), *NAMES]) == 1
    assert "is not empty and was left as it is" in capsys.readouterr().err
    assert read_tree(tmp_path) == {"mine.jpg": b"mine"}


def test_interrupted(tmp_path: Path) -> None:
    """A set that is not complete is no set."""
    with start_script(tmp_path, "--sample") as process:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob(".data.antbee-*/train/ant/001.jpg")):
            assert time.monotonic() < deadline, "the script does not draw"
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        output = process.communicate(timeout=30)

    assert (process.returncode, output) == (130, ("", "interrupted\n"))
    assert names_in(tmp_path) == []
