"""Figure of accuracy against what ADCs cost, over all that was tried."""

from collections.abc import Mapping, Sequence
from textwrap import fill

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

from bitslice.book.analysis import ADAPTATIONS, ALLOCATED, KEPT, SHOWN, THROUGH_CLAIMED, Way
from bitslice.book.figures import INK, METHOD_COLOURS, METHOD_MARKERS, METHOD_NAMES


def fronts(networks: Mapping[str, Sequence[Way]], quantized: Mapping[str, float]) -> Figure:
    """Accuracy against comparisons saved, a panel a title: a line for allocated resolutions, small marks for ADCs
    that are alike in all layers, large ones for networks that were trained through other ADCs than the claimed.

    Args:
        networks: what :func:`bitslice.book.analysis.near` gives, by title.
        quantized: accuracy in percent of the quantized network without ADCs, by title.
    """
    figure, panels = plt.subplots(1, len(networks), figsize=(9.5, 4.2), squeeze=False)
    others = ADAPTATIONS.keys() - THROUGH_CLAIMED.keys()
    for panel, (title, found) in zip(panels[0], networks.items(), strict=True):
        top = quantized[title]
        for method in METHOD_COLOURS:
            own = [(way.saving(float, used=True), way) for way in found if way.method == method]
            style = {"color": METHOD_COLOURS[method], "marker": METHOD_MARKERS[method]}
            line = sorted((x, way.accuracy.mean) for x, way in own if way.how == ALLOCATED)
            alike = [(x, way.accuracy.mean) for x, way in own if not isinstance(way.adcs, float)]
            trained = [(x, way.accuracy.mean) for x, way in own if way.how in others]
            if line:
                panel.plot(*zip(*line, strict=True), **style, ms=4, lw=1.2, label=METHOD_NAMES[method])
            if alike:
                panel.plot(*zip(*alike, strict=True), **style, ms=3, ls="none", mfc="none", alpha=0.6)
            if trained:
                panel.plot(*zip(*trained, strict=True), **style, ms=10, ls="none", mec=INK)
        panel.axhline(top, color=METHOD_COLOURS["quantized"], lw=1, ls="--")
        panel.axhline(top - KEPT, color=METHOD_COLOURS["quantized"], lw=1, ls=":")
        panel.set(xscale="log", ylim=(top - SHOWN, top + 1), title=fill(title, 18))
        panel.xaxis.set_major_locator(FixedLocator([1, 2, 3, 5, 10, 20]))
        panel.xaxis.set_minor_locator(NullLocator())
        panel.xaxis.set_major_formatter(StrMethodFormatter("{x:g}x"))
    panels[0, 0].set_ylabel("test accuracy (%)")
    figure.supxlabel("comparisons saved against 8 bits, in columns with a set cell", fontsize=10)
    handles = {
        label: handle for panel in panels[0] for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=6)
    return figure
