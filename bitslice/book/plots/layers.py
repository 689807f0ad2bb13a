"""Figures that compare a network's layers, a row of panels an experiment."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bitslice.book.analysis import Layer
from bitslice.book.figures import EXPERIMENT_NAMES, INK, METHOD_COLOURS, METHOD_MARKERS, METHOD_NAMES, SLICE_COLOURS

Networks = Mapping[str, Mapping[str, Sequence[Layer]]]
"""Layers by experiment and method."""


FARTHEST = 250
"""Percent of the cells left after pruning where the axis ends: a slice that held next to nothing can grow manifold."""


def density_by_layer(networks: Networks) -> Figure:
    """Mean slice density of every layer by method, and its share of all set cells over that of all weights."""
    figure, rows = _panels(networks, columns=2)
    for (left, right), methods in zip(rows, networks.values(), strict=True):
        for method, layers in methods.items():
            marks: dict[str, Any] = {
                "marker": METHOD_MARKERS[method],
                "color": METHOD_COLOURS[method],
                "ls": "none",
                "ms": 6,
            }
            places = range(len(layers))
            cells = np.array([layer.cells for layer in layers])
            left.plot([layer.mean_density for layer in layers], places, label=METHOD_NAMES[method], **marks)
            right.plot(100 * cells / cells.sum(), places, **marks)
        sizes = np.array([layer.size for layer in layers])
        left.barh(places, np.zeros(len(layers)), color="0.8", label="share of weights")
        right.barh(places, 100 * sizes / sizes.sum(), color="0.8", zorder=0, label="share of weights")
    rows[-1][0].set_xlabel("mean slice density (% non-zero)")
    rows[-1][1].set_xlabel("share of set cells (%)")
    _finish(figure, rows)
    return figure


def left_after_pruning(networks: Networks) -> Figure:
    """Set cells of every layer and slice, in percent of those of the pruned network, a column a method.

    What lies beyond :data:`FARTHEST` is drawn there, as an arrowhead.

    Args:
        networks: with ``pruned`` among the methods of each.
    """
    methods = [method for method in METHOD_NAMES if any(method in found for found in networks.values())]
    methods.remove("pruned")
    figure, rows = _panels(networks, columns=len(methods))
    for row, found in zip(rows, networks.values(), strict=True):
        for axes, method in zip(row, methods, strict=True):
            if method not in found:
                axes.set_axis_off()
                continue
            for place, (name, colour) in enumerate(SLICE_COLOURS.items()):
                pairs = [
                    (ours.density[place], theirs.density[place])
                    for ours, theirs in zip(found[method], found["pruned"], strict=True)
                ]
                shares = [100 * ours / theirs if theirs else np.nan for ours, theirs in pairs]
                places = np.arange(len(shares))
                beyond = np.array(shares) > FARTHEST
                axes.plot(np.where(beyond, np.nan, shares), places, "o", ms=5, color=colour, label=name)
                for edge in places[beyond]:
                    axes.plot(FARTHEST, edge, ">", ms=6, color=colour)
            axes.axvline(100, color=INK, lw=0.8, ls=":")
            axes.set_xlabel(f"{METHOD_NAMES[method]}:\ncells left (%)")
    _finish(figure, rows)
    for axes in (axes for row in rows for axes in row):
        axes.set_xlim(0, min(axes.get_xlim()[1], 1.03 * FARTHEST))
    return figure


def _panels(networks: Networks, columns: int) -> tuple[Figure, list[list[Axes]]]:
    """A row of panels for each network, as high as it has layers, the first layer on top."""
    names = [
        [layer.name.removesuffix(".weight") for layer in next(iter(found.values()))] for found in networks.values()
    ]
    heights = [0.5 + 0.24 * len(layers) for layers in names]
    figure, rows = plt.subplots(
        len(names), columns, figsize=(8, 1.2 + sum(heights)), height_ratios=heights, sharey="row", squeeze=False
    )
    for row, layers, experiment in zip(rows, names, networks, strict=True):
        row[0].set_yticks(range(len(layers)), layers, fontsize=9)
        row[0].set_ylim(len(layers) - 0.5, -0.5)
        row[0].set_title(EXPERIMENT_NAMES[experiment], loc="left")
    return figure, [list(row) for row in rows]


def _finish(figure: Figure, rows: list[list[Axes]]) -> None:
    """Axes from zero, light lines to read the layers along, and the legend above everything."""
    for axes in (axes for row in rows for axes in row):
        axes.set_xlim(left=0)
        axes.grid(axis="y", lw=0.5, alpha=0.5)
        axes.set_axisbelow(True)
    handles, labels = max((row[0].get_legend_handles_labels() for row in rows), key=lambda found: len(found[1]))
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))
