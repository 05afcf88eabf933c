"""The report's charts, drawn with matplotlib and encoded as PNG. Knows numbers, no files.

Each figure is an object of its own: pyplot, which keeps every figure in the process, is not used.
"""

import io
import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Final

import matplotlib as mpl
import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager
from matplotlib.ticker import MaxNLocator, PercentFormatter
from PIL import ImageOps

from antbee.accuracy import Counts
from antbee.calibration import Reliability
from antbee.command import printable
from antbee.training.report.measure import THUMBNAIL, Illustration

DPI: Final = 150
SHEET_DPI: Final = 110
"""Of pictures, which more would only enlarge."""
PAPER: Final = "#fffcf5"
INK: Final = "#2b2419"
FAINT: Final = "#8f8166"
AMBER: Final = "#b36b00"
BLUE: Final = "#2f6690"
MOST_LETTERS: Final = 18
"""Of a label in a chart."""
ROOM: Final = 24
"""Letters that the labels below a confusion matrix may have together, before they are turned."""
_FONTS: Final = (
    "DejaVu Sans",
    *(f"Noto Sans CJK {country}" for country in ("SC", "TC", "JP", "KR")),
    *(f"Noto Sans {script}" for script in ("SC", "JP", "KR", "Arabic", "Hebrew", "Devanagari")),
    *("Noto Sans Thai", "Noto Emoji", "WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "Unifont"),
    *("PingFang SC", "Hiragino Sans", "Apple SD Gothic Neo", "Arial Unicode MS"),
    *("Microsoft YaHei", "Yu Gothic", "Malgun Gothic", "Segoe UI Emoji"),
)
"""Those that are installed are asked in turn for a letter; matplotlib brings the first."""
_STYLE: Final[dict[Any, Any]] = {
    "text.parse_math": False,  # a label may hold a dollar sign
    "text.usetex": False,
    "font.size": 10,
    "font.family": [name for name in _FONTS if name in {font.name for font in fontManager.ttflist}],
    "axes.titlesize": 11,
    "grid.alpha": 0.25,
    **dict.fromkeys(("axes.spines.top", "axes.spines.right", "legend.frameon"), False),
    **dict.fromkeys(("figure.facecolor", "axes.facecolor"), PAPER),
    **dict.fromkeys(("axes.edgecolor", "grid.color"), FAINT),
    **dict.fromkeys(("text.color", "xtick.color", "ytick.color"), INK),
    **dict.fromkeys(("axes.labelcolor", "axes.titlecolor"), INK),
}
_SHADES: Final = LinearSegmentedColormap.from_list("amber", [PAPER, "#f0b95c", "#a35200"])
_DARK: Final = 0.6
"""The share of a row from which on its cell is written in white."""


def draw_curves(history: Sequence[Mapping[str, Any]], best: int) -> bytes:
    """Draw loss and accuracy by epoch, from the lines of metrics.jsonl; `best` is what was kept."""
    with mpl.rc_context(_STYLE):
        figure = Figure((9, 3.4), layout="constrained")
        left, right = figure.subplots(1, 2)
        epochs = [line["epoch"] for line in history]
        for axes, key, name, colour in (
            (left, "train_loss", "training (augmented)", FAINT),
            (left, "val_loss", "validation", BLUE),
            (right, "val_top1", None, BLUE),
        ):
            axes.plot(epochs, [line[key] for line in history], ".-", color=colour, label=name)
        right.yaxis.set_major_formatter(PercentFormatter(1))
        left.set(title="Loss (nats)", ylim=(0, None))
        right.set(title="Validation: top-1 accuracy")
        for axes in (left, right):
            axes.axvline(best, color=AMBER, ls="--", lw=1, label=f"best, epoch {best}")
            axes.set_xlabel("epoch")
            # By default one epoch would get fractions, because one tick is too few.
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
            axes.set_xlim(0.5, len(epochs) + 0.5)
            axes.grid(visible=True)
            axes.legend()
        return _png(figure)


def draw_confusion(counts: Counts, labels: Sequence[str], kept: Sequence[int]) -> bytes:
    """Draw how many pictures of each label got each answer, and their share of the label's.

    `kept` has the indices of the labels to draw, of which there is room for some twenty.
    """
    part = counts[np.ix_(kept, kept)]
    shares = part / np.maximum(counts[kept].sum(1, keepdims=True), 1)
    side = 2.2 + 0.5 * len(kept)
    with mpl.rc_context(_STYLE):
        figure = Figure((side + 0.6, side), layout="constrained")
        axes = figure.subplots()
        axes.imshow(shares, cmap=_SHADES, vmin=0, vmax=1)
        for (row, column), count in np.ndenumerate(part):
            colour = "white" if shares[row, column] > _DARK else INK
            if count:
                centred: dict[str, Any] = {"ha": "center", "color": colour}
                axes.text(column, row, str(count), va="bottom", **centred)
                axes.text(column, row, f"{shares[row, column]:.0%}", va="top", size=7, **centred)
        names = [shortened(labels[index]) for index in kept]
        turned: dict[str, Any] = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
        axes.set_xticks(range(len(kept)), names, **(turned if len("".join(names)) > ROOM else {}))
        axes.set_yticks(range(len(kept)), names)
        axes.set(xlabel="answer", ylabel="true label")
        return _png(figure)


def draw_reliability(before: Reliability, after: Reliability, temperature: float) -> bytes:
    """Draw accuracy by confidence, before and after the temperature, and where the answers lie."""
    with mpl.rc_context(_STYLE):
        figure = Figure((9, 5), layout="constrained")
        upper, lower = figure.subplots(2, 2, sharex=True, height_ratios=(3, 1))
        titles = ("Before: temperature 1", f"After: temperature {temperature:.2f}")
        for axes, below, found, title in zip(upper, lower, (before, after), titles, strict=True):
            width = 1 / len(found.counts)
            middles = (np.arange(len(found.counts)) + 0.5) * width
            filled = found.counts > 0
            accuracy, confidence = found.accuracy[filled], found.confidence[filled]
            axes.bar(
                middles[filled], accuracy, width, color=BLUE, edgecolor=PAPER, label="accuracy"
            )
            axes.plot(confidence, confidence, "D", color=AMBER, label="confidence")
            axes.plot((0, 1), (0, 1), color=INK, linestyle="--", linewidth=1)
            axes.set(title=f"{title}, ECE {found.error:.1%}", ylim=(0, 1.02))
            axes.yaxis.set_major_formatter(PercentFormatter(1))
            axes.legend(loc="upper left")
            below.bar(middles, found.counts, width, color=FAINT)
            below.set(xlabel="confidence", xlim=(0, 1))
            below.yaxis.set_major_locator(MaxNLocator(2, integer=True))
            below.xaxis.set_major_formatter(PercentFormatter(1))
        upper[0].set_ylabel("right answers")
        lower[0].set_ylabel("pictures")
        return _png(figure)


def draw_sheet(
    title: str, explanations: Sequence[Illustration], captions: Sequence[Sequence[str]]
) -> bytes:
    """Lay pictures out in rows of three, with heat maps beside them and lines of text above."""
    rows = max(math.ceil(len(explanations) / 3), 1)
    with mpl.rc_context(_STYLE):
        figure = Figure((11, 0.5 + 2.3 * rows), layout="constrained")
        figure.suptitle(title if explanations else f"{title}: none")
        grid = figure.subplots(rows, 3, squeeze=False).flatten()
        for axes in grid:
            axes.set_axis_off()
        for axes, one, lines in zip(grid, explanations, captions, strict=False):
            pair = [
                np.asarray(ImageOps.pad(picture, (THUMBNAIL, THUMBNAIL), color=PAPER))
                for picture in (one.picture, one.heat_map)
            ]
            axes.imshow(np.hstack(pair))
            axes.set_title("\n".join(map(printable, lines)), fontsize=9)
        return _png(figure, SHEET_DPI)


def shortened(label: str) -> str:
    """Spell a label so that it can be printed, in no more than `MOST_LETTERS`."""
    text = printable(label)
    return text if len(text) <= MOST_LETTERS else text[: MOST_LETTERS - 1] + "…"


def _png(figure: Figure, dpi: int = DPI) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # A box stands for a letter that no font here has; the page has the same in text.
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()
