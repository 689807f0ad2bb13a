"""Figures of the page on bit slices."""

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from torch import Tensor

from bitslice.book.figures import SLICE_COLOURS
from bitslice.lab.records import Record
from bitslice.slices import to_slices


def weight_and_slices(codes: Tensor, cell_bits: int = 2) -> Figure:
    """Magnitudes of a matrix of codes beside its slices, most significant first.

    Args:
        codes: integer codes, (outputs, inputs).
        cell_bits: bits per cell.
    """
    slices = to_slices(codes, cell_bits=cell_bits)
    names = [f"B{k}" for k in reversed(range(len(slices)))]
    colours = dict(zip(names, sns.color_palette("dark:#0072B2", len(names)), strict=True)) | SLICE_COLOURS
    figure, panels = plt.subplots(1, len(names) + 1, figsize=(9.5, 3.1), sharey=True)
    for panel, name in zip(panels, ["code", *names], strict=True):
        values = codes.abs() if name == "code" else slices[int(name[1:])]
        shades = LinearSegmentedColormap.from_list(
            name, ["#dddddd", "#333333"] if name == "code" else ["#dddddd", colours[name]]
        )
        largest = 255 if name == "code" else 2**cell_bits - 1
        sns.heatmap(
            values.numpy(),
            ax=panel,
            mask=values.numpy() == 0,
            cmap=shades,
            vmin=0,
            vmax=largest,
            square=True,
            xticklabels=False,
            yticklabels=False,
            cbar_kws={"orientation": "horizontal", "shrink": 0.9, "ticks": [0, largest], "pad": 0.08},
        )
        share = 100 * np.count_nonzero(values) / values.numel()
        sns.despine(ax=panel, top=False, right=False)
        panel.set_title(f"{name}\n{share:.0f}% non-zero")
    panels[0].set_ylabel("outputs")
    figure.supxlabel("inputs", fontsize=11)
    return figure


def density_by_tensor(record: Record) -> Figure:
    """Density of every slice, tensor by tensor."""
    layers = record.final["layers"]
    figure, axes = plt.subplots(figsize=(7, 3.2))
    width = 0.8 / len(SLICE_COLOURS)
    for place, (name, colour) in enumerate(SLICE_COLOURS.items()):
        positions = np.arange(len(layers)) + (place - 1.5) * width
        bars = axes.bar(
            positions, [layer["density"][place] for layer in layers.values()], width, color=colour, label=name
        )
        axes.bar_label(bars, fmt="%.1f", fontsize=8, padding=1)
    axes.set_xticks(range(len(layers)), [f"{name}\n{layer['size']:,} values" for name, layer in layers.items()])
    axes.set_ylabel("non-zero cells (%)")
    figure.legend(ncols=4, loc="outside upper center")
    return figure
