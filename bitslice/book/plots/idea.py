"""The paper's idea in one picture: a weight, its slices, their crossbars, their ADCs."""

import matplotlib.pyplot as plt
import numpy as np
import torch
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
    slices = to_slices(codes)
    inputs = torch.ones(len(codes), dtype=torch.int64)
    figure, axes = plt.subplots(figsize=(9, 7))
    axes.set_axis_off()
    axes.set_aspect("equal")
    code = int(codes.abs().max())
    row, column = divmod(int(codes.abs().argmax()), codes.shape[1])
    pitch = len(codes) * BOX + 0.45  # from crossbar to crossbar
    middle = len(codes) * BOX / 2
    height = len(SLICE_COLOURS) * pitch
    left = (height - pitch) / 2  # the weights stand at half height
    _matrix(axes, -5.9, -left, codes.abs(), "0.5", 255, (row, column))
    centre = -5.9 + codes.shape[1] * BOX / 2
    axes.text(centre, -left + 0.3, "8-bit weights", ha="center", fontsize=12, weight="bold")
    digits = f"{code:08b}"
    axes.text(centre, -left - len(codes) * BOX - 0.55, f"largest: {code} =", ha="center", fontsize=12)
    for k, name in enumerate(SLICE_COLOURS):
        axes.text(
            centre + (k - 1.5) * 0.6,
            -left - len(codes) * BOX - 1.15,
            digits[2 * k : 2 * k + 2],
            ha="center",
            family="monospace",
            fontsize=13,
            weight="bold",
            color=SLICE_COLOURS[name],
        )
    for place, (name, colour) in enumerate(SLICE_COLOURS.items()):
        level = slices[int(name[1])]
        y = -place * pitch
        _arrow(axes, (-5.8 + codes.shape[1] * BOX, -left - middle), (-1.55, y - middle), colour)
        _matrix(axes, -1.4, y, level, colour, 3, None)
        axes.text(-1.4, y + 0.05, name, ha="left", va="bottom", fontsize=12, weight="bold", color=colour)
        sums = inputs @ level.long()
        right = -1.4 + codes.shape[1] * BOX
        bits = resolution(int(sums.max()))
        axes.text(
            right + 1.35,
            y - middle,
            "bitline sums\n" + " ".join(map(str, sums.tolist())),
            ha="center",
            va="center",
            fontsize=12,
        )
        _arrow(axes, (right + 0.1, y - middle), (right + 0.4, y - middle), colour)
        _arrow(axes, (right + 2.3, y - middle), (right + 2.7, y - middle), colour)
        axes.add_patch(
            FancyBboxPatch(
                (right + 2.85, y - middle - 0.35), 1.75, 0.7, "round,pad=0.06", fc=colour, ec="none", alpha=0.25
            )
        )
        axes.text(
            right + 3.72, y - middle, f"ADC: {bits} bit" + "s" * (bits != 1), ha="center", va="center", fontsize=12
        )
        _arrow(axes, (right + 4.75, y - middle), (right + 5.5, -left - middle), colour)
    axes.text(right + 5.6, -left - middle, "shift\nand add", ha="left", va="center", fontsize=12, weight="bold")
    axes.text(
        -1.4 + codes.shape[1] * BOX / 2,
        0.75,
        "2-bit cells,\none crossbar a slice",
        ha="center",
        va="bottom",
        fontsize=12,
    )
    axes.text(right + 3.72, 0.75, "fewer, smaller sums:\na cheaper ADC", ha="center", va="bottom", fontsize=12)
    axes.set_xlim(-6.3, right + 7.2)
    axes.set_ylim(0.2 - height, 2.0)
    return figure


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
