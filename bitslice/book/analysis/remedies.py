"""What accuracy small ADCs leave after all that was tried, and how far below the quantized network that is."""

from collections.abc import Iterable, Sequence

from bitslice.book.analysis.seeds import Spread, spread
from bitslice.book.analysis.selection import by_alpha, released, select
from bitslice.book.analysis.simulated import accuracies, seed_of
from bitslice.book.analysis.tried import ADAPTATIONS, ALLOCATED, REMEDIES, Tried
from bitslice.crossbar import resolution
from bitslice.lab.adaptation import CLAIMED
from bitslice.lab.records import Record
from bitslice.lab.words import Method

WITHOUT = "Without ADCs"
"""Title of what all remedies are measured by."""

MEAN = sum(CLAIMED) / len(CLAIMED)
"""Bits of a conversion on average in the claimed ADCs."""

KEPT = 0.5
"""Points of accuracy up to which it counts as kept."""


def by_remedy(tried: Tried) -> dict[str, dict[str, Spread]]:
    """Accuracy in percent with the claimed ADCs, by remedy and method, over seeds; first that :data:`WITHOUT` ADCs.

    Where resolutions are allocated, there are as many bits on average as in the claimed ones.
    """
    found = {WITHOUT: {m: Spread(tuple(r.digital_accuracy for r in own)) for m, own in tried.reports["report"].items()}}
    for kind, title in REMEDIES.items():
        each = {m: accuracies(own).get(CLAIMED) for m, own in tried.reports.get(kind, {}).items()}
        found[title] = {method: accuracy for method, accuracy in each.items() if accuracy}
    each = {m: accuracies(own).get(MEAN) for m, own in tried.reports.get("levels", {}).items()}
    found[ALLOCATED] = {method: accuracy for method, accuracy in each.items() if accuracy}
    for title in ADAPTATIONS:
        found[title] = {
            method: spread(runs, lambda run: float(run.final["adc_accuracy"]))
            for method, runs in tried.adapted.get(title, {}).items()
            if runs
        }
    return {title: methods for title, methods in found.items() if methods}


def below_quantized(records: Sequence[Record], runs: Iterable[Record]) -> Spread | None:
    """Points of accuracy that networks on their ADCs lie below the quantized network, without ADCs, of their seed.

    Args:
        records: to find the quantized networks in.
        runs: adapted to ADCs, one a seed.

    Returns:
        Over seeds; None if no quantized network of theirs is among ``records``.
    """
    quantized = {record.config: record for record in records}
    pairs = [(quantized.get(run.config.pretrained()), run) for run in runs]
    lost = tuple(start.accuracy - float(run.final["adc_accuracy"]) for start, run in pairs if start is not None)
    return Spread(lost) if lost else None


def allocated_below(tried: Tried) -> dict[str, Spread]:
    """By method, points below the quantized network of its seed with as many bits on average as in the claimed ADCs."""
    exact = tried.plain.get(Method.QUANTIZED.value, [])
    quantized = {seed_of(report): report.digital_accuracy for report in exact}
    found: dict[str, list[float]] = {}
    for method, reports in tried.reports.get("levels", {}).items():
        for report in reports:
            for setting in report.settings:
                if setting.asked == MEAN and seed_of(report) in quantized:
                    found.setdefault(method, []).append(quantized[seed_of(report)] - setting.accuracy)
    return {method: Spread(tuple(lost)) for method, lost in found.items()}


def closest_adcs(records: Sequence[Record], tried: Tried) -> dict[str, tuple[str, Spread] | None]:
    """Which networks come closest to the quantized one on the claimed ADCs, as method and points below it, by what was
    done; None where nothing was.

    Headroom empties the most significant slice, so its 1-bit ADC reads nothing: that stands apart, and so do ADCs of as
    many bits on average that were allocated to layers and slices of networks as they are.

    Args:
        records: to find the quantized networks in.
        tried: with the networks of one experiment.
    """

    def through(headroom: bool) -> list[tuple[str, Spread]]:
        return [
            (method, below)
            for methods in tried.adapted.values()
            for method, runs in methods.items()
            if runs
            and runs[0].config.adapt
            and runs[0].config.adapt.adc_bits == CLAIMED
            and bool(runs[0].config.adapt.headroom) == headroom
            and (below := below_quantized(records, runs))
        ]

    ways = {
        "As many bits, allocated": [*allocated_below(tried).items()],
        "Trained through": through(headroom=False),
        "Likewise, on three slices": through(headroom=True),
    }
    return {title: min(found, key=lambda each: each[1].mean, default=None) for title, found in ways.items()}


def _accuracy(runs: Sequence[Record]) -> str:
    found = spread(runs, lambda run: run.accuracy)
    return f"{found.text(2, '%')} (n={found.n})"


def column_finding(experiment: str, records: Sequence[Record], name: str) -> str | None:
    """In words: what TinyADC's constraint leaves of the accuracy, by the ADCs that it makes lossless by design.

    Args:
        experiment: its name.
        records: runs, of which those with column pruning count, of the profile released.
        name: what the experiment is called.

    Returns:
        None where there is no such run.
    """
    profile = released(records)[experiment]
    runs = select(records, experiment, Method.COLUMN, profile)
    told = [
        f"{weights:g} weights {resolution(3 * int(weights))} bits and {_accuracy(own)}"
        for weights, own in by_alpha(runs).items()
    ]
    if not told:
        return None
    quantized = _accuracy(select(records, experiment, Method.QUANTIZED, profile))
    return f"{name}, a column: {'; '.join(told)}; *Quantized* without ADCs {quantized}"
