"""What simulated crossbars say of a method, over its networks."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from bitslice.book.analysis.seeds import Spread
from bitslice.crossbar.adc import AdcChoice
from bitslice.lab.records import Record
from bitslice.lab.report import Report, read
from bitslice.lab.tolerance import ToleranceReport

Simulated = tuple[Record, Report]
"""A network and what crossbars make of it."""


def simulated(runs: Iterable[Record], folder: Path) -> list[Simulated]:
    """The runs that ``folder`` holds a report on, as ``<experiment>/<run>.json``, each with it."""
    paths = [(run, folder / run.config.experiment / run.path.name) for run in runs]
    return [(run, read(path)) for run, path in paths if path.exists()]


def accuracies(reports: Iterable[Report]) -> dict[AdcChoice, Spread]:
    """Accuracy in percent by the ADCs, in the order of the reports, one a seed."""
    found: dict[AdcChoice, list[float]] = defaultdict(list)
    for report in reports:
        for setting in report.settings:
            found[setting.adc_bits].append(setting.accuracy)
    return {bits: Spread(tuple(values)) for bits, values in found.items()}


def tolerated(reports: Iterable[ToleranceReport], kind: str | None) -> dict[float | None, Spread]:
    """Accuracy in percent by the strength of one departure, over networks and chips; first, as None, the ideal."""
    found: dict[float | None, list[float]] = defaultdict(list)
    for report in reports:
        for measured in report.measured:
            if measured.kind in (None, kind):
                found[measured.strength] += measured.accuracies
    return {strength: Spread(tuple(values)) for strength, values in found.items()}


def hardier(baseline: Sequence[ToleranceReport], variant: Sequence[ToleranceReport], kind: str) -> tuple[int, int]:
    """At how many strengths of one departure, of how many, ``variant`` loses less accuracy than ``baseline``."""
    theirs, ours = tolerated(baseline, kind), tolerated(variant, kind)
    shared = [strength for strength in theirs if strength is not None and strength in ours]
    lost = [theirs[None].mean - theirs[s].mean - (ours[None].mean - ours[s].mean) for s in shared]
    return sum(more > 0 for more in lost), len(shared)
