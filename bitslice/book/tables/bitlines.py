"""Tables of bitline sums and of the ADC resolution that they ask for."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch

from bitslice.book import analysis
from bitslice.book.analysis import CLAIMED_BITS, Spread
from bitslice.book.figures import METHOD_NAMES
from bitslice.costs.models import SABERI
from bitslice.crossbar.mapped_layer import MappedLayer
from bitslice.crossbar.statistics import BitlineSums, resolution
from bitslice.lab.records import Record
from bitslice.lab.report import Report


def adc_bits(runs: Mapping[str, Sequence[Record]]) -> list[dict[str, Any]]:
    """Lossless ADC resolution by slice and method, and the mean power saving it gives by the capacitive model."""
    rows: list[dict[str, Any]] = [
        {"Network": "claimed for bit-slice L1", "n": "–"}
        | {name: str(bits) for name, bits in CLAIMED_BITS.items()}
        | {"ADC power saving": f"{_mean_saving(list(CLAIMED_BITS.values())):.1f}x"}
    ]
    for method, records in runs.items():
        for kind in ("observed", "bound"):
            bits = {name: analysis.slice_bits(records, name, kind) for name in CLAIMED_BITS}
            saving = Spread(
                tuple(_mean_saving([round(bits[name].values[i]) for name in CLAIMED_BITS]) for i in range(len(records)))
            )
            rows.append(
                {"Network": f"{METHOD_NAMES[method]}, {kind}", "n": len(records)}
                | {name: value.text(1) for name, value in bits.items()}
                | {"ADC power saving": saving.text(1, "x")}
            )
    return rows


def _mean_saving(bits: Sequence[int]) -> float:
    """Power of four 8-bit ADCs over that of the ADCs with these ``bits``, which convert equally often; no ADC has 0."""
    power = sum(SABERI.power(b) for b in bits if b)
    return len(bits) * SABERI.power(8) / power if power else math.inf


def saved_bits(baseline: Sequence[Record], variant: Sequence[Record]) -> list[dict[str, Any]]:
    """Where the ADC resolution goes, slice by slice: to a network's columns, to its inputs, to how it was trained.

    Args:
        baseline: runs without a regularizer, one a seed.
        variant: runs of the same seeds with one.
    """
    pairs = analysis.paired(baseline, variant)
    rows = []
    for name, claimed in CLAIMED_BITS.items():
        full = Spread(tuple(float(resolution(3 * theirs.config.rows)) for theirs, _ in pairs))
        bound, observed = (analysis.slice_bits([a for a, _ in pairs], name, kind) for kind in ("bound", "observed"))
        left = analysis.slice_bits([b for _, b in pairs], name, "observed")
        stages = (full, bound, observed, left)
        saved = [
            Spread(tuple(a - b for a, b in zip(before.values, after.values, strict=True))).text(1)
            for before, after in pairwise(stages)
        ]
        names = ("saved by columns", "by inputs", f"by {METHOD_NAMES[variant[0].config.method.value]}")
        rows.append(
            {"Slice": name, "Full array (bits)": f"{full.mean:.0f}"}
            | dict(zip(names, saved, strict=True))
            | {"left": left.text(1), "claimed": str(claimed)}
        )
    return rows


def fullest_columns(layers: Sequence[MappedLayer]) -> list[dict[str, Any]]:
    """Average and fullest bitline of every slice over all arrays of a network, most significant slice first."""
    slices = range(layers[0].slices)
    bounds = [torch.cat([layer.bounds[:, :, :, k].flatten() for layer in layers]) for k in slices]
    cells = [torch.cat([layer.levels()[:, :, k].sum(dim=1).flatten() for layer in layers]) for k in slices]
    return [
        {
            "Slice": f"B{k}",
            "Weights with a set cell (%)": f"{100 * cells[k].ne(0).float().mean():.2f}",
            "Average bitline: largest sum": f"{bounds[k].float().mean():.2f}",
            "Fullest bitline: largest sum": str(int(bounds[k].max())),
            "ADC bits for the average": str(resolution(math.ceil(bounds[k].float().mean()))),
            "for the fullest": str(resolution(int(bounds[k].max()))),
        }
        for k in reversed(slices)
    ]


def sums_compared(sums: Mapping[str, Sequence[BitlineSums]]) -> list[dict[str, Any]]:
    """Bitline sums slice by slice, most significant first, networks side by side.

    Args:
        sums: of each network per slice, B0 first, by what distinguishes it.
    """
    rows = []
    for label, slices in sums.items():
        for k, found in reversed(list(enumerate(slices))):
            mean = float((found.counts * torch.arange(len(found.counts))).sum() / found.counts.sum())
            rows.append(
                {
                    "Network": label,
                    "Slice": f"B{k}",
                    "Mean sum": f"{mean:.3f}",
                    "99.9% of sums up to": str(found.quantile(0.999)),
                    "Largest sum": str(found.observed),
                    "Lossless (bits)": str(found.observed_bits),
                    "for any input": str(found.bound_bits),
                }
            )
    return rows


def layer_sums(report: Report) -> list[dict[str, Any]]:
    """Bitline sums of a network, a row a layer and slice, most significant slice first."""
    return [
        {
            "Layer": f"`{layer['name']}`",
            "Matrix": f"{layer['wordlines']} x {layer['outputs']}" + f" x {layer['groups']}" * (layer["groups"] > 1),
            "Slice": f"B{k}",
            **{f"{100 * float(share):g}%": str(value) for share, value in sums["quantiles"].items()},
            "Largest sum": str(sums["observed"]),
            "Bound": str(sums["bound"]),
            "Lossless (bits)": str(sums["observed_bits"]),
            "for any input": str(sums["bound_bits"]),
        }
        for layer in report.layers
        for k, sums in reversed(list(enumerate(layer["slices"])))
    ]
