"""Figures that compare the methods of one experiment."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from bitslice.book.analysis import Spread, by_alpha, spread
from bitslice.book.figures import METHOD_COLOURS, METHOD_MARKERS, METHOD_NAMES, SLICE_COLOURS
from bitslice.lab.records import Record

UPPER_END = 1.25
"""Points of accuracy that the closer view shows below the best run of every sweep."""


def density_by_method(runs: Mapping[str, Sequence[Record]]) -> Figure:
    """Density of every slice by method: mean over seeds, bars of one standard deviation.

    Args:
        runs: by method, one a seed.
    """
    figure, axes = plt.subplots(figsize=(8, 3.4))
    width = 0.8 / len(runs)
    for place, (method, records) in enumerate(runs.items()):
        columns = [spread(records, lambda r, k=k: r.density[k]) for k in range(4)]  # type: ignore[misc]
        columns.append(spread(records, lambda r: r.mean_density))
        positions = np.arange(len(columns)) + (place - (len(runs) - 1) / 2) * width
        axes.bar(
            positions,
            [c.mean for c in columns],
            width,
            yerr=[c.deviation for c in columns],
            capsize=2,
            color=METHOD_COLOURS[method],
            label=f"{METHOD_NAMES[method]} (n={len(records)})",
            error_kw={"ecolor": "0.4", "lw": 1},
        )
    axes.set_xticks(range(5), [*SLICE_COLOURS, "mean"])
    axes.set_ylabel("non-zero cells (%)")
    figure.legend(loc="outside upper center", ncols=3)
    return figure


def accuracy_against_density(
    sweeps: Mapping[str, Sequence[Record]], references: Mapping[str, Sequence[Record]], live: Sequence[Record] = ()
) -> Figure:
    """Sweeps of alpha as mean slice density against accuracy, whole on the left, their upper end on the right.

    Args:
        sweeps: all runs of a method, whatever their alpha.
        references: runs without a regularizer, drawn as one point a method.
        live: the reader's own runs, drawn as open rings.
    """
    figure, (whole, end) = plt.subplots(1, 2, figsize=(9.5, 4.2), width_ratios=(1, 1.4))
    for axes in (whole, end):
        for method, records in sweeps.items():
            _draw_sweep(axes, method, records)
        for method, records in references.items():
            accuracy, density = _means(records)
            axes.plot(
                accuracy.mean,
                density.mean,
                METHOD_MARKERS[method],
                ms=8,
                color=METHOD_COLOURS[method],
                label=METHOD_NAMES[method],
                zorder=3,
            )
        if live:
            axes.scatter(
                [r.accuracy for r in live],
                [r.mean_density for r in live],
                s=110,
                facecolors="none",
                edgecolors=[METHOD_COLOURS[r.config.method.value] for r in live],
                linewidths=1.8,
                label="live runs",
            )
        axes.set_xlabel("test accuracy (%)")
    for method, records in sweeps.items():
        for alpha, runs in by_alpha(records).items():
            accuracy, density = _means(runs)
            end.annotate(
                f"{alpha:g}",
                (accuracy.mean, density.mean),
                xytext=(6, -11 if method == "bl1" else 5),
                textcoords="offset points",
                fontsize=9,
                color=METHOD_COLOURS[method],
                annotation_clip=True,
            )
    everything = [record for records in [*sweeps.values(), *references.values()] for record in records]
    low = min(max(record.accuracy for record in records) for records in (sweeps or references).values()) - UPPER_END
    close = [record.mean_density for record in everything if record.accuracy > low]
    end.set_xlim(low, max(record.accuracy for record in everything) + 0.1)
    end.set_ylim(0.8 * min(close), 1.1 * max(close))
    whole.set_ylim(bottom=0)
    whole.set_ylabel("mean slice density (% non-zero)")
    figure.legend(*whole.get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


def _means(records: Sequence[Record]) -> tuple[Spread, Spread]:
    return spread(records, lambda r: r.accuracy), spread(records, lambda r: r.mean_density)


def _draw_sweep(axes: Axes, method: str, records: Sequence[Record]) -> None:
    """Every run as a faint mark, means over seeds as a line with one standard deviation."""
    colour, marker = METHOD_COLOURS[method], METHOD_MARKERS[method]
    axes.scatter(
        [r.accuracy for r in records],
        [r.mean_density for r in records],
        s=12,
        color=colour,
        alpha=0.35,
        marker=marker,
        linewidths=0,
    )
    means = [_means(runs) for runs in by_alpha(records).values()]
    axes.errorbar(
        [a.mean for a, _ in means],
        [d.mean for _, d in means],
        xerr=[a.deviation for a, _ in means],
        yerr=[d.deviation for _, d in means],
        fmt=f"{marker}-",
        color=colour,
        ms=6,
        lw=1.4,
        capsize=2,
        elinewidth=0.8,
        label=METHOD_NAMES[method],
    )


def training_curves(runs: Mapping[str, Record]) -> Figure:
    """Training accuracy and mean slice density over the epochs of pre-training and fine-tuning.

    Args:
        runs: one record a method, all of one experiment and profile.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6))
    offset = next(iter(runs.values())).config.pretrain.epochs
    for method, record in runs.items():
        epochs = [epoch + (0 if method == "quantized" else offset) for epoch in record.epochs["epoch"]]
        left.plot(epochs, record.epochs["accuracy"], color=METHOD_COLOURS[method], label=METHOD_NAMES[method])
        right.plot(epochs, record.epochs["mean_density"], color=METHOD_COLOURS[method])
    left.set_ylabel("training accuracy (%)")
    right.set_ylabel("mean slice density (% non-zero)")
    right.set_yscale("log")
    right.yaxis.set_major_locator(FixedLocator([1, 2, 3, 5, 10, 20, 50]))
    right.yaxis.set_major_formatter("{x:g}")
    right.yaxis.set_minor_locator(NullLocator())
    figure.legend(*left.get_legend_handles_labels(), loc="outside upper center", ncols=len(runs))
    for axes in (left, right):
        axes.set_xlabel("epoch")
        axes.axvline(offset, color="0.6", lw=0.8, ls=":")
    return figure
