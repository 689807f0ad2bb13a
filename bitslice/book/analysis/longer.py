"""Whether what was found on small ADCs holds for networks that were trained for longer."""

from collections.abc import Sequence
from pathlib import Path

from bitslice.book.analysis.fronts import cheapest_ways
from bitslice.book.analysis.remedies import KEPT, MEAN, allocated_below
from bitslice.book.analysis.seeds import Spread, spread
from bitslice.book.analysis.selection import paired
from bitslice.book.analysis.simulated import seed_of, simulated
from bitslice.book.analysis.tried import Tried, inside
from bitslice.lab.records import Record
from bitslice.lab.report import Report
from bitslice.lab.words import Method, Profile


def trained_longer(records: Sequence[Record], folder: Path) -> dict[str, Tried]:
    """What was tried with networks of the ``long`` profile, by experiment: their ADCs' levels were found.

    Args:
        records: runs of any profile.
        folder: of reports on them, as ``levels/<experiment>/<run>.json``.
    """
    runs = [run for run in records if run.config.profile is Profile.LONG and run.config.adapt is None]
    found: dict[str, dict[str, list[Report]]] = {}
    for run, report in simulated(runs, folder / "levels"):
        found.setdefault(run.config.experiment, {}).setdefault(run.config.method.value, []).append(report)
    return {experiment: Tried({"levels": methods}, {}) for experiment, methods in found.items()}


def schedule_finding(shorter: Sequence[Record], longer: Sequence[Record]) -> str | None:
    """In words: what a longer schedule makes of the accuracy of equal runs.

    Args:
        shorter: runs of one method at the usual schedule.
        longer: the same at a longer one.

    Returns:
        None where no seed has both.
    """
    pairs = paired(longer, shorter)
    if not pairs:
        return None
    many = spread(longer, lambda run: run.accuracy)
    more = Spread(tuple(long.accuracy - short.accuracy for long, short in pairs))
    epochs = [run.config.pretrain.epochs for run in pairs[0]]
    return (
        f"Trained for {epochs[0]} epochs, not {epochs[1]}, *{shorter[0].config.method.title}* has {many.text(2, '%')} "
        f"(n={many.n}), {more.text()} points more at equal seeds."
    )


def longer_finding(title: str, shorter: Tried, longer: Tried) -> str | None:
    """In words: how accurate *Quantized* is after the longer training, with ADCs and without.

    Args:
        title: of the experiment.
        shorter: what was tried after the usual training.
        longer: and after the longer one.

    Returns:
        None where resolutions were not allocated to it.
    """
    quantized = Method.QUANTIZED.value
    below = allocated_below(longer).get(quantized)
    if below is None:
        return None
    before = {seed_of(report): report.digital_accuracy for report in shorter.plain[quantized]}
    reports = longer.plain[quantized]
    exact = Spread(tuple(report.digital_accuracy for report in reports))
    more = [report.digital_accuracy - before[seed_of(report)] for report in reports if seed_of(report) in before]
    gained = f", {Spread(tuple(more)).text()} more at equal seeds" if more else ""
    text = (
        f"{title}: *Quantized* has {exact.text(2, '%')} then (n={exact.n}){gained}. "
        f"With {MEAN:g} bits on average, nothing trained for the ADCs, it lies {below.text()} points below"
    )
    ways = [way for way in cheapest_ways(longer) if way.method == quantized]
    if not ways:
        return f"{text}; no ADCs that were tried keep its accuracy within {KEPT:g} points."
    [way] = ways
    return (
        f"{text}; the cheapest ADCs that keep its accuracy within {KEPT:g} points ({inside(way.how)}) save "
        f"{way.saving(float, used=True):.1f}x of the comparisons of 8 bits and "
        f"{way.saving_lossless(float, used=True):.1f}x of those of its own lossless ADCs, empty columns left out."
    )
