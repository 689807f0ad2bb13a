"""What simulated crossbars say of a method, over its networks."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from bitslice.book.analysis.seeds import Spread
from bitslice.crossbar.adc import AdcChoice, setting_name
from bitslice.lab.adaptation import CLAIMED
from bitslice.lab.records import Record
from bitslice.lab.report import Report, read
from bitslice.lab.tolerance import ToleranceReport

Simulated = tuple[Record, Report]
"""A network and what crossbars make of it."""


def simulated(runs: Iterable[Record], folder: Path) -> list[Simulated]:
    """The runs that ``folder`` holds a report on, as ``<experiment>/<run>.json``, each with it."""
    paths = [(run, folder / run.config.experiment / run.path.name) for run in runs]
    return [(run, read(path)) for run, path in paths if path.exists()]


def seed_of(report: Report) -> str:
    """Seed of the network that a report is on, by which its record's name ends."""
    return report.network.rpartition("-s")[2].removesuffix(".json")


def named(asked: AdcChoice | float) -> str:
    """ADCs in words: as they were given, or the bits of a conversion on average that they were allocated for."""
    return f"{asked:g} on average" if isinstance(asked, float) else setting_name(asked)


def accuracies(reports: Iterable[Report]) -> dict[AdcChoice | float, Spread]:
    """Accuracy in percent by the ADCs as asked for, in the order of the reports, one a seed."""
    found: dict[AdcChoice | float, list[float]] = defaultdict(list)
    for report in reports:
        for setting in report.settings:
            found[setting.asked].append(setting.accuracy)
    return {bits: Spread(tuple(values)) for bits, values in found.items()}


def cheapest_setting(reports: Sequence[Report], margin: float) -> AdcChoice | None:
    """The ADCs of least energy in reports that cost at most ``margin`` points on average; None: none tried."""
    digital = Spread(tuple(report.digital_accuracy for report in reports)).mean
    simulated = accuracies(reports)
    enough = [
        (setting.energy, setting.adc_bits)
        for setting in reports[0].settings
        if setting.energy is not None
        and None not in setting.adc_bits
        and simulated[setting.adc_bits].mean >= digital - margin
    ]
    return min(enough, key=lambda found: found[0])[1] if enough else None


def small_adcs_finding(reports: Mapping[str, Sequence[Report]], margin: float) -> str:
    """What the claimed ADCs leave of the accuracy, and which ones keep it, in a sentence or two.

    Args:
        reports: on equal networks, one a seed, by what they are called.
        margin: points of accuracy up to which it counts as kept.
    """
    left, kept = [], []
    for name, found in reports.items():
        digital, through = Spread(tuple(report.digital_accuracy for report in found)), accuracies(found).get(CLAIMED)
        if through is not None:
            left.append(f"{through.mean:.1f} of {digital.mean:.1f}% ({name})")
        bits = cheapest_setting(found, margin)
        kept.append(f"{'none tried' if bits is None else setting_name(bits)} ({name})")
    return (
        f"With ADCs of {setting_name(CLAIMED)} bits, networks trained with bit-slice L1 keep {', '.join(left)}. "
        f"The cheapest ADCs tried that cost at most {margin:g} points have, in bits: {', '.join(kept)}."
    )


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
