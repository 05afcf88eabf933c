"""The bank: vectors of other things, from which any model's labels are told apart.

    python -m antbee.packing.bank PICTURES --weights FILE --source TEXT

makes `bank.npz` anew, of a folder of photographs of all kinds of things, one of each kind, and of
pictures that are drawn here. Of each it keeps the channel means of the first stages of a ResNet
with ImageNet weights, in 8 bits, and no picture. A model whose frozen part is that network can use
it, and no other: the vectors of a few pictures that are drawn again at packing tell. The file is
used at packing only; no bento carries it.
"""

import argparse
import io
import json
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from torch import nn
from torchvision.models.feature_extraction import create_feature_extractor

from antbee.command import DONE, progress_bar, run, say
from antbee.errors import DataError, ModelError
from antbee.files import sha256_of, walk, write_atomically
from antbee.images import IMAGENET, configure_pillow, read_array, read_picture
from antbee.pictures.sample import draw_flyer, draw_picture, draw_walker
from antbee.predictor import Floats
from antbee.training.arguments import STAGES as ORDER
from antbee.training.network import build_model, load_weights

FILE: Final = Path(__file__).with_name("bank.npz")
ARCH: Final = "resnet18"
STAGES: Final = ("layer1", "layer2", "layer3")
EACH: Final = 80
"""Drawn pictures of each kind."""
PROBES: Final = 8
ALIKE: Final = 0.999
"""The cosine from which on two vectors of one picture are of the same network."""
SIDE: Final = 256
"""Pixels of a drawn picture's side."""
_LEVELS: Final = 255
_ABOUT: Final = "about"


@dataclass(frozen=True)
class Bank:
    """What the bank has of one stage.

    Attributes:
        natural: of photographs, float32 [N, channels].
        drawn: of what was drawn here, float32 [M, channels].
        probes: of `probe_pictures`, float32 [PROBES, channels].
        about: where it comes from, and its checksum.
    """

    natural: Floats
    drawn: Floats
    probes: Floats
    about: dict[str, Any]


def pooled_stage(frozen: str) -> str | None:
    """Find the deepest stage of the bank that is as ImageNet's weights have it, if there is one.

    `frozen` is the last stage that was frozen, one of `antbee.training.arguments.STAGES`.
    """
    kept = ORDER[: ORDER.index(frozen) + 1]
    return next((stage for stage in reversed(STAGES) if stage in kept), None)


def read_bank(stage: str, path: Path = FILE) -> Bank:
    """Read a stage of the bank.

    Raises:
        ModelError: the file is missing or is no bank.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            natural, drawn = (_restored(arrays, f"{stage}_{kind}") for kind in ("natural", "drawn"))
            about = json.loads(str(arrays[_ABOUT])) | {"sha256": sha256_of(path)}
            return Bank(natural, drawn, arrays[f"{stage}_probes"], about)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{path} cannot be read ({error}): install antbee again") from error


def agreement(probes: Floats, bank: Bank) -> float:
    """Find how alike a network's vectors of the probe pictures are to the bank's.

    Returns:
        The smallest cosine, -1 to 1; -1 for another number of channels.
    """
    if probes.shape != bank.probes.shape:
        return -1.0
    products = (probes * bank.probes).sum(1)
    lengths = np.linalg.norm(probes, axis=1) * np.linalg.norm(bank.probes, axis=1)
    return float((products / np.maximum(lengths, np.finfo(np.float32).tiny)).min())


def probe_pictures() -> list[Floats]:
    """Draw the pictures that tell networks apart: float32 [3, 224, 224] each, always the same."""
    draws = (draw_walker, draw_flyer)
    files = (
        draw_picture(random.Random(f"probe/{number}"), draws[number % 2])  # noqa: S311 - no secret
        for number in range(PROBES)
    )
    return [read_array(file, IMAGENET) for file in files]


def draw_others(each: int = EACH) -> Iterable[Floats]:
    """Draw what no camera took, so many of each kind: float32 [3, 224, 224] each."""
    for kind in (_flat, _gradient, _noise, _clouds, _leaves, _shapes, _stripes, _page):
        for number in range(each):
            rng = np.random.default_rng([number, *kind.__name__.encode()])
            buffer = io.BytesIO()
            kind(rng).save(buffer, "PNG")
            yield read_array(buffer.getvalue(), IMAGENET)


def _colour(rng: np.random.Generator) -> tuple[int, int, int]:
    red, green, blue = rng.integers(0, 256, 3).tolist()
    return red, green, blue


def _flat(rng: np.random.Generator) -> Image.Image:
    grey = int(rng.integers(0, 256))
    return Image.new("RGB", (SIDE, SIDE), _colour(rng) if rng.random() < 0.7 else (grey,) * 3)  # noqa: PLR2004 - a share


def _gradient(rng: np.random.Generator) -> Image.Image:
    corners = rng.integers(0, 256, (2, 2, 3), np.uint8)
    return Image.fromarray(corners).resize((SIDE, SIDE), Image.Resampling.BILINEAR)


def _noise(rng: np.random.Generator) -> Image.Image:
    channels = int(rng.choice([1, 3]))
    cells = int(rng.choice([16, 32, 64, 128, 256]))
    pixels = rng.integers(0, 256, (cells, cells, channels), np.uint8)
    picture = Image.fromarray(np.broadcast_to(pixels, (cells, cells, 3)).copy())
    return picture.resize((SIDE, SIDE), Image.Resampling(int(rng.choice([0, 2, 3]))))


def _clouds(rng: np.random.Generator) -> Image.Image:
    """Noise whose strength falls with its frequency, as in photographs."""
    across = np.hypot(*np.meshgrid(np.fft.fftfreq(SIDE), np.fft.fftfreq(SIDE)))
    across[0, 0] = 1
    spectrum = np.fft.fft2(rng.standard_normal((3, SIDE, SIDE))) / across ** rng.uniform(0.5, 2)
    field = np.real(np.fft.ifft2(spectrum))
    field = 0.5 * field + 0.5 * field.mean(0)
    field -= field.min()
    return Image.fromarray((255 * field / field.max()).astype(np.uint8).transpose(1, 2, 0))


def _leaves(rng: np.random.Generator) -> Image.Image:
    """Dead leaves (Baradad et al. 2021, arXiv:2106.05963): shapes of all sizes over each other."""
    picture = Image.new("RGB", (SIDE, SIDE), _colour(rng))
    pen = ImageDraw.Draw(picture)
    for _ in range(600):
        radius = min(4 / rng.random() ** 0.5, SIDE / 3)
        x, y = rng.uniform(0, SIDE, 2)
        box = (x - radius, y - radius, x + radius, y + radius)
        (pen.ellipse if rng.random() < 0.5 else pen.rectangle)(box, _colour(rng))  # noqa: PLR2004 - a half
    return picture


def _shapes(rng: np.random.Generator) -> Image.Image:
    picture = Image.new("RGB", (SIDE, SIDE), _colour(rng))
    pen = ImageDraw.Draw(picture)
    for _ in range(int(rng.integers(1, 7))):
        corners = rng.uniform(0, SIDE, (int(rng.integers(3, 7)), 2))
        (left, top), (right, bottom) = corners.min(0), corners.max(0)
        match int(rng.integers(4)):
            case 0:
                pen.ellipse((left, top, right, bottom), _colour(rng))
            case 1:
                pen.rectangle((left, top, right, bottom), _colour(rng))
            case 2:
                pen.polygon([(x, y) for x, y in corners.tolist()], _colour(rng))
            case _:
                pen.line(corners.ravel().tolist(), _colour(rng), int(rng.integers(2, 20)))
    return picture


def _stripes(rng: np.random.Generator) -> Image.Image:
    width = int(rng.integers(3, 50))
    tile = np.arange(2 * SIDE) // width % 2
    board = tile[:, np.newaxis] ^ (tile if rng.random() < 0.5 else 0 * tile)  # noqa: PLR2004 - a half
    colours = np.array([_colour(rng), _colour(rng)], np.uint8)
    picture = Image.fromarray(colours[board]).rotate(float(rng.uniform(0, 90)))
    return picture.crop((SIDE // 2, SIDE // 2, 3 * SIDE // 2, 3 * SIDE // 2))


def _page(rng: np.random.Generator) -> Image.Image:
    paper = int(rng.integers(200, 256))
    ink = int(rng.integers(0, 90))
    if rng.random() < 0.2:  # noqa: PLR2004 - a share
        paper, ink = ink, paper
    picture = Image.new("RGB", (SIDE, SIDE), (paper,) * 3)
    pen, size = ImageDraw.Draw(picture), int(rng.integers(7, 26))
    font = ImageFont.load_default(size)
    margin = int(rng.integers(0, 40))
    for y in range(margin, SIDE - size, round(1.4 * size)):
        letters = rng.integers(ord("a"), ord("z") + 1, SIDE // size * 2).tolist()
        words = "".join(chr(one) if rng.random() < 0.85 else " " for one in letters)  # noqa: PLR2004 - a share
        pen.text((margin, y), words, (ink,) * 3, font)
    return picture.filter(ImageFilter.GaussianBlur(float(rng.uniform(0, 1))))


def pool(network: nn.Module, arrays: Iterable[Floats], count: int) -> dict[str, Floats]:
    """Take the channel means of each of `STAGES`: float32 [count, channels] by stage."""
    stages = create_feature_extractor(network.eval(), {stage: stage for stage in STAGES})
    found: dict[str, list[Floats]] = {stage: [] for stage in STAGES}
    with torch.inference_mode(), progress_bar("looking", count) as bar:
        for array in arrays:
            for stage, maps in stages(torch.from_numpy(array[np.newaxis])).items():
                found[stage].append(maps.mean((2, 3))[0].numpy())
            bar.update(1)
    return {stage: np.stack(vectors) for stage, vectors in found.items()}


def _restored(arrays: Any, name: str) -> Floats:  # noqa: ANN401 - np.load's, which has no name
    low, high = arrays[f"{name}_range"]
    return np.asarray(low + arrays[name] * ((high - low) / np.float32(_LEVELS)), np.float32)


def _in_8_bits(name: str, vectors: Floats) -> dict[str, NDArray[Any]]:
    low, high = vectors.min(0), vectors.max(0)
    steps = np.where(high > low, high - low, 1) / _LEVELS
    levels = np.rint((vectors - low) / steps).astype(np.uint8)
    return {name: levels, f"{name}_range": np.stack([low, high]).astype(np.float32)}


def make_bank(pictures: Sequence[Path], weights: str, source: str, path: Path) -> None:
    """Write the bank: see the module."""
    network = build_model(ARCH, 2)
    loaded = load_weights(network, ARCH, weights)
    about = {
        "arch": ARCH,
        "natural": len(pictures),
        "drawn": 8 * EACH,
        "source": source,
        "weights": {"file": loaded["file"], "sha256": loaded["sha256"]},
    }
    arrays: dict[str, NDArray[Any]] = {_ABOUT: np.array(json.dumps(about))}
    photographs = (read_array(read_picture(one), IMAGENET) for one in pictures)
    kinds = {
        "natural": pool(network, photographs, len(pictures)),
        "drawn": pool(network, draw_others(), 8 * EACH),
    }
    probes = pool(network, probe_pictures(), PROBES)
    for stage in STAGES:
        for kind, vectors in kinds.items():
            arrays |= _in_8_bits(f"{stage}_{kind}", vectors[stage])
        arrays[f"{stage}_probes"] = probes[stage]
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]  # its last parameter is a keyword
    write_atomically(path, buffer.getbuffer())


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m antbee.packing.bank", description=__doc__)
    add = parser.add_argument
    add("pictures", type=Path, help="a folder of photographs, one of each kind of thing")
    add("--weights", default="imagenet", help="of the network, as for train.py (%(default)s)")
    add("--source", required=True, help="where the photographs come from, in a line")
    add("--out", type=Path, default=FILE, help="the file (%(default)s)")
    options = parser.parse_args(argv)

    def make() -> int:
        configure_pillow()
        found = sorted(one for one in walk(options.pictures)[0] if one.suffix.lower() == ".jpg")
        if not found:
            raise DataError(f"there is no .jpg in {options.pictures}")
        make_bank(found, options.weights, options.source, options.out)
        say(f"{options.out}: {options.out.stat().st_size:,} bytes")
        return DONE

    return run(make)


if __name__ == "__main__":
    raise SystemExit(main())
