"""Sweeps compared at equal accuracy, on the front of each seed."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from bitslice.book.analysis.seeds import Spread, verdict
from bitslice.book.analysis.selection import by_seed, swept
from bitslice.lab.records import Record


@dataclass(frozen=True)
class Front:
    """Least mean density that a sweep reaches at each accuracy: its points not beaten in both, by rising accuracy.

    Attributes:
        accuracy: percent, strictly rising.
        density: percent, strictly rising too.
    """

    accuracy: tuple[float, ...]
    density: tuple[float, ...]

    @classmethod
    def of(cls, points: Iterable[tuple[float, float]]) -> "Front":
        """The front of (accuracy, density) points.

        >>> Front.of([(97, 5), (98, 9), (97.5, 4), (96, 2)])
        Front(accuracy=(96, 97.5, 98), density=(2, 4, 9))
        """
        kept: list[tuple[float, float]] = []
        for accuracy, density in sorted(points, key=lambda point: (-point[0], point[1])):
            if not kept or density < kept[-1][1]:
                kept.append((accuracy, density))
        kept.reverse()
        return cls(tuple(a for a, _ in kept), tuple(d for _, d in kept))

    def at(self, accuracy: float) -> float | None:
        """Density at ``accuracy``, linear between points; None outside the accuracies that the sweep covers.

        >>> Front((96, 98), (2, 6)).at(97), Front((96, 98), (2, 6)).at(99)
        (4.0, None)
        """
        if not self.accuracy or not self.accuracy[0] <= accuracy <= self.accuracy[-1]:
            return None
        return float(np.interp(accuracy, self.accuracy, self.density))


def fronts(records: Iterable[Record]) -> dict[int, Front]:
    """Front in accuracy and mean density of every seed that was swept."""
    return {
        seed: Front.of((run.accuracy, run.mean_density) for run in runs)
        for seed, runs in by_seed(swept(records)).items()
    }


def density_ratio(denser: Sequence[Record], sparser: Sequence[Record], accuracy: float) -> Spread | None:
    """How many times denser one sweep is than another at equal ``accuracy``, seed by seed on each seed's own fronts.

    Returns:
        One ratio for each seed whose two fronts both cover the accuracy; None if there is no such seed.
    """
    theirs, ours = fronts(denser), fronts(sparser)
    ratios = []
    for seed in sorted(theirs.keys() & ours.keys()):
        a, b = theirs[seed].at(accuracy), ours[seed].at(accuracy)
        if a is not None and b:
            ratios.append(a / b)
    return Spread(tuple(ratios)) if ratios else None


def pruned_ratio(pruned: Iterable[Record], sweep: Sequence[Record], given_up: float) -> Spread | None:
    """How many times denser the pruned network is than a sweep, ``given_up`` points of accuracy below that network.

    Returns:
        One ratio for each seed whose front covers that accuracy; None if there is no such seed.
    """
    of_seed = fronts(sweep)
    ratios = []
    for record in pruned:
        front = of_seed.get(record.config.seed)
        density = front.at(record.accuracy - given_up) if front else None
        if density:
            ratios.append(record.mean_density / density)
    return Spread(tuple(ratios)) if ratios else None


def density_at(runs: Sequence[Record], accuracy: float) -> Spread | None:
    """Mean density on each seed's own front at ``accuracy``; None if no seed covers it."""
    found = (front.at(accuracy) for front in fronts(runs).values())
    values = tuple(density for density in found if density is not None)
    return Spread(values) if values else None


def levels(*swept: Sequence[Record], step: float = 0.1) -> list[float]:
    """Accuracies, multiples of ``step`` percent, that the fronts of all these sweeps cover, for every seed."""
    every = [front for runs in swept for front in fronts(runs).values()]
    low = max((front.accuracy[0] for front in every), default=0.0)
    high = min((front.accuracy[-1] for front in every), default=-1.0)
    return [round(k * step, 6) for k in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def finding(l1: Sequence[Record], variant: Sequence[Record], at: Sequence[float], name: str = "bit-slice L1") -> str:
    """The finding on the 2x claim in a few sentences, with its numbers.

    Args:
        l1: the sweep of L1.
        variant: the sweep that is compared with it.
        at: accuracies of the comparison.
        name: of the method of ``variant``.
    """
    ratios = {level: ratio for level in at if (ratio := density_ratio(l1, variant, level)) is not None}
    if not ratios:
        return "The two sweeps share no accuracy at which they could be compared."
    best = max(ratios, key=lambda level: ratios[level].mean)
    worst = min(ratios, key=lambda level: ratios[level].mean)
    holds = sum(verdict(ratio, 2) == "holds" for ratio in ratios.values())
    sparser = sum(ratio.mean > 1 for ratio in ratios.values())
    return (
        f"**Finding.** Between {min(ratios):.2f}% and {max(ratios):.2f}% accuracy, L1 leaves between "
        f"{ratios[worst].text(unit='x')} (at {worst:.2f}%) and {ratios[best].text(unit='x')} (at {best:.2f}%) the "
        f"density of {name}. The claimed 2x holds at {holds} of the {len(ratios)} accuracies compared; "
        f"{name} is the sparser of the two at {sparser} of them."
    )
