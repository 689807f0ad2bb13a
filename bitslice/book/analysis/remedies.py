"""What accuracy small ADCs leave after all that was tried, and how far below the quantized network that is."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import product

from bitslice.book.analysis.seeds import Spread, spread
from bitslice.book.analysis.selection import by_alpha, released, select
from bitslice.book.analysis.simulated import accuracies, seed_of
from bitslice.book.analysis.tried import ADAPTATIONS, ALLOCATED, REMEDIES, THROUGH_CLAIMED, WHOLE, Tried
from bitslice.crossbar import AdcGradient, AdcSetting, resolution
from bitslice.crossbar.adc import setting_name
from bitslice.lab.adaptation import CLAIMED, Adaptation
from bitslice.lab.records import Record
from bitslice.lab.words import Method

WITHOUT = "Without ADCs"
"""Title of what all remedies are measured by."""

MEAN = sum(CLAIMED) / len(CLAIMED)
"""Bits of a conversion on average in the claimed ADCs."""

KEPT = 0.5
"""Points of accuracy up to which it counts as kept."""

EMPTYING = 2
"""Bits of headroom, a cell's, that empty the most significant slice: its ADC reads nothing."""


def by_remedy(tried: Tried) -> dict[str, dict[str, Spread]]:
    """Accuracy in percent with the claimed ADCs, by remedy and method, over seeds; first that :data:`WITHOUT` ADCs.

    Where resolutions are allocated, there are as many bits on average as in the claimed ones. Networks trained by
    another gradient than the experiment's are left to :func:`by_gradient`.
    """
    found = {WITHOUT: {m: Spread(tuple(r.digital_accuracy for r in own)) for m, own in tried.reports["report"].items()}}
    for kind, title in REMEDIES.items():
        each = {m: accuracies(own).get(CLAIMED) for m, own in tried.reports.get(kind, {}).items()}
        found[title] = {method: accuracy for method, accuracy in each.items() if accuracy}
    each = {m: accuracies(own).get(MEAN) for m, own in tried.reports.get("levels", {}).items()}
    found[ALLOCATED] = {method: accuracy for method, accuracy in each.items() if accuracy}
    for title in (title for title, how in THROUGH_CLAIMED.items() if how.gradient is None):
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


def by_gradient(records: Sequence[Record], tried: Tried) -> dict[AdcGradient, Spread]:
    """Points that the quantized network loses once trained through the claimed ADCs, by the gradient that the backward
    pass took; of ways that differ in it, and in the rate at most. Empty where none do.

    Args:
        records: to find the quantized networks without ADCs in.
        tried: with the networks of one experiment.
    """
    found: dict[Adaptation, dict[AdcGradient, Spread]] = {}
    for title, how in THROUGH_CLAIMED.items():
        runs = tried.adapted.get(title, {}).get(Method.QUANTIZED.value, [])
        if runs and runs[0].config.adapt and (below := below_quantized(records, runs)):
            same = found.setdefault(replace(how, gradient=None, rate=None), {})
            same[runs[0].config.adapt.adc_gradient] = below
    most = max(found.values(), key=len, default={})
    return most if len(most) > 1 else {}


def simulated_below(tried: Tried, asked: AdcSetting | float, headroom: int = 0) -> list[tuple[str, Spread]]:
    """By method, points that networks as trained lie below the quantized network, without ADCs, of their seed; once for
    every kind of report on the whole test set that has such ADCs.

    Args:
        tried: with the networks of one experiment.
        asked: ADCs of every slice, or the mean resolution that they are allocated by.
        headroom: highest bits of every weight's word that stay 0.
    """
    exact = tried.plain.get(Method.QUANTIZED.value, [])
    quantized = {seed_of(report): report.digital_accuracy for report in exact}
    found = []
    for kind in WHOLE:
        for method, reports in tried.reports.get(kind, {}).items():
            alike = [report for report in reports if report.headroom == headroom and seed_of(report) in quantized]
            settings = [(report, setting) for report in alike for setting in report.settings if setting.asked == asked]
            if settings:
                lost = tuple(quantized[seed_of(report)] - setting.accuracy for report, setting in settings)
                found.append((method, Spread(lost)))
    return found


Closest = tuple[str, Spread]
"""Networks that lose least on some ADCs: their method, and points below the quantized one of their seed."""


def _closest(
    records: Sequence[Record], tried: Tried, every: Iterable[AdcSetting | float], headrooms: Iterable[int] = (0,)
) -> Closest | None:
    """On any of such ADCs, of networks trained through them or not; None where none is."""
    found = []
    for asked, headroom in product(every, headrooms):
        found += simulated_below(tried, asked, headroom)
        for title, how in ADAPTATIONS.items():
            if (how.asked, how.headroom) == (asked, headroom):
                through = {m: below_quantized(records, runs) for m, runs in tried.adapted.get(title, {}).items()}
                found += [(method, below) for method, below in through.items() if below]
    return min(found, key=lambda each: each[1].mean, default=None)


def closest_adcs(records: Sequence[Record], tried: Tried) -> dict[str, Closest | None]:
    """Which networks come closest to the quantized one on the claimed ADCs, by what was done; None where nothing was.

    First ADCs of as many bits on average that were allocated to layers and slices; then the claimed ones themselves, by
    the bits of a weight that headroom leaves. Of networks trained through them or not.

    Args:
        records: to find the quantized networks in.
        tried: with the networks of one experiment.
    """
    word = setting_name(CLAIMED)
    return {"As many bits, allocated": _closest(records, tried, [MEAN])} | {
        f"{word}{f', {8 - headroom}-bit weights' * bool(headroom)}": _closest(records, tried, [CLAIMED], [headroom])
        for headroom in range(EMPTYING + 1)
    }


FEWER: Mapping[str, tuple[Sequence[AdcSetting | float], float]] = {
    "2,2,2,1": ([(2, 2, 2, 1)], 1.0),
    "1.75 on average, allocated": ([1.75], 1.0),
    "1,1,1,1": ([(1, 1, 1, 1), 1.0], 2.0),  # which is what 1 bit on average comes to
}
"""ADCs of fewer bits than the claimed, and up to how many points below the quantized network count as near."""


def closest_fewer(records: Sequence[Record], tried: Tried) -> dict[str, Closest | None]:
    """As :func:`closest_adcs`, on ADCs of :data:`FEWER` bits, with every slice in use."""
    return {title: _closest(records, tried, every, range(EMPTYING)) for title, (every, _) in FEWER.items()}


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
