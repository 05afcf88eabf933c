"""Pictures that are nearly the same: saved anew, made smaller, or cut a little.

Knows small grey thumbnails, and nothing of files. A difference hash (N. Krawetz 2013, "Kind of Like
That") asks of each cell of a picture whether it is brighter than its neighbour. Here the bits only
choose who is compared; what decides is how well the differences themselves agree, which an even
background, where bits are chance, has no part in.
"""

import itertools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from antbee.training.data import Copies, Split

SIDE: Final = 32
"""Of a thumbnail, in pixels, whatever the picture's proportions."""
CELLS: Final = 12
"""Of a picture's side, whose mean brightness is compared with the next one's."""
SIMILAR: Final = 0.75
"""Cosine of two pictures' differences from which on they are nearly the same. Of the tutorial's
79,003 pairs of photographs none has more than 0.69; `docs/measurements.md` has those of copies."""
FLAT: Final = 8.0
"""Length of a picture's differences, in levels of grey, that compression alone may make."""
TABLES: Final = 32
"""Choices of bits by which pictures meet. Of copies whose every tenth bit is another, one in
thousands meets its original in none."""
CROWD: Final = 256
"""Pictures that share a table's bits, above which that table does not tell them apart."""
BLOCK: Final = 1 << 15
"""Pairs that are compared at once."""
_SCALES: Final = (0.92, 0.84, 0.76)
WINDOWS: Final[list[tuple[float, float, float]]] = [
    (0.0, 0.0, 1.0),
    *(
        (left * (1 - scale), top * (1 - scale), scale)
        for scale in _SCALES
        for left, top in itertools.product((0, 0.5, 1), repeat=2)
    ),
]
"""Left, top and side of the parts of a picture, as shares of it, of which another may be a copy;
the whole comes first."""


def thumbnail(image: Image.Image) -> bytes:
    """Reduce an RGB picture to what `find_copies` compares: rows of grey pixels, `SIDE` a side."""
    return image.resize((SIDE, SIDE), Image.Resampling.BOX).convert("L").tobytes()


def find_copies(
    used: Mapping[str, Split], sums: Mapping[Path, str], thumbnails: Mapping[Path, bytes]
) -> list[Copies]:
    """Find the pictures that have a near copy in another split or under another label.

    Every picture is named in one pair at least, that with the copy most like it, and there are at
    most as many pairs as pictures. Pictures as good as even are passed over. Sorting finds whom to
    compare (Indyk and Motwani 1998, "Approximate Nearest Neighbors"): the time is that of sorting N
    keys for each of the tables and windows, and the memory some 3 kB a picture.

    Args:
        used: the splits by name, those whose pictures can be spared first.
        sums: the SHA-256 of each picture's file.
        thumbnails: of each picture.

    Returns:
        The most similar first.
    """
    places = [(number, one) for number, split in enumerate(used.values()) for one in split.pictures]
    grey = np.frombuffer(b"".join(thumbnails[one.path] for _, one in places), np.uint8)
    grey = grey.reshape(-1, SIDE, SIDE)
    wholes = differences(grey, WINDOWS[0])
    # No cosine is larger than either length: what is even cannot be told from what else is.
    uneven = np.linalg.norm(wholes, axis=1) >= SIMILAR
    grey, wholes = grey[uneven], wholes[uneven]
    places = list(itertools.compress(places, uneven))
    count, pictures = len(places), [one for _, one in places]
    if not count:
        return []
    sides = np.array([number for number, _ in places])
    labels = np.array([one.label for one in pictures])
    contents = np.unique([sums[one.path] for one in pictures], return_inverse=True)[1]

    width = math.ceil(math.log2(count)) + 4  # bits; chance meetings are fewer than the pictures
    powers = 1 << np.arange(width)
    generator = np.random.default_rng(0)
    tables = [generator.permutation(wholes.shape[1])[:width] for _ in range(TABLES)]
    keys = [(wholes > 0)[:, table] @ powers for table in tables]
    pairs = [np.empty(0, np.int64)]
    cosines = [np.empty(0, np.float32)]
    for window in WINDOWS:
        parts = differences(grey, window)
        signs = parts > 0
        for table, key in zip(tables, keys, strict=True):
            first, second = _meetings(key, signs[:, table] @ powers)
            crossing = (sides[first] != sides[second]) | (labels[first] != labels[second])
            first, second = first[crossing], second[crossing]
            for start in range(0, len(first), BLOCK):
                one, other = first[start : start + BLOCK], second[start : start + BLOCK]
                cosine = np.einsum("nd,nd->n", wholes[one], parts[other])
                cosine[contents[one] == contents[other]] = 1
                near = cosine >= SIMILAR
                numbered = np.minimum(one, other) * count + np.maximum(one, other)
                pairs.append(numbered[near])
                cosines.append(cosine[near])

    pair, similarity = np.concatenate(pairs), np.concatenate(cosines)
    named = set[int]()
    found = []
    for index in np.lexsort((pair, -similarity)):
        ends = divmod(int(pair[index]), count)
        if not named.issuperset(ends):
            named.update(ends)
            one, other = (pictures[end] for end in ends)
            found.append(Copies(one, other, float(similarity[index])))
    return found


def differences(grey: NDArray[np.uint8], window: tuple[float, float, float]) -> NDArray[np.float32]:
    """Differences between the brightness of neighbouring cells of a part of each picture.

    Args:
        grey: thumbnails [N, SIDE, SIDE].
        window: left, top and side of the part, as shares of the picture.

    Returns:
        float32 [N, 2 * CELLS * CELLS], across and down, each row of length 1 but for even pictures,
        which are shorter.
    """
    left, top, side = window
    levels = grey.astype(np.float32)
    across = np.diff(_means(top, side, CELLS) @ levels @ _means(left, side, CELLS + 1).T, axis=2)
    down = np.diff(_means(top, side, CELLS + 1) @ levels @ _means(left, side, CELLS).T, axis=1)
    found = np.concatenate([one.reshape(-1, CELLS * CELLS) for one in (across, down)], axis=1)
    shortened: NDArray[np.float32] = found / (np.linalg.norm(found, axis=1, keepdims=True) + FLAT)
    return shortened


def _means(start: float, side: float, cells: int) -> NDArray[np.float32]:
    """Weights [cells, SIDE] that make means of equal cells of a row's part out of its pixels."""
    edges = np.linspace(start, start + side, cells + 1) * SIDE
    pixels = np.arange(SIDE)
    upper = np.minimum(edges[1:, np.newaxis], pixels + 1)
    shares = np.clip(upper - np.maximum(edges[:-1, np.newaxis], pixels), 0, None)
    return np.asarray(shares * cells / (side * SIDE), np.float32)


def _meetings(
    keys: NDArray[np.int64], others: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Indices of keys and of others that equal them, in pairs; crowds of others are left out."""
    order = np.argsort(others, kind="stable")
    begin = np.searchsorted(others, keys, "left", sorter=order)
    counts = np.searchsorted(others, keys, "right", sorter=order) - begin
    counts[counts > CROWD] = 0
    first = np.repeat(np.arange(len(keys)), counts)
    places = np.arange(counts.sum()) + np.repeat(begin - np.cumsum(counts) + counts, counts)
    return first, order[places]
