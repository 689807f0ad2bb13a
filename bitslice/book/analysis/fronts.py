"""What small ADCs save at equal accuracy: of all that was tried, the cheapest that keeps it, by three laws."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from bitslice.book.analysis.remedies import KEPT
from bitslice.book.analysis.seeds import Spread, spread
from bitslice.book.analysis.simulated import accuracies
from bitslice.book.analysis.tried import ADAPTATIONS, REMEDIES, Tried, inside
from bitslice.costs import COMPONENTS
from bitslice.crossbar import AdcSetting
from bitslice.crossbar.adc import adcs
from bitslice.crossbar.geometry import RowOrder
from bitslice.lab.adaptation import Adaptation
from bitslice.lab.described import DescribedLayer
from bitslice.lab.report import Report
from bitslice.lab.words import Method

LAWS: Mapping[str, Callable[[int], float]] = {
    "SAR, by comparisons": float,
    "ISAAC, by components": COMPONENTS.energy,
    "flash, by comparisons": lambda bits: 2.0**bits - 1,
}
"""Energy of a conversion, in units of its own, by resolution."""

WHOLE = ("report", "levels")
"""Kinds of report that classify the whole test set."""

REFERENCE = 8
"""Resolution that savings are measured against."""


@dataclass(frozen=True)
class Way:
    """One way to give a method's networks small ADCs.

    Attributes:
        method: of the networks, by its value.
        how: what was done for them, as :data:`REMEDIES` and :data:`ADAPTATIONS` have it.
        adcs: of every slice, B0 first.
        accuracy: percent of the test set, one a seed.
        reports: on networks of this mapping, whose conversions are counted.
    """

    method: str
    how: str
    adcs: AdcSetting
    accuracy: Spread
    reports: tuple[Report, ...]

    def energy(self, law: Callable[[int], float], used: bool) -> float:
        """Of an image, in units of the law.

        Args:
            law: energy of a conversion by resolution.
            used: whether columns without a set cell are left out.
        """
        bits = [adc.bits or 0 for adc in adcs(self.adcs, len(self.adcs))]  # none is ideal
        return _energy(self.reports, law, used, lambda _: bits)

    def saving(self, law: Callable[[int], float], used: bool) -> float:
        """Against 8 bits in every column."""
        return _energy(self.reports, law, False, lambda layer: [REFERENCE] * len(layer["slices"])) / self.energy(
            law, used
        )

    def saving_lossless(self, law: Callable[[int], float], used: bool) -> float:
        """Against the resolution, of every layer and slice, that no input exceeds; the same columns are converted."""
        bound = _energy(self.reports, law, used, lambda layer: [each["bound_bits"] for each in layer["slices"]])
        return bound / self.energy(law, used)


def _energy(
    reports: Sequence[Report], law: Callable[[int], float], used: bool, bits: Callable[[DescribedLayer], Sequence[int]]
) -> float:
    """Mean over reports; ``bits`` gives those of a layer's slices, of which 0 need no ADC."""
    total = 0.0
    for report in reports:
        for layer in report.layers:
            counts = layer["conversions_of_used"] if used else layer["conversions"]
            total += sum(count * law(n) for count, n in zip(counts, bits(layer), strict=True) if n)
    return total / len(reports)


def ways(tried: Tried) -> Iterator[Way]:
    """Every way that was tried on the whole test set, by what is done for the ADCs, method, and ADCs."""
    for kind in WHOLE:
        for method, own in tried.reports.get(kind, {}).items():
            for setting, accuracy in accuracies(own).items():
                if isinstance(setting, tuple) and None not in setting:
                    yield Way(method, REMEDIES[kind], setting, accuracy, tuple(own))
    for title, how in ADAPTATIONS.items():
        for method, runs in tried.adapted.get(title, {}).items():
            alike = tried.reports.get(_mapping(how), {}).get(method, [])
            if runs and alike and how.adc_bits is not None:
                accuracy = spread(runs, lambda run: float(run.final["adc_accuracy"]))
                yield Way(method, title, how.adc_bits, accuracy, tuple(alike))


def _mapping(how: Adaptation) -> str:
    """The kind of report on networks whose cells lie as those adapted so."""
    return "headroom" if how.headroom else "spread" if how.row_order is RowOrder.SPREAD else "report"


def cheapest_ways(tried: Tried) -> list[Way]:
    """Of every method the way of least energy, by comparisons, that is at most :data:`KEPT` points below the quantized
    network; methods without one are left out."""
    best: dict[str, Way] = {}
    for way in ways(tried):
        if tried.quantized - way.accuracy.mean <= KEPT:
            before = best.get(way.method)
            if before is None or _rank(way) < _rank(before):
                best[way.method] = way
    order = [method.value for method in Method]
    return sorted(best.values(), key=lambda way: order.index(way.method))


def _rank(way: Way) -> tuple[float, float]:
    """Cheapest first, and of equal ones the most accurate."""
    return way.energy(float, used=False), -way.accuracy.mean


GOAL, GOAL_LOSSLESS = 10.0, 3.0
"""Savings of energy, by comparisons, that would make small ADCs worth a design: against 8 bits, and against the
network's own lossless resolution."""


def saving_finding(networks: Mapping[str, Sequence[Way]]) -> str:
    """In words: what the cheapest ADCs that keep the accuracy save, by network, each on one way.

    Args:
        networks: what :func:`cheapest_ways` gives, by the experiment's title.
    """
    law, told, met = LAWS["SAR, by comparisons"], [], []
    titles = {method.value: method.title for method in Method}
    for title, found in networks.items():
        if not found:
            told.append(f"{title} none that was tried")
            continue
        way = min(found, key=_rank)
        (whole, lossless), (less, less_lossless) = (
            (way.saving(law, used), way.saving_lossless(law, used)) for used in (False, True)
        )
        told.append(
            f"{title} {whole:.1f}x ({less:.1f}x) and {lossless:.1f}x ({less_lossless:.1f}x) with "
            f"*{titles[way.method]}*, {inside(way.how)}"
        )
        if less >= GOAL and less_lossless >= GOAL_LOSSLESS:
            met.append(title)
    return (
        f"At most {KEPT:g} points below *Quantized*, the cheapest ADCs that were tried save, counted in comparisons of "
        f"SAR ADCs, against {REFERENCE} bits and against the network's own lossless ADCs (in brackets: where columns "
        f"without a set cell are not converted): {'; '.join(told)}. In brackets, savings of {GOAL:g}x and "
        f"{GOAL_LOSSLESS:g}x are reached on {len(met)} of {len(networks)} networks."
    )
