"""Tables of what was done so that small ADCs do, and of what that gives."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bitslice.book import analysis
from bitslice.book.analysis import ByMethod, Closest, Spread, Tried, Way
from bitslice.book.figures import METHOD_NAMES
from bitslice.book.tables.cells import text
from bitslice.crossbar import AdcGradient, LayerAdcs, adc_word
from bitslice.crossbar.adc import adcs_of
from bitslice.lab.adaptation import CLAIMED
from bitslice.lab.records import Record


def remedies(found: Mapping[str, Mapping[str, Spread]]) -> list[dict[str, Any]]:
    """Accuracy with the claimed ADCs: a row a remedy, a column a method, mean and standard deviation over seeds.

    Args:
        found: what :func:`bitslice.book.analysis.by_remedy` gives.
    """
    first = next(iter(found.values()))

    def cell(method: str, own: Spread | None) -> str:
        return text(own) + (f" (n={own.n})" if own and own.n != first[method].n else "")

    return [
        {"For the ADCs": title} | {f"{METHOD_NAMES[m]} (%, n={first[m].n})": cell(m, methods.get(m)) for m in first}
        for title, methods in found.items()
    ]


def closest_adcs(records: Sequence[Record], networks: Mapping[str, Tried]) -> list[dict[str, Any]]:
    """How many points the claimed ADCs cost at least: a row a network, a column for what was done; bold: kept.

    Args:
        records: to find the quantized networks in.
        networks: what was tried, by title.
    """

    return [
        {"Network, *Quantized* without ADCs": f"{title}, {tried.quantized:.2f}%"}
        | {done: _below(found, analysis.KEPT) for done, found in analysis.closest_adcs(records, tried).items()}
        for title, tried in networks.items()
    ]


def _below(found: Closest | None, near: float) -> str:
    """Points below *Quantized*, bold up to ``near``, with method and number of seeds."""
    if found is None:
        return text(None)
    method, below = found
    points = f"**{below.text()}**" if below.mean <= near else below.text()
    return f"{points} ({METHOD_NAMES[method]}, n={below.n})"


def closest_fewer(records: Sequence[Record], networks: Mapping[str, Tried]) -> list[dict[str, Any]]:
    """As :func:`closest_adcs`, for fewer bits; bold: as near as the column says."""
    return [
        {"Network": title}
        | {
            f"{bits} (near: {analysis.FEWER[bits][1]:g})": _below(found, analysis.FEWER[bits][1])
            for bits, found in analysis.closest_fewer(records, tried).items()
        }
        for title, tried in networks.items()
    ]


_GRADIENTS = {
    AdcGradient.STRAIGHT_THROUGH: "as if no ADC clipped",
    AdcGradient.SHARE: "by the share let through",
    AdcGradient.GAUSSIAN: "Gaussian around thresholds",
}


def gradients(records: Sequence[Record], networks: Mapping[str, Tried]) -> list[dict[str, Any]]:
    """How many points the claimed ADCs cost by the gradient that training through them took: a row a network.

    Args:
        records: to find the quantized networks in.
        networks: what was tried, by title; those trained by one gradient alone are left out.
    """
    found = {title: analysis.by_gradient(records, tried) for title, tried in networks.items()}
    return [
        {"Points lost, by gradient": title}
        | {
            name: f"{own[each].text()} (n={own[each].n})" if each in own else text(None)
            for each, name in _GRADIENTS.items()
        }
        for title, own in found.items()
        if own
    ]


def levels(found: LayerAdcs) -> list[dict[str, Any]]:
    """ADCs as they were found, a row a layer, a column a slice, B0 first."""
    return [
        {"Layer": layer} | {f"B{k}": adc_word(adc) for k, adc in enumerate(adcs_of(layer, found))} for layer in found
    ]


def adapted_costs(records: Sequence[Record], adapted: Mapping[str, ByMethod]) -> list[dict[str, Any]]:
    """What the ADCs cost networks that were adapted to them, a row an adaptation and method.

    Args:
        records: to find the networks in that the adapted ones started from, and the quantized ones.
        adapted: runs by what was done and method, one a seed.
    """
    rows = []
    for title, methods in adapted.items():
        for method, runs in methods.items():
            lost, below = analysis.adapted_cost(records, runs), analysis.below_quantized(records, runs)
            if lost and below:
                rows.append(
                    {
                        "Network": METHOD_NAMES[method],
                        "Adapted": title,
                        "n": str(lost.n),
                        "Below itself before": lost.text(),
                        "Below *Quantized*": below.text(),
                        f"Within {analysis.KEPT:g}": "yes" if below.mean <= analysis.KEPT else "no",
                    }
                )
    return rows


def cheapest_adcs(found: Sequence[Way], quantized: float, used: bool) -> list[dict[str, Any]]:
    """What the cheapest ADCs save that keep the accuracy, a row a method, a column a law.

    Args:
        found: what :func:`bitslice.book.analysis.cheapest_ways` gives.
        quantized: accuracy in percent that theirs is measured by.
        used: whether columns without a set cell are left out, also of what lossless ADCs convert.
    """
    return [
        {
            "Network": METHOD_NAMES[way.method],
            "n": str(way.accuracy.n),
            "ADCs": f"{analysis.named(way.adcs)} ({analysis.inside(way.how)})",
            "Below *Quantized*": f"{quantized - way.accuracy.mean:.2f}",
        }
        | {
            law: f"{way.saving(energy, used):.1f}x, {way.saving_lossless(energy, used):.1f}x"
            for law, energy in analysis.LAWS.items()
        }
        for way in found
    ]


def front(found: Iterable[Way]) -> list[dict[str, Any]]:
    """Accuracy and savings of ways that were tried, a column a law.

    Args:
        found: what :func:`bitslice.book.analysis.near` gives. Savings are against 8 bits, in brackets where columns
            without a set cell are not converted.
    """
    return [
        {"Network": METHOD_NAMES[way.method], "ADCs": f"{analysis.named(way.adcs)} ({analysis.inside(way.how)})"}
        | {"Accuracy (%)": way.accuracy.text(), "n": str(way.accuracy.n)}
        | {
            law: f"{way.saving(energy, used=False):.1f}x ({way.saving(energy, used=True):.1f}x)"
            for law, energy in analysis.LAWS.items()
        }
        for way in found
    ]


def allocated(networks: Mapping[str, Iterable[Way]], mean: float) -> list[dict[str, Any]]:
    """Bits of a conversion by slice where resolutions are allocated, a row a network, beside the claimed ones.

    Args:
        networks: what :func:`bitslice.book.analysis.near` gives, by what the row is called.
        mean: bits of a conversion on average.
    """
    rows = [
        (f"{name}, {METHOD_NAMES[way.method]}", way.bits_of_slices(), way.accuracy.text())
        for name, found in networks.items()
        for way in found
        if way.how == analysis.ALLOCATED and way.adcs == mean
    ]
    return [
        {"Network": name} | {f"B{k}": f"{bits:.1f}" for k, bits in enumerate(each)} | {"Accuracy (%)": accuracy}
        for name, each, accuracy in [("Claimed", [float(bits) for bits in CLAIMED], "–"), *rows]
    ]
