"""What small ADCs save at equal accuracy: of all that was tried, the cheapest that keeps it, by three laws."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bitslice.book.analysis.remedies import KEPT
from bitslice.book.analysis.seeds import Spread, spread
from bitslice.book.analysis.simulated import accuracies, seed_of
from bitslice.book.analysis.tried import ADAPTATIONS, ALLOCATED, REMEDIES, WHOLE, Tried, inside
from bitslice.costs import COMPONENTS
from bitslice.crossbar import AdcChoice, AdcSetting, LayerAdcs, adcs
from bitslice.crossbar.adc import adcs_of
from bitslice.crossbar.geometry import RowOrder
from bitslice.lab.adaptation import Adaptation
from bitslice.lab.described import DescribedLayer
from bitslice.lab.experiments import run_name
from bitslice.lab.report import Report, Setting
from bitslice.lab.words import Method

LAWS: Mapping[str, Callable[[int], float]] = {
    "SAR, by comparisons": float,
    "ISAAC, by components": COMPONENTS.energy,
    "flash, by comparisons": lambda bits: 2.0**bits - 1,
}
"""Energy of a conversion, in units of its own, by resolution."""

REFERENCE = 8
"""Resolution that savings are measured against."""


@dataclass(frozen=True)
class Way:
    """One way to give a method's networks small ADCs.

    Attributes:
        method: of the networks, by its value.
        how: what was done for them, as :data:`REMEDIES`, :data:`ADAPTATIONS` and the like have it.
        adcs: of every slice, B0 first; a number: the bits of a conversion on average, allocated to layers and slices.
        accuracy: percent of the test set, one a seed.
        reports: on networks of this mapping, whose conversions are counted.
        chosen: ADCs of each of their networks.
        spoiled: points that the same networks lose on training images, by which ADCs are chosen; None: not measured.
    """

    method: str
    how: str
    adcs: AdcSetting | float
    accuracy: Spread
    reports: tuple[Report, ...]
    chosen: tuple[AdcChoice, ...]
    spoiled: float | None = None

    def energy(self, law: Callable[[int], float], used: bool) -> float:
        """Of an image, in units of the law.

        Args:
            law: energy of a conversion by resolution.
            used: whether columns without a set cell are left out.
        """
        return _energy(self.reports, law, used, lambda place, layer: _resolutions(self.chosen[place], layer))

    def saving(self, law: Callable[[int], float], used: bool) -> float:
        """Against 8 bits in every column."""
        reference = _energy(self.reports, law, False, lambda _, layer: [REFERENCE] * len(layer["slices"]))
        return reference / self.energy(law, used)

    def saving_lossless(self, law: Callable[[int], float], used: bool) -> float:
        """Against the resolution, of every layer and slice, that no input exceeds; the same columns are converted."""
        bound = _energy(self.reports, law, used, lambda _, layer: [each["bound_bits"] for each in layer["slices"]])
        return bound / self.energy(law, used)

    def times_fewer(self, other: "Way") -> Spread | None:
        """How many times fewer comparisons than ``other`` it makes, in columns with a set cell, over the seeds that
        both have; None where there is none."""

        def comparisons(way: Way) -> dict[str, float]:
            alone = (replace(way, reports=(r,), chosen=(c,)) for r, c in zip(way.reports, way.chosen, strict=True))
            return {seed_of(each.reports[0]): each.energy(float, used=True) for each in alone}

        theirs, ours = comparisons(other), comparisons(self)
        times = tuple(theirs[seed] / ours[seed] for seed in theirs if seed in ours)
        return Spread(times) if times else None

    def bits_of_slices(self) -> list[float]:
        """Bits of a conversion by slice, B0 first, on average over columns with a set cell and networks."""
        slices = len(self.reports[0].layers[0]["slices"])
        means = []
        for k in range(slices):
            bits = conversions = 0
            for choice, report in zip(self.chosen, self.reports, strict=True):
                for layer in report.layers:
                    count = layer["conversions_of_used"][k]
                    bits += count * _resolutions(choice, layer)[k]
                    conversions += count
            means.append(bits / max(1, conversions))
        return means


def _resolutions(choice: AdcChoice, layer: DescribedLayer) -> list[int]:
    """Bits of every slice of a layer, none of which is ideal."""
    slices = len(layer["slices"])
    own = adcs_of(layer["name"], choice, slices) if isinstance(choice, LayerAdcs) else adcs(choice, slices)
    return [adc.bits or 0 for adc in own]


def _energy(
    reports: Sequence[Report],
    law: Callable[[int], float],
    used: bool,
    bits: Callable[[int, DescribedLayer], Sequence[int]],
) -> float:
    """Mean over reports; ``bits`` gives those of the slices of a report's layer, of which 0 need no ADC."""
    total = 0.0
    for place, report in enumerate(reports):
        for layer in report.layers:
            counts = layer["conversions_of_used"] if used else layer["conversions"]
            total += sum(count * law(n) for count, n in zip(counts, bits(place, layer), strict=True) if n)
    return total / len(reports)


def ways(tried: Tried) -> Iterator[Way]:
    """Every way that was tried on the whole test set, by what is done for the ADCs, method, and ADCs."""
    for kind in WHOLE:
        for method, own in tried.reports.get(kind, {}).items():
            for asked, accuracy in accuracies(own).items():
                if isinstance(asked, LayerAdcs) or (isinstance(asked, tuple) and None in asked):
                    continue
                found = [(report, setting) for report in own for setting in report.settings if setting.asked == asked]
                reports, settings = zip(*found, strict=True)
                title = ALLOCATED if isinstance(asked, float) else REMEDIES[kind]
                bits = tuple(setting.adc_bits for setting in settings)
                yield Way(method, title, asked, accuracy, reports, bits, _spoiled(found))
    for title, how in ADAPTATIONS.items():
        for method, runs in tried.adapted.get(title, {}).items():
            mapped = {Path(each.network).stem: each for each in _mapped(how, tried, method)}
            pairs = [(run, mapped.get(run_name(run.config.before_adapting()))) for run in runs]
            counted = [(run.adcs, report) for run, report in pairs if report is not None and run.adcs is not None]
            if counted and len(counted) == len(runs):
                accuracy = spread(runs, lambda run: float(run.final["adc_accuracy"]))
                chosen, counting = zip(*counted, strict=True)
                yield Way(method, title, how.asked, accuracy, counting, chosen)


def _spoiled(found: Sequence[tuple[Report, Setting]]) -> float | None:
    lost = [
        report.digital_judged - setting.judged
        for report, setting in found
        if report.digital_judged is not None and setting.judged is not None
    ]
    return sum(lost) / len(lost) if lost else None


def _mapped(how: Adaptation, tried: Tried, method: str) -> list[Report]:
    """Reports on networks of a method whose cells lie as those adapted so."""
    return [
        report
        for methods in tried.reports.values()
        for report in methods.get(method, [])
        if report.headroom == how.headroom
        and report.crossbar.get("row_order", RowOrder.CONSECUTIVE.value) == how.row_order.value
    ]


SHOWN = 6.0
"""Points below the quantized network down to which ways are shown."""


def near(tried: Tried) -> list[Way]:
    """The ways that lose at most :data:`SHOWN` points, cheapest first."""
    found = [way for way in ways(tried) if tried.quantized - way.accuracy.mean <= SHOWN]
    return sorted(found, key=lambda way: way.saving(float, used=True), reverse=True)


def cheapest_ways(tried: Tried) -> list[Way]:
    """Of every method the way of fewest comparisons, in columns with a set cell, that keeps the accuracy: at most
    :data:`KEPT` points below the quantized network on the test set, by ADCs that spoil no more on the training images
    that they are chosen by, where there are such. Methods without one are left out."""
    return _cheapest(ways(tried), tried)


def _cheapest(found: Iterable[Way], tried: Tried) -> list[Way]:
    best: dict[str, Way] = {}
    for way in found:
        if tried.quantized - way.accuracy.mean <= KEPT and (way.spoiled or 0) <= KEPT:
            before = best.get(way.method)
            if before is None or _rank(way) < _rank(before):
                best[way.method] = way
    order = [method.value for method in Method]
    return sorted(best.values(), key=lambda way: order.index(way.method))


def _rank(way: Way) -> tuple[float, float]:
    """Cheapest first, and of equal ones the most accurate."""
    return way.energy(float, used=True), -way.accuracy.mean


GOAL, GOAL_LOSSLESS = 10.0, 3.0
"""Savings of energy, by comparisons, that would make small ADCs worth a design: against 8 bits, and against the
network's own lossless resolution."""


_TITLES = {method.value: method.title for method in Method}


def saving_finding(networks: Mapping[str, Sequence[Way]]) -> str:
    """In words: what the cheapest ADCs that keep the accuracy save, by network, each on one way.

    Args:
        networks: what :func:`cheapest_ways` gives, by title.
    """
    law, told, met = LAWS["SAR, by comparisons"], [], []
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
            f"*{_TITLES[way.method]}*, {inside(way.how)} (n={way.accuracy.n})"
        )
        reaching = [
            f"*{_TITLES[each.method]}*"
            for each in found
            if each.saving(law, used=True) >= GOAL and each.saving_lossless(law, used=True) >= GOAL_LOSSLESS
        ]
        if reaching:
            met.append(f"{title} ({', '.join(reaching)})")
    return (
        f"At most {KEPT:g} points below *Quantized*, the cheapest ADCs that were tried save, counted in comparisons of "
        f"SAR ADCs, against {REFERENCE} bits and against the network's own lossless ADCs (in brackets: where columns "
        f"without a set cell are not converted): {'; '.join(told)}. In brackets, one network saves both {GOAL:g}x and "
        f"{GOAL_LOSSLESS:g}x on {', '.join(met) or 'none'}."
    )


def chosen_for_each(tried: Tried) -> dict[str, Way | None]:
    """Of every method the cheapest resolutions of its own that keep the accuracy of its networks, nothing trained; None
    where none does. Methods without such resolutions are left out."""
    found = [way for way in ways(tried) if way.how == ALLOCATED]
    cheapest = {way.method: way for way in _cheapest(found, tried)}
    return {way.method: cheapest.get(way.method) for way in found}


def worth_finding(networks: Mapping[str, Mapping[str, Way | None]]) -> str | None:
    """In words: how many comparisons sparsity saves at equal accuracy, beyond what *Quantized* saves without it.

    Args:
        networks: what :func:`chosen_for_each` gives, by title.

    Returns:
        None where nothing can be compared.
    """
    told, bl1 = [], Method.BL1.value
    for title, chosen in networks.items():
        base = chosen.get(Method.QUANTIZED.value)
        if base is None or len(chosen) < 2:
            continue
        compared = {m: way.times_fewer(base) for m, way in chosen.items() if way and m != Method.QUANTIZED.value}
        fewer = {method: times for method, times in compared.items() if times}
        best = max(fewer, key=lambda method: fewer[method].mean, default=None)
        text = f"{title} none, no other method keeps it" if best is None else f"{title} {_times(fewer, best)}"
        if bl1 in chosen and best not in (None, bl1):
            text += f" ({_times(fewer, bl1) if bl1 in fewer else f'*{Method.BL1.title}* does not keep it'})"
        told.append(text)
    if not told:
        return None
    return (
        "At equal accuracy, with ADCs allocated to each network and empty columns skipped, sparse ones make so many "
        f"times fewer comparisons than *Quantized*: **{'; '.join(told)}**."
    )


def _times(fewer: Mapping[str, Spread], method: str) -> str:
    return f"{fewer[method].text(2, 'x')} with *{_TITLES[method]}*, n={fewer[method].n}"
