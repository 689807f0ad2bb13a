"""From records to the claims: means and spreads over seeds, fronts, and densities at equal accuracy."""

import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bitslice.crossbar.report import Report
from bitslice.crossbar.statistics import resolution
from bitslice.crossbar.tolerance import ToleranceReport
from bitslice.errors import BitsliceError
from bitslice.experiments import EXPERIMENTS, Config, InputScaling, Method, Profile
from bitslice.records import Record

CLAIMED_BITS = {"B3": 1, "B2": 3, "B1": 3, "B0": 3}
"""ADC resolutions of the paper's abstract."""


@dataclass(frozen=True)
class Spread:
    """A quantity measured once a seed.

    Attributes:
        values: one a seed.
    """

    values: tuple[float, ...]

    @property
    def n(self) -> int:
        """Number of seeds."""
        return len(self.values)

    @property
    def mean(self) -> float:
        """Arithmetic mean."""
        return statistics.fmean(self.values)

    @property
    def deviation(self) -> float:
        """Sample standard deviation; 0 for a single seed."""
        return statistics.stdev(self.values) if self.n > 1 else 0.0

    def text(self, digits: int = 2, unit: str = "") -> str:
        """Mean and standard deviation; of a single seed, the value alone.

        >>> Spread((1.0, 2.0, 3.0)).text(1, "%").replace("\N{NO-BREAK SPACE}", " "), Spread((1.0,)).text(1, "%")
        ('2.0 ± 1.0%', '1.0%')
        """
        around = f"\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}{self.deviation:.{digits}f}" if self.n > 1 else ""
        return f"{self.mean:.{digits}f}{around}{unit}"


def spread(records: Iterable[Record], quantity: Callable[[Record], float]) -> Spread:
    """A quantity over the seeds of equal runs.

    Raises:
        BitsliceError: if there is no record.
    """
    values = tuple(quantity(record) for record in records)
    if not values:
        raise BitsliceError("no records to average")
    return Spread(values)


def select(
    records: Iterable[Record],
    experiment: str,
    method: Method,
    profile: Profile = Profile.PAPER,
    input_scaling: InputScaling | None = None,
) -> list[Record]:
    """All runs of one method in one profile of an experiment, whatever their alpha and seed.

    Args:
        records: to choose from.
        experiment: by its name.
        method: what was trained.
        profile: how long.
        input_scaling: how pixels entered the network; None: as the experiment's default has it.
    """
    wanted = (experiment, method, profile, input_scaling or EXPERIMENTS[experiment](method, profile).input_scaling)
    return [
        record
        for record in records
        if (record.config.experiment, record.config.method, record.config.profile, record.config.input_scaling)
        == wanted
    ]


def beside(records: Iterable[Record], folder: Path) -> dict[str, dict[str, list[Path]]]:
    """Files that ``folder`` holds on runs with their experiment's default settings, by experiment and method.

    Args:
        records: runs; those without a file are left out.
        folder: of files named ``<experiment>/<run>.json``.

    Raises:
        BitsliceError: if there is no such file.
    """
    experiments, methods = list(EXPERIMENTS), list(Method)
    found: dict[str, dict[str, list[Path]]] = {}
    for record in sorted(
        records, key=lambda r: (experiments.index(r.config.experiment), methods.index(r.config.method))
    ):
        config, path = record.config, folder / record.config.experiment / record.path.name
        if config.name == f"{config.method.value}-s{config.seed}" and path.exists():
            found.setdefault(config.experiment, {}).setdefault(config.method.value, []).append(path)
    if not found:
        raise BitsliceError(f"{folder} holds nothing on runs with default settings")
    return found


def released(records: Iterable[Record]) -> dict[str, Profile]:
    """Experiments that have records, in their order, each with the longest profile it has been run in."""
    profiles: dict[str, list[Profile]] = {name: [] for name in EXPERIMENTS}
    for record in records:
        profiles[record.config.experiment].append(record.config.profile)
    return {name: max(found, key=list(Profile).index) for name, found in profiles.items() if found}


def sweeps(records: Sequence[Record], experiment: str, profile: Profile = Profile.PAPER) -> dict[str, list[Record]]:
    """All runs of every method that has an alpha, by the method's name; one without records is left out."""
    found = {method.value: select(records, experiment, method, profile) for method in Method}
    return {method: runs for method, runs in found.items() if by_alpha(runs)}


def at_default_alpha(records: Iterable[Record]) -> list[Record]:
    """The runs whose alpha is their experiment's default, the authors' where they have one; one a seed."""

    def default(config: Config) -> float | None:
        return EXPERIMENTS[config.experiment](config.method, config.profile).alpha

    return [record for record in records if record.config.alpha == default(record.config)]


def at_alpha(records: Iterable[Record], alpha: float) -> list[Record]:
    """The runs of a sweep with one alpha, one a seed.

    Raises:
        BitsliceError: if there is none, naming the alphas there are.
    """
    groups = by_alpha(records)
    if alpha not in groups:
        raise BitsliceError(f"no runs with alpha {alpha:g}; there are {', '.join(f'{a:g}' for a in groups) or 'none'}")
    return groups[alpha]


def by_alpha(records: Iterable[Record]) -> dict[float, list[Record]]:
    """Runs of a sweep grouped by alpha, ascending."""
    groups: dict[float, list[Record]] = defaultdict(list)
    for record in records:
        if record.config.alpha is not None:
            groups[record.config.alpha].append(record)
    return dict(sorted(groups.items()))


def by_seed(records: Iterable[Record]) -> dict[int, list[Record]]:
    """Runs grouped by seed, ascending."""
    groups: dict[int, list[Record]] = defaultdict(list)
    for record in records:
        groups[record.config.seed].append(record)
    return dict(sorted(groups.items()))


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


def swept(records: Iterable[Record]) -> list[Record]:
    """The runs of those seeds that have more than one, whose alphas differ."""
    return [run for runs in by_seed(records).values() if len(runs) > 1 for run in runs]


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


@dataclass(frozen=True)
class Layer:
    """One weight tensor of a network.

    Attributes:
        name: as in the network.
        size: number of weights.
        density: percent non-zero per slice: B3, B2, B1, B0; mean over seeds.
    """

    name: str
    size: int
    density: tuple[float, ...]

    @property
    def mean_density(self) -> float:
        """Mean of the slices, percent."""
        return statistics.fmean(self.density)

    @property
    def cells(self) -> float:
        """Set cells over all slices, mean over seeds."""
        return self.size * sum(self.density) / 100


def layers(records: Sequence[Record]) -> list[Layer]:
    """Weight tensors of equal runs, first layer first; biases are left out."""
    found = []
    for name, shown in records[0].final["layers"].items():
        if name.endswith("weight"):
            columns = zip(*(record.final["layers"][name]["density"] for record in records), strict=True)
            found.append(Layer(name, shown["size"], tuple(map(statistics.fmean, columns))))
    return found


def layers_finding(pruned: Sequence[Layer], variant: Sequence[Layer], name: str) -> str:
    """Which layers are dense, and which gave most of the cells that were emptied after pruning, in a few sentences.

    Args:
        pruned: layers of the pruned networks.
        variant: layers of the networks that are compared with them.
        name: of the method of ``variant``.
    """
    size, cells = sum(layer.size for layer in variant), sum(layer.cells for layer in variant)
    dense, sparse = (pick(variant, key=lambda layer: layer.mean_density) for pick in (max, min))
    above = [layer for layer in variant if layer.cells / layer.size > cells / size]
    text = (
        f"With {name}, densities range from {sparse.mean_density:.1f}% (`{sparse.name}`) to {dense.mean_density:.1f}% "
        f"(`{dense.name}`). The layers denser than the network as a whole hold "
        f"{100 * sum(layer.size for layer in above) / size:.0f}% of the weights and "
        f"{100 * sum(layer.cells for layer in above) / cells:.0f}% of the set cells."
    )
    lost = [before.cells - after.cells for before, after in zip(pruned, variant, strict=True)]
    if sum(lost) <= 0:
        return f"{text} It leaves no fewer cells set than pruning alone."
    most, given = max(zip(variant, lost, strict=True), key=lambda pair: pair[1])
    return (
        f"{text} It empties {100 * sum(lost) / (sum(lost) + cells):.0f}% of the cells that pruning alone leaves set; "
        f"{100 * given / sum(lost):.0f}% of these were in `{most.name}`, "
        f"which holds {100 * most.size / size:.0f}% of the weights."
    )


def slice_bits(records: Iterable[Record], slice_name: str, kind: str) -> Spread:
    """ADC resolution in bits that is lossless for one slice.

    Args:
        records: runs of one method, one a seed.
        slice_name: ``B0`` to ``B3``.
        kind: ``bound`` for any input, ``observed`` for the images that the record names.
    """
    return spread(records, lambda record: resolution(record.final["adc"][slice_name][kind]))


def setting_name(adc_bits: Sequence[int | None]) -> str:
    """ADC resolutions as text, B0 first; one number where all slices have the same.

    >>> setting_name((3, 3, 3, 1)), setting_name((8, 8, 8, 8)), setting_name((None,) * 4)
    ('3,3,3,1', '8', 'ideal')
    """
    words = ["ideal" if bits is None else str(bits) for bits in adc_bits]
    return words[0] if len(set(words)) == 1 else ",".join(words)


def accuracies(reports: Iterable[Report]) -> dict[tuple[int | None, ...], Spread]:
    """Accuracy in percent by ADC resolutions (B0 first), in the order of the reports, one a seed."""
    found: dict[tuple[int | None, ...], list[float]] = defaultdict(list)
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


@dataclass(frozen=True)
class Claim:
    """One line of the claims table."""

    claim: str
    claimed: str
    reproduced: str
    n: int
    verdict: str


def verdict(value: Spread, claimed: float) -> str:
    """Whether a claimed least value is met, by mean and spread.

    >>> verdict(Spread((2.4, 2.6)), 2), verdict(Spread((1.9, 2.2)), 2), verdict(Spread((1.0, 1.1)), 2)
    ('holds', 'within the spread', 'does not hold')
    """
    if value.mean - value.deviation >= claimed:
        return "holds"
    return "within the spread" if value.mean + value.deviation >= claimed else "does not hold"


def claims(records: Sequence[Record], experiment: str, profile: Profile = Profile.PAPER) -> list[Claim]:
    """The paper's claims against the records of one experiment; a claim whose records are missing is left out."""
    runs = {method: select(records, experiment, method, profile) for method in Method}
    default = {method: at_default_alpha(found) for method, found in runs.items()}
    found = []
    for method, label in ((Method.PRUNED, "pruning alone"), (Method.L1, "L1")):
        pairs = paired(default[method], default[Method.BL1])
        if not pairs:
            continue
        ratio = Spread(tuple(theirs.mean_density / ours.mean_density for theirs, ours in pairs))
        lost = Spread(tuple(theirs.accuracy - ours.accuracy for theirs, ours in pairs))
        found.append(
            Claim(
                f"Sparser slices than {label}, at the default alphas",
                "about 2x",
                f"{ratio.text()}x, with accuracy lower by {lost.text()} points",
                ratio.n,
                verdict(ratio, 2),
            )
        )
    for method, label in ((Method.BL1, "Sparser slices"), (Method.BL0, "Our variant, bit-slice L0: sparser slices")):
        chosen = at_default_alpha(swept(runs[method]))
        if not chosen:
            continue
        level = spread(chosen, lambda r: r.accuracy).mean
        equal = density_ratio(runs[Method.L1], runs[method], level)
        if equal is not None:
            found.append(
                Claim(
                    f"{label} than L1 at equal accuracy ({level:.2f}%)",
                    "about 2x",
                    f"{equal.text()}x",
                    equal.n,
                    verdict(equal, 2),
                )
            )
    for name, bits in CLAIMED_BITS.items() if default[Method.BL1] else ():
        bound = slice_bits(default[Method.BL1], name, "bound")
        observed = slice_bits(default[Method.BL1], name, "observed")
        found.append(
            Claim(
                f"ADC bits that convert slice {name} without loss",
                str(bits),
                f"{observed.text(1)} on test images, {bound.text(1)} for any input",
                observed.n,
                "holds" if max(observed.values) <= bits else "does not hold",
            )
        )
    return found


def paired(a: Iterable[Record], b: Iterable[Record]) -> list[tuple[Record, Record]]:
    """Runs of two methods that share a seed."""
    ours = {record.config.seed: record for record in b}
    return [(record, ours[record.config.seed]) for record in a if record.config.seed in ours]
