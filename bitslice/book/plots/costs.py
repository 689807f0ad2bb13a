"""Figures of the page on ADC cost models."""

from collections.abc import Callable, Iterable
from itertools import cycle

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bitslice.costs.designs import Design
from bitslice.costs.models import AbsoluteAdc, AdcModel

MODEL_STYLES = {
    "saberi": ("#D55E00", "o"),
    "linear": ("#0072B2", "s"),
    "components": ("#009E73", "D"),
    "walden": ("#CC79A7", "v"),
    "schreier": ("#777777", "^"),
    "neurosim-sar": ("#56B4E9", "P"),
    "neurosim-flash": ("#E69F00", "X"),
    "survey": ("#8C6BD8", "*"),
}
"""Colour and marker of each model, the same in every figure."""


def savings(models: Iterable[AdcModel], bits: Iterable[int], reference_bits: int) -> Figure:
    """Saving in power, in energy and in area against ``reference_bits``, every model within its range.

    Args:
        models: those to compare; all must hold at ``reference_bits``.
        bits: resolutions of the horizontal axis.
        reference_bits: resolution whose saving is 1.
    """
    models, bits = list(models), list(bits)
    figure, panels = plt.subplots(1, 3, figsize=(10, 4.2), sharey=True)
    _lines(panels[0], models, bits, lambda model, b: model.power_saving(b, reference_bits))
    _lines(panels[1], models, bits, lambda model, b: model.energy_saving(b, reference_bits))
    _lines(panels[2], models, bits, lambda model, b: model.area_saving(b, reference_bits))
    for axes, title in zip(panels, ("power", "energy a conversion", "area"), strict=True):
        axes.set_title(title)
        axes.set_xlabel("ADC resolution N (bits)")
        axes.set_xticks(bits)
        axes.set_yscale("log")
        axes.axhline(1, color="0.6", lw=0.8, zorder=0)
    panels[0].set_ylabel(f"saving against {reference_bits} bits (x)")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def energies(models: Iterable[AbsoluteAdc], designs: Iterable[Design], bits: Iterable[int]) -> Figure:
    """Energy of one conversion in pJ, every model within its range, beside published ADCs.

    Args:
        models: those to compare.
        designs: published ADCs.
        bits: resolutions of the horizontal axis.
    """
    bits = list(bits)
    figure, axes = plt.subplots(figsize=(8, 4.8))
    _lines(axes, models, bits, lambda model, b: 1e12 * model.energy(b))
    for design, marker in zip(designs, cycle("osD"), strict=False):
        label = f"{design.title}, as published"
        axes.plot(design.bits, 1e12 * design.energy, marker, ms=12, mfc="none", mec="0.5", mew=1.8, label=label)
    axes.set_xlabel("ADC resolution N (bits)")
    axes.set_xticks(bits)
    axes.set_yscale("log")
    axes.set_ylabel("energy a conversion (pJ)")
    figure.legend(loc="outside lower center", ncols=3)
    return figure


def _lines(
    axes: Axes, models: Iterable[AdcModel], bits: Iterable[int], saving: Callable[[AdcModel, int], float | None]
) -> None:
    for model in models:
        colour, marker = MODEL_STYLES[model.name]
        points = [(b, value) for b in bits if model.holds(b) and (value := saving(model, b)) is not None]
        axes.plot(*zip(*points, strict=True), marker=marker, color=colour, label=model.title, lw=1.6, ms=5)
