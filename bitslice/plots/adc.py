"""Figures of the page on ADC resolution."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from bitslice.analysis import CLAIMED_BITS, slice_bits
from bitslice.costs.models import SABERI
from bitslice.crossbar.statistics import BitlineSums, resolution
from bitslice.figures import METHOD_COLOURS, METHOD_NAMES, SLICE_COLOURS
from bitslice.records import Record


def sums_by_slice(sums: Sequence[BitlineSums]) -> Figure:
    """Distribution of bitline sums per slice, with what the claimed ADC can convert.

    Args:
        sums: per slice, B0 first.
    """
    figure, panels = plt.subplots(1, len(sums), figsize=(9.5, 3), sharey=True)
    for panel, (k, slice_sums) in zip(panels, reversed(list(enumerate(sums))), strict=True):
        name = f"B{k}"
        share = slice_sums.counts[: slice_sums.observed + 1] / slice_sums.counts.sum()
        panel.bar(range(len(share)), share.numpy(), width=1, color=SLICE_COLOURS.get(name, "0.5"))
        if name in CLAIMED_BITS:
            bits = CLAIMED_BITS[name]
            panel.axvline(2**bits - 0.5, color="0.4", lw=1, ls="--")
            panel.set_title(
                f"{name}: {100 * slice_sums.clipped(bits):.2g}% beyond {bits} bit" + "s" * (bits != 1), fontsize=10
            )
        panel.set_xlabel("bitline sum")
        panel.set_yscale("log")
    panels[0].set_ylabel("share of conversions")
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
        axes.bar(positions, [s.mean for s in bound], width * 0.95, color=METHOD_COLOURS[method], alpha=0.3)
        axes.bar(
            positions,
            [s.mean for s in observed],
            width * 0.95,
            color=METHOD_COLOURS[method],
            label=METHOD_NAMES[method],
        )
    for place, bits in enumerate(CLAIMED_BITS[name] for name in SLICE_COLOURS):
        label = "claimed for bit-slice L1" if place == 0 else None
        axes.plot([place - 0.45, place + 0.45], [bits, bits], color="0.45", lw=2, ls="--", label=label)
    axes.set_xticks(range(len(SLICE_COLOURS)), list(SLICE_COLOURS))
    axes.set_ylabel("ADC resolution (bits)")
    axes.set_ylim(0, resolution(2**8) + 1)
    axes.legend(loc="upper left", ncols=2)
    return figure


def cost_by_bits() -> Figure:
    """Power of one ADC against its resolution, and what that saves against 8 bits."""
    bits = range(1, 10)
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2))
    left.plot(bits, [SABERI.power(b) for b in bits], "o-", color="#0072B2")
    left.set_ylabel("power, $2^N/(N+1)$ (a.u.)")
    left.set_yscale("log")
    right.plot(bits[:8], [SABERI.power_saving(b) for b in bits[:8]], "o-", color="#0072B2", label="power")
    right.plot(bits[:8], [SABERI.time_saving(b) for b in bits[:8]], "s--", color="#D55E00", label="time")
    right.set_ylabel("saving against 8 bits (x)")
    right.legend()
    for axes in (left, right):
        axes.set_xlabel("ADC resolution N (bits)")
        axes.set_xticks(list(bits))
    return figure
