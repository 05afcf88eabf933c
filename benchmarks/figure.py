"""A figure of how throughput grows with the cores, and falls with the size of a picture."""

from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure


def draw(by_cores: Mapping[int, float], by_size: Mapping[float, float], target: Path) -> None:
    """Write a PNG of pictures a second by the number of cores, and by megapixels."""
    figure = Figure((10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    bars = left.bar([str(count) for count in by_cores], list(by_cores.values()), width=0.5)
    left.bar_label(bars, fmt="{:.0f}")
    left.set(title="Throughput by cores", xlabel="CPU cores")
    right.plot(list(by_size), list(by_size.values()), marker="o")
    right.set(xscale="log", yscale="log", title="Throughput by the size of a picture")
    right.set_xlabel("megapixels of a JPEG photo")
    right.set_xticks(list(by_size), [f"{size:g}" for size in by_size])
    right.set_yticks(list(by_size.values()), [f"{value:.0f}" for value in by_size.values()])
    right.set_xticks([], minor=True)
    right.set_yticks([], minor=True)
    right.grid(alpha=0.3)
    for axes in (left, right):
        axes.set_ylabel("pictures a second, 8 connections")
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(target, dpi=150)
