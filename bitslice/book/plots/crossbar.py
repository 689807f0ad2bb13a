"""Figures of the pages on bitline sums, on accuracy with small ADCs, and on cells that are not ideal."""

from collections.abc import Iterable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, NullLocator
from torch import Tensor

from bitslice.book.analysis import CLAIMED_BITS, WITHOUT, Simulated, Spread, accuracies, named, slice_bits, tolerated
from bitslice.book.figures import EXPERIMENT_NAMES, INK, METHOD_COLOURS, METHOD_MARKERS, METHOD_NAMES, SLICE_COLOURS
from bitslice.crossbar.adc import AdcSetting, setting_name
from bitslice.crossbar.statistics import BitlineSums, resolution
from bitslice.lab.records import Record
from bitslice.lab.report import Report
from bitslice.lab.tolerance import ToleranceReport

KIND_NAMES = {
    "variation": "conductance variation (log std)",
    "read_noise": "read noise (cell levels)",
    "stuck_off": "share of cells stuck off",
    "stuck_on": "share of cells stuck on",
    "on_off_ratio": "on/off ratio",
}
"""Fields of :class:`bitslice.crossbar.NonIdealities` as axes name them."""


def columns(arrays: Mapping[str, Tensor], largest: int = 3) -> Figure:
    """Small arrays with the largest sum of each bitline, and the ADC resolution that the largest of them asks for.

    Args:
        arrays: by title, cell levels ``(wordlines, bitlines)``.
        largest: level that is drawn darkest.
    """
    figure, panels = plt.subplots(1, len(arrays), figsize=(9, 3.2))
    for panel, (title, cells) in zip(panels, arrays.items(), strict=True):
        rows, width = cells.shape
        for (i, j), level in np.ndenumerate(cells.numpy()):
            shade = 0.15 + 0.7 * level / largest if level else 0
            panel.add_patch(Rectangle((j, rows - 1 - i), 1, 1, fc="#0072B2", alpha=shade, ec="none"))
            panel.add_patch(Rectangle((j, rows - 1 - i), 1, 1, fc="none", ec="0.55", lw=0.6))
            if level:
                panel.text(j + 0.5, rows - 0.5 - i, str(level), ha="center", va="center")
        sums = cells.sum(dim=0).tolist()
        for j, total in enumerate(sums):
            panel.text(j + 0.5, -0.45, str(total), ha="center", va="center", weight="bold")
        panel.text(-0.2, -0.45, "sum", ha="right", va="center")
        bits = resolution(max(sums))
        panel.set_title(f"{title}\nADC: {bits} bit" + "s" * (bits != 1))
        panel.set(xlim=(-1.2, width + 0.1), ylim=(-0.9, rows + 0.1), aspect="equal")
        panel.set_axis_off()
    return figure


def sums_by_slice(sums: Sequence[BitlineSums]) -> Figure:
    """Distribution of bitline sums per slice, with what the claimed ADC can convert.

    Args:
        sums: per slice, B0 first.
    """
    figure, panels = plt.subplots(1, len(sums), figsize=(9.5, 3), sharey=True, squeeze=False)
    claimed = len(sums) == len(CLAIMED_BITS)
    for panel, (k, slice_sums) in zip(panels[0], reversed(list(enumerate(sums))), strict=True):
        name = f"B{k}"
        share = slice_sums.counts[: slice_sums.observed + 1] / slice_sums.counts.sum()
        panel.bar(range(len(share)), share.numpy(), width=1, color=SLICE_COLOURS.get(name, "0.5"))
        panel.set_title(name, fontsize=10)
        if claimed:
            bits = CLAIMED_BITS[name]
            panel.axvline(2**bits - 0.5, color=INK, lw=1, ls="--")
            panel.set_title(
                f"{name}: {100 * slice_sums.beyond(2**bits - 1):.2g}% beyond {bits} bit" + "s" * (bits != 1),
                fontsize=10,
            )
        panel.set_xlabel("bitline sum")
        panel.set_yscale("log")
    panels[0, 0].set_ylabel("share of conversions")
    return figure


def bits_by_method(runs: Mapping[str, Sequence[Record]]) -> Figure:
    """Lossless ADC resolution per slice and method, mean over seeds, beside the paper's claim.

    Args:
        runs: by method, one a seed.
    """
    figure, axes = plt.subplots(figsize=(8, 3.4))
    width = 0.8 / len(runs)
    for place, (method, records) in enumerate(runs.items()):
        positions = np.arange(len(SLICE_COLOURS)) + (place - (len(runs) - 1) / 2) * width
        observed = [slice_bits(records, name, "observed") for name in SLICE_COLOURS]
        bound = [slice_bits(records, name, "bound") for name in SLICE_COLOURS]
        axes.bar(
            positions,
            [s.mean for s in bound],
            width * 0.95,
            color=METHOD_COLOURS[method],
            alpha=0.3,
            label=f"_{METHOD_NAMES[method]}, any input",
        )
        axes.bar(
            positions,
            [s.mean for s in observed],
            width * 0.95,
            color=METHOD_COLOURS[method],
            label=METHOD_NAMES[method],
        )
    for place, bits in enumerate(CLAIMED_BITS[name] for name in SLICE_COLOURS):
        label = "claimed for bit-slice L1" if place == 0 else None
        axes.plot([place - 0.45, place + 0.45], [bits, bits], color=INK, lw=2, ls="--", label=label)
    axes.set_xticks(range(len(SLICE_COLOURS)), list(SLICE_COLOURS))
    axes.set_ylabel("ADC resolution (bits)")
    axes.set_ylim(0, resolution(2**8) + 1)
    figure.legend(loc="outside upper center", ncols=3)
    return figure


def accuracy_by_setting(reports: Mapping[str, Mapping[str, Sequence[Report]]]) -> Figure:
    """Accuracy under every choice of ADCs, one panel an experiment: mean over seeds, bars of one standard deviation.

    Args:
        reports: by experiment and method, one a seed.
    """
    figure, panels = plt.subplots(len(reports), 1, figsize=(9.5, 0.4 + 1.5 * len(reports)), squeeze=False)
    for panel, (experiment, shown) in zip(panels[:, 0], reports.items(), strict=True):
        curves = {name: accuracies(found) for name, found in shown.items()}
        places = {bits: k for k, bits in enumerate(dict.fromkeys(bits for curve in curves.values() for bits in curve))}
        for number, (name, curve) in enumerate(curves.items()):
            aside = 0.06 * (number - (len(curves) - 1) / 2)
            _curve(panel, name, [places[bits] + aside for bits in curve], curve.values(), f" (n={len(shown[name])})")
        panel.set_xticks(range(len(places)), [named(bits) for bits in places])
        panel.set_title(EXPERIMENT_NAMES[experiment])
        panel.set_ylabel("test accuracy (%)")
        panel.legend(loc="upper left", bbox_to_anchor=(1, 1))
    panels[-1, 0].set_xlabel("ADC bits: of all slices, or of B0,B1,B2,B3")
    return figure


def accuracy_by_remedy(found: Mapping[str, Mapping[str, Mapping[str, Spread]]]) -> Figure:
    """Accuracy on the claimed ADCs, a line a remedy, a panel an experiment; bars of one standard deviation.

    Args:
        found: by experiment, what :func:`bitslice.book.analysis.by_remedy` gives.
    """
    heights = [0.8 + 0.19 * len(remedies) for remedies in found.values()]
    figure, panels = plt.subplots(
        len(found), 1, figsize=(9, 0.6 + sum(heights)), squeeze=False, height_ratios=heights, sharex=True
    )
    for panel, (experiment, remedies) in zip(panels[:, 0], found.items(), strict=True):
        methods = list(dict.fromkeys(method for each in remedies.values() for method in each))
        for number, method in enumerate(methods):
            aside = 0.12 * (number - (len(methods) - 1) / 2)
            marks = [(own[method], place) for place, own in enumerate(remedies.values()) if method in own]
            panel.errorbar(
                [value.mean for value, _ in marks],
                [place + aside for _, place in marks],
                xerr=[value.deviation for value, _ in marks],
                fmt=METHOD_MARKERS[method],
                color=METHOD_COLOURS[method],
                label=METHOD_NAMES[method],
                ms=5,
                capsize=2,
                elinewidth=0.8,
            )
        if "quantized" in remedies[WITHOUT]:
            panel.axvline(remedies[WITHOUT]["quantized"].mean, color=METHOD_COLOURS["quantized"], lw=1, ls="--")
        panel.set_yticks(range(len(remedies)), list(remedies))
        panel.set_ylim(len(remedies) - 0.5, -0.5)
        panel.set_title(EXPERIMENT_NAMES[experiment])
    panels[-1, 0].set_xlabel("test accuracy (%); dashed: Quantized without ADCs")
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=5)
    return figure


def accuracy_by_energy(networks: Mapping[str, Sequence[Simulated]]) -> Figure:
    """Accuracy against the energy of all ADCs, a panel an experiment, a mark a network and setting.

    Args:
        networks: by experiment; settings whose energy the cost model does not tell are left out.
    """
    figure, panels = plt.subplots(1, len(networks), figsize=(9.5, 3.6), sharey=True, squeeze=False)
    for panel, (experiment, found) in zip(panels[0], networks.items(), strict=True):
        for method in METHOD_COLOURS:
            marks = [
                (1e6 * setting.energy, setting.accuracy)
                for run, report in found
                if run.config.method.value == method
                for setting in report.settings
                if setting.energy is not None
            ]
            if marks:
                style = {"color": METHOD_COLOURS[method], "label": METHOD_NAMES[method], "alpha": 0.6, "mec": "none"}
                panel.plot(*zip(*marks, strict=True), METHOD_MARKERS[method], ms=4, **style)
        panel.set_title(EXPERIMENT_NAMES[experiment])
        panel.set_xlabel("energy of the ADCs (uJ an image)")
    panels[0, 0].set_ylabel("test accuracy (%)")
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=5)
    return figure


def accuracy_by_density(networks: Mapping[str, Sequence[Simulated]], settings: Sequence[AdcSetting]) -> Figure:
    """Accuracy with small ADCs against the mean density of slices: a row of panels an experiment, a mark a network.

    Args:
        networks: by experiment.
        settings: ADC resolutions, B0 first, one a column.
    """
    shape = len(networks), len(settings)
    figure, panels = plt.subplots(
        *shape, figsize=(9, 0.4 + 2.4 * len(networks)), sharex="row", sharey=True, squeeze=False
    )
    for row, (experiment, found) in zip(panels, networks.items(), strict=True):
        for panel, bits in zip(row, settings, strict=True):
            for method in METHOD_COLOURS:
                marks = [
                    (run.mean_density, setting.accuracy)
                    for run, report in found
                    if run.config.method.value == method
                    for setting in report.settings
                    if setting.adc_bits == bits
                ]
                if marks:
                    panel.plot(
                        *zip(*marks, strict=True),
                        METHOD_MARKERS[method],
                        color=METHOD_COLOURS[method],
                        label=METHOD_NAMES[method],
                        alpha=0.75,
                        mec="none",
                    )
            panel.set_title(f"{EXPERIMENT_NAMES[experiment]}, {setting_name(bits)}", fontsize=10)
            panel.set_xscale("log")
            panel.xaxis.set_major_locator(FixedLocator([1, 2, 5, 10, 20, 50]))
            panel.xaxis.set_major_formatter("{x:g}")
            panel.xaxis.set_minor_locator(NullLocator())
        row[0].set_ylabel("test accuracy (%)")
    for panel in panels[-1]:
        panel.set_xlabel("mean density of slices (%)")
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=5)
    return figure


def accuracy_by_strength(reports: Mapping[str, Mapping[str, Sequence[ToleranceReport]]]) -> Figure:
    """Accuracy against the strength of every departure: mean and standard deviation over networks and chips.

    Args:
        reports: by experiment and method, one a network.
    """
    figure = plt.figure(figsize=(9.5, 5.6 * len(reports)))
    parts = figure.subfigures(len(reports), 1, squeeze=False)[:, 0]
    for part, (experiment, methods) in zip(parts, reports.items(), strict=True):
        part.suptitle(EXPERIMENT_NAMES[experiment], fontsize=12)
        panels = part.subplots(2, 3, sharey=True).flat
        for panel, (kind, name) in zip(panels, KIND_NAMES.items(), strict=False):
            for number, (method, found) in enumerate(methods.items()):
                curve = tolerated(found, kind)
                aside = 0.08 * (number - (len(methods) - 1) / 2)
                _curve(panel, method, [k + aside for k in range(len(curve))], curve.values())
            panel.set_xticks(range(len(curve)), ["ideal" if s is None else f"{s:g}" for s in curve])
            panel.set_xlabel(name)
        for panel in (panels[0], panels[3]):
            panel.set_ylabel("test accuracy (%)")
        panels[5].set_axis_off()
        panels[5].legend(*panels[0].get_legend_handles_labels(), loc="center")
    return figure


def _curve(axes: Axes, name: str, positions: Sequence[float], values: Iterable[Spread], note: str = "") -> None:
    """Means of one curve, with bars of one standard deviation; curves stand a little aside of each other."""
    values = list(values)
    axes.errorbar(
        positions,
        [value.mean for value in values],
        [value.deviation for value in values],
        fmt=f"{METHOD_MARKERS[name]}-",
        color=METHOD_COLOURS[name],
        label=METHOD_NAMES[name] + note,
        lw=1.4,
        ms=5,
        capsize=2,
        elinewidth=0.8,
    )
