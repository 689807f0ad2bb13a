"""What accuracy small ADCs leave after all that was tried, and how far below the quantized network that is."""

from collections.abc import Iterable, Sequence

from bitslice.book.analysis.seeds import Spread, spread
from bitslice.book.analysis.selection import by_alpha, released, select
from bitslice.book.analysis.simulated import accuracies, seed_of
from bitslice.book.analysis.tried import ADAPTATIONS, ALLOCATED, REMEDIES, Tried, inside
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


def _standing(method: str, how: str, below: Spread) -> str:
    name = next(known.title for known in Method if known.value == method)
    within = "within" if below.mean <= KEPT else "not within"
    above = Spread(tuple(-points for points in below.values))
    lost = f"{above.text()} above (n={above.n})" if below.mean < 0 else f"{below.text()} below (n={below.n})"
    return f"**{within} {KEPT:g} points**, closest *{name}*{how}, {lost}"


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


def adc_finding(experiment: str, records: Sequence[Record], tried: Tried) -> str:
    """In words: which network on the claimed ADCs comes closest to the quantized one, how close, and how.

    Headroom empties the most significant slice, so its 1-bit ADC reads nothing: that stands apart, and so do ADCs of as
    many bits on average that were allocated to layers and slices.

    Args:
        experiment: its title.
        records: to find the quantized networks in.
        tried: with that experiment's networks.
    """

    def closest(headroom: bool) -> str | None:
        costs = {
            (title, method): cost
            for title, methods in tried.adapted.items()
            for method, runs in methods.items()
            if runs
            and runs[0].config.adapt
            and runs[0].config.adapt.adc_bits == CLAIMED
            and bool(runs[0].config.adapt.headroom) == headroom
            and (cost := below_quantized(records, runs))
        }
        if not costs:
            return None
        (title, method), best = min(costs.items(), key=lambda item: item[1].mean)
        return _standing(method, f" ({inside(title)})", best)

    whole, fewer, own = closest(headroom=False), closest(headroom=True), allocated_below(tried)
    best = min(own, key=lambda method: own[method].mean, default=None)
    found = [
        f"as trained, as many bits allocated to layers and slices, {_standing(best, '', own[best])}" if best else "",
        f"trained through them, {whole}" if whole else "",
        f"with weights of fewer bits, {fewer}" if fewer else "",
    ]
    told = "; ".join(filter(None, found)) or "no network was tried on the claimed ADCs"
    exact = f" ({tried.quantized:.2f}%)" if Method.QUANTIZED.value in tried.plain else ""
    return f"{experiment}, against *Quantized* without ADCs{exact}: {told}."


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
