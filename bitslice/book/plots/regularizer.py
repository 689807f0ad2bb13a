"""Figures of the page on the regularizer."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure
from torch import Tensor

from bitslice.book.figures import METHOD_COLOURS, METHOD_NAMES
from bitslice.regularizers import slice_tables


def value_and_pull(bits: int = 8, cell_bits: int = 2) -> Figure:
    """Regularization term and its surrogate gradient against the code, for bit-slice L1 and for L1."""
    value, pull = (table[2**bits - 1 :] for table in slice_tables(bits, cell_bits))
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6))
    left.step(range(len(value)), value, where="mid", color=METHOD_COLOURS["bl1"])
    left.set_ylabel("sum of slices (cell levels)")
    right.step(range(len(pull)), pull, where="mid", color=METHOD_COLOURS["bl1"], label=METHOD_NAMES["bl1"], lw=1.1)
    right.axhline(1, color=METHOD_COLOURS["l1"], ls="--", label=METHOD_NAMES["l1"])
    right.set_ylabel("pull towards 0 (per code step)")
    right.set_ylim(0, 1.4)
    figure.legend(loc="outside upper right", ncols=2)
    left.set_xticks([0, 16, 64, 128, 192, 255])
    right.set_xlim(0, 80)  # the pattern repeats
    right.set_xticks(range(0, 81, 16))
    for axes in (left, right):
        axes.set_xlabel("code of |w|")
    return figure


def descend(start: Tensor, steps: int, rate: float, opposing: float = 0.0) -> Tensor:
    """Codes of weights that only bit-slice L1 (and a constant opposing force) moves.

    Args:
        start: real-valued codes to start from, shape ``(weights,)``.
        steps: of plain gradient descent.
        rate: codes moved a step at a pull of 1.
        opposing: constant force away from zero, in units of the pull.

    Returns:
        Path of every weight, ``(steps + 1, weights)``.
    """
    _, pull = slice_tables()
    path = [start]
    for _ in range(steps):
        code = path[-1].round().clamp(0, 255).long()
        path.append((path[-1] - rate * (pull[code + 255] - opposing * (code > 0))).clamp_min(0))
    return torch.stack(path)


def stalls(steps: int, rate: float, opposing: float) -> Figure:
    """Paths of a few weights under bit-slice L1, free and with a loss that holds against it."""
    start = torch.tensor([11.0, 27.0, 46.0, 77.0, 90.0])
    figure, panels = plt.subplots(1, 2, figsize=(9, 3.4), sharey=True)
    for axes, force in zip(panels, (0.0, opposing), strict=True):
        axes.plot(descend(start, steps, rate, force).numpy(), lw=1.6, color=METHOD_COLOURS["bl1"])
        for code in (16, 32, 48, 64, 80):
            axes.axhline(code, color="0.6", lw=0.6, ls=":")
        axes.set_xlabel("gradient steps")
        axes.set_title("regularizer alone" if not force else f"loss holds with {force:g} of a full pull")
    panels[0].set_yticks([0, 16, 32, 48, 64, 80])
    panels[0].set_ylabel("code of |w|")
    return figure


def code_histogram(codes: Mapping[str, Tensor], largest: int = 68) -> Figure:
    """How often each non-zero code occurs in trained networks, by method.

    Args:
        codes: all integer codes of a network (flat), by method.
        largest: last code drawn.
    """
    figure, panels = plt.subplots(len(codes), 1, figsize=(9, 1.7 * len(codes)), sharex=True)
    for axes, (method, values) in zip(panels, codes.items(), strict=True):
        counts = torch.bincount(values.abs().flatten(), minlength=256)[1 : largest + 1]
        axes.bar(range(1, largest + 1), counts.numpy(), color=METHOD_COLOURS[method], width=0.8)
        axes.set_title(
            f"{METHOD_NAMES[method]}: {int(values.count_nonzero()):,} of {values.numel():,} not zero", loc="left"
        )
        axes.set_ylabel("weights")
    panels[-1].set_xticks([1, *range(4, largest + 1, 4)])
    panels[-1].set_xlabel("code of |w|")
    return figure
