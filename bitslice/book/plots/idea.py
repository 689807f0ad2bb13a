"""The paper's idea in one picture: a weight, its slices, their crossbars, their ADCs."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle
from torch import Tensor

from bitslice.book.figures import SLICE_COLOURS
from bitslice.crossbar.statistics import resolution
from bitslice.slices import to_slices

BOX = 0.36
"""Side of one cell in the picture's units."""


def most_significant_corner(codes: Tensor, rows: int, columns: int) -> Tensor:
    """The rows and columns of a code matrix with the largest magnitudes: a corner in which all slices occur."""
    magnitude = codes.abs()
    wordlines = magnitude.amax(dim=1).topk(rows).indices.sort().values
    bitlines = magnitude[wordlines].amax(dim=0).topk(columns).indices.sort().values
    return codes[wordlines][:, bitlines]


def idea(codes: Tensor) -> Figure:
    """Draw how a small matrix of magnitudes is cut into slices, stored, summed and converted.

    Args:
        codes: integer codes of a few weights, (wordlines, bitlines); their magnitudes are drawn.
    """
    rows, columns = (side * BOX for side in codes.shape)
    pitch = rows + 0.43  # from crossbar to crossbar
    height = len(SLICE_COLOURS) * pitch
    left = (height - pitch) / 2  # the weights stand at half height
    figure, axes = _canvas(9, 0.65 * (height + 0.9))
    _weights(axes, -5.9, -left, codes)
    for place, name in enumerate(SLICE_COLOURS):
        middle = -place * pitch - rows / 2
        _arrow(axes, (-5.8 + columns, -left - rows / 2), (-1.55, middle), SLICE_COLOURS[name])
        right = _slice(axes, -1.4, -place * pitch, codes, name)
        _arrow(axes, (right + 0.15, middle), (right + 0.9, -left - rows / 2), SLICE_COLOURS[name])
    axes.text(right + 1, -left - rows / 2, "shift\nand add", ha="left", va="center", fontsize=12, weight="bold")
    crossbars = -1.4 + columns / 2
    axes.text(crossbars, 0.6, "one crossbar a slice", ha="center", va="bottom", fontsize=12)
    axes.text(right - 0.88, 0.6, "smaller sums, a cheaper ADC", ha="center", va="bottom", fontsize=12)
    axes.set_xlim(-6.3, right + 2.6)
    axes.set_ylim(0.2 - height, 1.1)
    return figure


def upright(codes: Tensor) -> Figure:
    """The same from top to bottom, for a narrow screen."""
    rows, columns = (side * BOX for side in codes.shape)
    pitch = rows + 0.55
    top = -rows - 2.4  # of the first crossbar, below the weights and their slices
    bottom = top - len(SLICE_COLOURS) * pitch
    figure, axes = _canvas(4.4, 9.2)
    _weights(axes, 0, 0, codes)
    axes.text(columns + 0.6, -rows / 2, "2-bit cells,\none crossbar\na slice", va="center", fontsize=12)
    axes.text(columns + 2.9, -rows / 2, "fewer,\nsmaller sums:\na cheaper ADC", va="center", fontsize=12)
    for place, name in enumerate(SLICE_COLOURS):
        y = top - place * pitch
        right = _slice(axes, 0, y, codes, name)
        _arrow(axes, (right + 0.1, y - rows / 2), (right + 0.45, bottom + 0.1), SLICE_COLOURS[name])
    axes.text(right + 0.45, bottom - 0.1, "shift and add", ha="right", va="top", fontsize=12, weight="bold")
    axes.set_xlim(-0.5, right + 0.6)
    axes.set_ylim(bottom - 0.6, 0.9)
    return figure


def _canvas(width: float, height: float) -> tuple[Figure, Axes]:
    figure, axes = plt.subplots(figsize=(width, height))
    axes.set_axis_off()
    axes.set_aspect("equal")
    return figure, axes


def _weights(axes: Axes, x: float, y: float, codes: Tensor) -> None:
    """The weights, their top left corner at (x, y); below them the largest, in binary, slice by slice."""
    code = int(codes.abs().max())
    row, column = divmod(int(codes.abs().argmax()), codes.shape[1])
    _matrix(axes, x, y, codes.abs(), "0.5", 255, (row, column))
    centre, below = x + codes.shape[1] * BOX / 2, y - len(codes) * BOX
    axes.text(centre, y + 0.3, "8-bit weights", ha="center", fontsize=12, weight="bold")
    axes.text(centre, below - 0.55, f"largest: {code} =", ha="center", fontsize=12)
    for k, colour in enumerate(SLICE_COLOURS.values()):
        axes.text(
            centre + (k - 1.5) * 0.6,
            below - 1.15,
            f"{code:08b}"[2 * k : 2 * k + 2],
            ha="center",
            family="monospace",
            fontsize=13,
            weight="bold",
            color=colour,
        )


def _slice(axes: Axes, x: float, y: float, codes: Tensor, name: str) -> float:
    """One slice from crossbar, its top left corner at (x, y), over sums to ADC; gives the right end of that."""
    level, colour = to_slices(codes)[int(name[1])], SLICE_COLOURS[name]
    middle, right = y - len(codes) * BOX / 2, x + codes.shape[1] * BOX
    _matrix(axes, x, y, level, colour, 3, None)
    axes.text(x, y + 0.05, name, ha="left", va="bottom", fontsize=12, weight="bold", color=colour)
    sums = level.long().sum(dim=0)
    bits = resolution(int(sums.max()))
    numbers = " ".join(map(str, sums.tolist()))
    _arrow(axes, (right + 0.1, middle), (right + 0.4, middle), colour)
    axes.text(right + 1.35, middle, f"bitline sums\n{numbers}", ha="center", va="center", fontsize=12)
    _arrow(axes, (right + 2.3, middle), (right + 2.7, middle), colour)
    box = FancyBboxPatch((right + 2.85, middle - 0.35), 1.75, 0.7, "round,pad=0.06", fc=colour, ec="none", alpha=0.25)
    axes.add_patch(box)
    axes.text(right + 3.72, middle, f"ADC: {bits} bit" + "s" * (bits != 1), ha="center", va="center", fontsize=12)
    return right + 4.6


def _matrix(
    axes: Axes, x: float, y: float, values: Tensor, colour: str, largest: int, mark: tuple[int, int] | None
) -> None:
    """A matrix of cells, shaded by value, its top left corner at (x, y)."""
    for (i, j), value in np.ndenumerate(values.numpy()):
        corner = (x + j * BOX, y - (i + 1) * BOX)
        axes.add_patch(
            Rectangle(
                corner,
                BOX,
                BOX,
                fc=colour if value else "none",
                alpha=0.15 + 0.75 * value / largest if value else 1,
                ec="none",
            )
        )
        axes.add_patch(Rectangle(corner, BOX, BOX, fc="none", ec="0.55", lw=1.8 if mark == (i, j) else 0.5))
        if value and largest == 3:
            axes.text(corner[0] + BOX / 2, corner[1] + BOX / 2, str(int(value)), ha="center", va="center", fontsize=9)


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], colour: str) -> None:
    axes.annotate("", end, start, arrowprops={"arrowstyle": "->", "color": colour, "lw": 1.2})
