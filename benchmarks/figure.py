"""Draw how the server's throughput grows with the cores and falls with the size of a picture."""

from collections.abc import Mapping
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes


def draw(by_cores: Mapping[int, float], by_size: Mapping[float, float], target: Path) -> None:
    """Write a PNG of two panels.

    Args:
        by_cores: pictures a second by the number of cores.
        by_size: pictures a second by megapixels.
        target: the file.
    """
    plt.switch_backend("agg")  # draws files, needs no screen
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    left.bar([str(count) for count in by_cores], list(by_cores.values()), width=0.5)
    label(left, "Throughput by cores", "CPU cores")
    for position, value in enumerate(by_cores.values()):
        left.annotate(f"{value:.0f}", (position, value), ha="center", va="bottom")
    right.plot(list(by_size), list(by_size.values()), marker="o")
    right.set(xscale="log", yscale="log")
    ticks = list(by_size)
    right.set_xticks(ticks, [f"{size:g}" for size in ticks])
    right.set_xticks([], minor=True)
    right.set_yticks([], minor=True)
    right.set_yticks(list(by_size.values()), [f"{value:.0f}" for value in by_size.values()])
    label(right, "Throughput by the size of a picture", "megapixels of a JPEG photo")
    right.grid(alpha=0.3)
    figure.savefig(target, dpi=150)
    plt.close(figure)


def label(axes: Axes, title: str, what: str) -> None:
    """Name a panel and its axes."""
    axes.set(title=title, xlabel=what, ylabel="pictures a second, 8 connections")
    axes.spines[["top", "right"]].set_visible(False)
