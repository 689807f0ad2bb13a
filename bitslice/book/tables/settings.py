"""Tables of accuracy and cost under choices of ADCs, and with cells that are not ideal."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from bitslice.book import analysis
from bitslice.book.analysis import Simulated, Spread, spread
from bitslice.book.tables.cells import number, text
from bitslice.crossbar.adc import AdcChoice, setting_name
from bitslice.lab.adaptation import CLAIMED
from bitslice.lab.report import Report, Setting
from bitslice.lab.tolerance import ToleranceReport


def adc_claims(reports: Mapping[str, Sequence[Report]], margin: float = 0.5) -> list[dict[str, Any]]:
    """Claimed, computed and simulated ADCs: a row a method, resolutions in the order B0,B1,B2,B3.

    Args:
        reports: by what the row is called, one a seed.
        margin: points of accuracy that the cheapest ADCs may cost.
    """
    rows = []
    for label, found in reports.items():
        cheapest = analysis.cheapest_setting(found, margin)
        rows.append(
            {
                "Network": label,
                "n": len(found),
                "Without crossbars (%)": text(Spread(tuple(report.digital_accuracy for report in found))),
                f"Claimed, {setting_name(CLAIMED)} (%)": text(analysis.accuracies(found).get(CLAIMED)),
                "Lossless on the images observed": setting_name(_largest(found, "observed_bits")),
                "for any input": setting_name(_largest(found, "bound_bits")),
                f"Cheapest tried within {margin:g} points": "–" if cheapest is None else setting_name(cheapest),
            }
        )
    return rows


def _largest(reports: Sequence[Report], key: Literal["bound_bits", "observed_bits"]) -> tuple[int, ...]:
    """The largest of one statistic over layers and networks, per slice, B0 first."""
    slices = [[s[key] for s in layer["slices"]] for report in reports for layer in report.layers]
    return tuple(max(column) for column in zip(*slices, strict=True))


def adc_settings(reports: Mapping[str, Sequence[Report]]) -> list[dict[str, Any]]:
    """Accuracy under every choice of ADCs, and what those ADCs cost.

    Args:
        reports: by what distinguishes them; equal runs are averaged. Costs are those of the first that has them.
    """
    curves = {label: analysis.accuracies(found) for label, found in reports.items()}
    costs: dict[AdcChoice, Setting] = {}
    for setting in (setting for found in reports.values() for report in found for setting in report.settings):
        costs.setdefault(setting.adc_bits, setting)
    return [
        {"ADC bits, B0,B1,B2,B3": setting_name(bits)}
        | {f"{label} (%)": text(curve.get(bits)) for label, curve in curves.items()}
        | {
            "Energy (uJ)": number(None if None in bits else setting.energy, 1e6),
            "Latency (us)": number(None if None in bits else setting.latency, 1e6),
            "Area (mm²)": number(None if None in bits else setting.area, 1),
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
            "Mean density (%)": text(spread((run for run, _ in group), lambda run: run.mean_density)),
        }
        | {analysis.named(bits): text(curves[label].get(bits)) for bits in settings}
        for label, group in groups.items()
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
        | {f"{label} (%)": text(analysis.tolerated(found, kind).get(strength)) for label, found in reports.items()}
        for kind, strength in points
    ]
