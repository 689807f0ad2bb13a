"""The book's tables, from records to Markdown."""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import pandas as pd
import torch
from IPython.display import Markdown

from bitslice import analysis
from bitslice.analysis import CLAIMED_BITS, Claim, Simulated, Spread, spread
from bitslice.costs.designs import Design
from bitslice.costs.models import SABERI, AbsoluteAdc, AdcModel
from bitslice.crossbar.geometry import AdcSetting, RowOrder, setting_name
from bitslice.crossbar.mapping import MappedLayer
from bitslice.crossbar.report import Report, Setting
from bitslice.crossbar.statistics import BitlineSums, resolution
from bitslice.crossbar.tolerance import ToleranceReport
from bitslice.experiments import CLAIMED, Method
from bitslice.figures import METHOD_NAMES
from bitslice.records import Record


def markdown(rows: Sequence[Mapping[str, Any]]) -> Markdown:
    """Rows of equal keys as a Markdown table; a line in its place where there are none."""
    if not rows:
        return Markdown("*No runs to show.*")
    return Markdown(pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True))


def claims(found: Iterable[Claim]) -> list[dict[str, Any]]:
    """The claims table."""
    return [
        {"Claim": c.claim, "Claimed": c.claimed, "Reproduced": c.reproduced, "n": c.n, "Verdict": f"**{c.verdict}**"}
        for c in found
    ]


def methods(runs: Mapping[str, Sequence[Record]]) -> list[dict[str, Any]]:
    """The paper's table: a row a method, runs of equal alpha, mean and standard deviation over seeds.

    Args:
        runs: by method; a float network has no slices.
    """
    rows = []
    for method, records in runs.items():
        alpha = records[0].config.alpha
        row = {"Method": METHOD_NAMES[method], "alpha": "–" if alpha is None else f"{alpha:g}", "n": len(records)}
        row["Accuracy"] = spread(records, lambda r: r.accuracy).text()
        sliced = records[0].config.method is not Method.FLOAT
        for place, name in enumerate(CLAIMED_BITS):
            shares = spread(records, lambda r, k=place: r.density[k]) if sliced else None  # type: ignore[misc]
            row[name] = _text(shares)
        row["Mean"] = _text(spread(records, lambda r: r.mean_density) if sliced else None)
        rows.append(row)
    return rows


def equal_accuracy(sweeps: Mapping[str, Sequence[Record]], levels: Iterable[float]) -> list[dict[str, Any]]:
    """Mean densities at equal accuracy, and how many times denser L1 is than each other method, seed by seed.

    Args:
        sweeps: by method, ``l1`` among them.
        levels: accuracies in percent; one that L1 or every other method leaves uncovered has no row.
    """
    others = [method for method in sweeps if method != "l1"]
    rows = []
    for level in levels:
        ratios = {method: analysis.density_ratio(sweeps["l1"], sweeps[method], level) for method in others}
        if not any(ratios.values()):
            continue
        row = {"Accuracy (%)": f"{level:.2f}"}
        for method, runs in sweeps.items():
            row[f"{METHOD_NAMES[method]}, density (%)"] = _text(analysis.density_at(runs, level))
        for method, ratio in ratios.items():
            row[f"L1 / {METHOD_NAMES[method]}"] = _with_verdict(ratio)
        rows.append(row)
    return rows


def against_pruning(
    pruned: Sequence[Record], sweeps: Mapping[str, Sequence[Record]], given_up: Iterable[float]
) -> list[dict[str, Any]]:
    """How many times denser the pruned network is than each swept method, some points of accuracy below it."""
    return [
        {"Accuracy given up (points)": f"{points:.1f}"}
        | {
            f"Pruned / {METHOD_NAMES[method]}": _with_verdict(analysis.pruned_ratio(pruned, runs, points))
            for method, runs in sweeps.items()
        }
        for points in given_up
    ]


def _with_verdict(ratio: Spread | None) -> str:
    return "–" if ratio is None else f"{ratio.text(unit='x')} (n={ratio.n}), 2x {analysis.verdict(ratio, 2)}"


def _text(value: Spread | None) -> str:
    return "–" if value is None else value.text()


def beside_released(live: Iterable[Record], released: Sequence[Record]) -> list[dict[str, Any]]:
    """The reader's own runs beside the released ones of equal method, alpha and seed."""
    rows = []
    for record in live:
        twin = next(
            (r for r in released if (r.config.experiment, r.path.stem) == (record.config.experiment, record.path.stem)),
            None,
        )
        rows.append(
            {
                "Run": record.path.stem,
                "Profile": record.config.profile.value,
                "Accuracy, live (%)": f"{record.accuracy:.2f}",
                "released (%)": "–" if twin is None else f"{twin.accuracy:.2f}",
                "Mean density, live (%)": f"{record.mean_density:.2f}",
                "released, density (%)": "–" if twin is None else f"{twin.mean_density:.2f}",
            }
        )
    return rows


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


def adc_claims(reports: Mapping[str, Sequence[Report]], margin: float = 0.5) -> list[dict[str, Any]]:
    """Claimed, computed and simulated ADCs: a row a method, resolutions in the order B0,B1,B2,B3.

    Args:
        reports: by method, one a seed.
        margin: points of accuracy that the cheapest ADCs may cost.
    """
    rows = []
    for method, found in reports.items():
        digital = Spread(tuple(report.digital_accuracy for report in found))
        simulated = analysis.accuracies(found)
        enough = [
            (setting.energy, setting_name(setting.adc_bits))
            for setting in found[0].settings
            if setting.energy is not None
            and None not in setting.adc_bits
            and simulated[setting.adc_bits].mean >= digital.mean - margin
        ]
        rows.append(
            {
                "Network": METHOD_NAMES[method],
                "n": len(found),
                "Without crossbars (%)": _text(digital),
                f"Claimed, {setting_name(CLAIMED)} (%)": _text(simulated.get(CLAIMED)),
                "Lossless on the images observed": setting_name(_largest(found, "observed_bits")),
                "for any input": setting_name(_largest(found, "bound_bits")),
                f"Cheapest tried within {margin:g} points": min(enough)[1] if enough else "–",
            }
        )
    return rows


REMEDIES = {
    "report": "As trained",
    "spread": "Rows spread",
    "calibrated": "Calibrated",
    "spread-calibrated": "Rows spread, calibrated",
    "headroom": "Rows spread, 2 bits of headroom",
    "headroom-calibrated": "Rows spread, 2 bits of headroom, calibrated",
}
"""Kinds of report, by their folder, with what was done for small ADCs."""

ADAPTATIONS = {
    "Trained through ADCs": (RowOrder.CONSECUTIVE, 0),
    "Rows spread, trained through ADCs": (RowOrder.SPREAD, 0),
    "Rows spread, 2 bits of headroom, trained through ADCs": (RowOrder.SPREAD, 2),
}
"""What was done before and while networks were adapted to their ADCs: the order of rows, and bits of headroom."""


def remedies(
    reports: Mapping[str, Mapping[str, Sequence[Report]]], adapted: Mapping[str, Mapping[str, Sequence[Record]]]
) -> list[dict[str, Any]]:
    """Accuracy with the claimed ADCs: a row a remedy, a column a method, mean and standard deviation over seeds.

    Args:
        reports: by kind (a key of ``REMEDIES``) and method, one a seed; a kind without any has no row.
        adapted: records of runs adapted to the claimed ADCs, by a key of ``ADAPTATIONS`` and method; likewise.
    """
    methods = reports["report"]

    def row(title: str, accuracies: Mapping[str, Spread | None]) -> dict[str, Any]:
        cells = {}
        for method, found in methods.items():
            own = accuracies.get(method)
            count = f" (n={own.n})" if own and own.n != len(found) else ""
            cells[f"{METHOD_NAMES[method]} (%, n={len(found)})"] = _text(own) + count
        return {"For the ADCs": title} | cells

    def through_adcs(record: Record) -> float:
        return float(record.final["adc_accuracy"])

    rows = [row("No ADCs", {m: Spread(tuple(r.digital_accuracy for r in found)) for m, found in methods.items()})]
    for kind, title in REMEDIES.items():
        if found := reports.get(kind):
            rows.append(row(title, {m: analysis.accuracies(listed).get(CLAIMED) for m, listed in found.items()}))
    trained = {title: adapted[title] for title in ADAPTATIONS if adapted.get(title)}
    return rows + [
        row(t, {m: spread(listed, through_adcs) for m, listed in runs.items()}) for t, runs in trained.items()
    ]


def adapted_costs(
    records: Sequence[Record], adapted: Mapping[str, Mapping[str, Sequence[Record]]]
) -> list[dict[str, Any]]:
    """What the ADCs cost networks that were adapted to them, a row an adaptation and method.

    Args:
        records: to find the networks in that the adapted ones started from.
        adapted: runs by a key of ``ADAPTATIONS`` and method, one a seed.
    """
    costs = {(t, m): analysis.adapted_cost(records, runs) for t, found in adapted.items() for m, runs in found.items()}
    return [
        {"Network": METHOD_NAMES[m], "Adapted": title, "n": str(cost.n), "Points lost": cost.text()}
        for (title, m), cost in costs.items()
        if cost
    ]


def _largest(reports: Sequence[Report], key: str) -> tuple[int, ...]:
    """The largest of one statistic over layers and networks, per slice, B0 first."""
    slices = [[s[key] for s in layer["slices"]] for report in reports for layer in report.layers]
    return tuple(max(column) for column in zip(*slices, strict=True))


def adc_settings(reports: Mapping[str, Sequence[Report]]) -> list[dict[str, Any]]:
    """Accuracy under every choice of ADCs, and what those ADCs cost.

    Args:
        reports: by what distinguishes them; equal runs are averaged. Costs are those of the first that has them.
    """
    curves = {label: analysis.accuracies(found) for label, found in reports.items()}
    costs: dict[AdcSetting, Setting] = {}
    for setting in (setting for found in reports.values() for report in found for setting in report.settings):
        costs.setdefault(setting.adc_bits, setting)
    return [
        {"ADC bits, B0,B1,B2,B3": setting_name(bits)}
        | {f"{label} (%)": _text(curve.get(bits)) for label, curve in curves.items()}
        | {
            "Energy (uJ)": _number(None if None in bits else setting.energy, 1e6),
            "Latency (us)": _number(None if None in bits else setting.latency, 1e6),
            "Area (mm²)": _number(None if None in bits else setting.area, 1),
        }
        for bits, setting in costs.items()
    ]


def networks(groups: Mapping[str, Sequence[Simulated]]) -> list[dict[str, Any]]:
    """Accuracy in percent under every choice of ADCs, a row a group of networks: mean and standard deviation over them.

    Args:
        groups: by what the row is called; a setting that a group was not run with has a dash.
    """
    curves = {label: analysis.accuracies(report for _, report in group) for label, group in groups.items()}
    settings = list(dict.fromkeys(bits for curve in curves.values() for bits in curve))
    return [
        {
            "Network": label,
            "n": str(len(group)),
            "Mean density (%)": _text(spread((run for run, _ in group), lambda run: run.mean_density)),
        }
        | {setting_name(bits): _text(curves[label].get(bits)) for bits in settings}
        for label, group in groups.items()
    ]


def _number(value: float | None, scale: float) -> str:
    if value is None:
        return "–"
    return f"{scale * value:.3g}" if scale * value < 100 else f"{scale * value:,.0f}"


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


def departures(reports: Mapping[str, Sequence[ToleranceReport]]) -> list[dict[str, Any]]:
    """Accuracy in percent by departure and strength, over networks and chips.

    Args:
        reports: by what distinguishes them; equal ones are pooled.
    """
    points = dict.fromkeys((m.kind, m.strength) for found in reports.values() for r in found for m in r.measured)
    return [
        {
            "Departure": "none" if kind is None else f"`{kind}`",
            "Strength": "–" if strength is None else f"{strength:g}",
        }
        | {f"{label} (%)": _text(analysis.tolerated(found, kind).get(strength)) for label, found in reports.items()}
        for kind, strength in points
    ]


def adc_models(models: Iterable[AdcModel]) -> list[dict[str, Any]]:
    """ADC cost models: what they say, where they hold, where they come from."""
    return [
        {
            "Model": model.title,
            "Name": f"`{model.name}`",
            "Formula": f"`{model.formula}`",
            "Units": "absolute" if isinstance(model, AbsoluteAdc) else "relative",
            "Bits": f"{model.least}–{model.most}",
            "Source": f"{{cite}}`{model.source}`",
        }
        for model in models
    ]


def savings_by_model(models: Iterable[AdcModel], bits: int, reference_bits: int) -> list[dict[str, Any]]:
    """What one ADC saves against ``reference_bits``, model by model; dashes outside a model's range."""
    kinds = {
        "Power": AdcModel.power_saving,
        "Time": AdcModel.time_saving,
        "Energy a conversion": AdcModel.energy_saving,
        "Area": AdcModel.area_saving,
    }
    rows = []
    for model in models:
        holds = model.holds(bits) and model.holds(reference_bits)
        found = {
            kind: _saving(saving(model, bits, reference_bits) if holds else None) for kind, saving in kinds.items()
        }
        rows.append({f"{bits} against {reference_bits} bits": model.title} | found)
    return rows


def _saving(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}x" if value < 100 else f"{value:,.0f}x"


def designs(found: Iterable[Design]) -> list[dict[str, Any]]:
    """Published ADCs."""
    return [
        {
            "Design": f"{design.title} {{cite}}`{design.source}`",
            "Bits": str(design.bits),
            "GS/s": f"{design.sample_rate / 1e9:g}",
            "Power (mW)": f"{1e3 * design.power:.3g}",
            "Area (um²)": f"{design.area:.0f}",
            "pJ a conversion": f"{1e12 * design.energy:.2f}",
            "Walden (fJ a step)": f"{1e15 * design.walden:.1f}",
            "Schreier (dB)": f"{design.schreier:.1f}",
        }
        for design in found
    ]


def versions(found: Mapping[str, str], commit: str | None) -> list[dict[str, Any]]:
    """Versions of what the book was built with."""
    own = [{"Package": "bitslice, commit", "Version": commit or "unknown"}]
    return own + [{"Package": name, "Version": version} for name, version in found.items()]


def timings(records: Iterable[Record]) -> list[dict[str, Any]]:
    """Where and how long groups of equal runs (all but seed and alpha) trained."""
    groups: dict[tuple[str, ...], list[Record]] = {}
    for record in records:
        source = record.provenance
        key = (
            record.config.experiment,
            record.config.method.value + ", adapted to ADCs" * (record.config.adapt is not None),
            record.config.profile.value,
            (source["commit"] or "unknown")[:12],
            f"{source['device']}, {source['threads']} thread" + "s" * (source["threads"] != 1),
        )
        groups.setdefault(key, []).append(record)
    names = ("Experiment", "Method", "Profile", "Commit", "Device")
    return [
        dict(zip(names, key, strict=True))
        | {"Runs": len(runs), "Seconds a run": spread(runs, lambda r: float(r.provenance["wall_seconds"])).text(0)}
        for key, runs in groups.items()
    ]
