"""What the records say of a network under the paper's claims, in a few numbers."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bitslice.book.analysis.claimed import CLAIMED_BITS, slice_bits
from bitslice.book.analysis.comparison import density_ratio, levels, pruned_ratio
from bitslice.book.analysis.remedies import EMPTYING, MEAN, below_quantized, simulated_below
from bitslice.book.analysis.seeds import Spread
from bitslice.book.analysis.selection import at_default_alpha, at_defaults, released, select
from bitslice.book.analysis.simulated import accuracies
from bitslice.book.analysis.tried import Tried
from bitslice.costs import ADC_MODELS, AdcModel
from bitslice.crossbar import adcs
from bitslice.lab.adaptation import CLAIMED
from bitslice.lab.config import Stage
from bitslice.lab.experiments import EXPERIMENTS
from bitslice.lab.records import Record
from bitslice.lab.words import Method

GIVEN_UP = 0.5
"""Points of accuracy below a pruned network at which it is compared with bit-slice L1."""


@dataclass(frozen=True)
class Measured:
    """What the records say of one network under the paper's claims. None, or nothing, where they say nothing.

    Attributes:
        name: a short title.
        pruned: how many times denser the pruned network is than bit-slice L1, ``GIVEN_UP`` points below its accuracy.
        l1: the same of L1, one at each accuracy that both sweeps cover.
        lossless: bits that convert every observed sum, the largest over seeds; B0 first.
        lost: points of accuracy that bit-slice L1 loses on the claimed ADCs, as trained.
        allocated: points below the quantized network without ADCs, of the method that comes closest to it where as many
            bits are allocated to layers and slices, and nothing is trained.
        remedied: points below the quantized network without ADCs, of the method and the way of training through ADCs
            of the claimed bits that come closest to it, with all slices in use where there are such.
        word: bits of a weight in those networks.
    """

    name: str
    pruned: Spread | None = None
    l1: tuple[Spread, ...] = ()
    lossless: tuple[int, ...] = ()
    lost: Spread | None = None
    allocated: Spread | None = None
    remedied: Spread | None = None
    word: int = 8


def measured(records: Sequence[Record], tried: Mapping[str, Tried]) -> dict[str, Measured]:
    """What the records say of every experiment that has some, by its name.

    Args:
        records: all released ones.
        tried: what was tried for small ADCs, by experiment.
    """
    found = {}
    for experiment, profile in released(records).items():
        runs = {method: select(records, experiment, method, profile) for method in Method}
        l1, bl1 = runs[Method.L1], runs[Method.BL1]
        default = at_default_alpha(bl1)
        ratios = [density_ratio(l1, bl1, level) for level in levels(l1, bl1)]
        remedied, word = _remedied(records, experiment)
        found[experiment] = Measured(
            EXPERIMENTS[experiment].short,
            pruned_ratio(at_default_alpha(runs[Method.PRUNED]), bl1, GIVEN_UP),
            tuple(ratio for ratio in ratios if ratio is not None),
            tuple(int(max(slice_bits(default, name, "observed").values)) for name in sorted(CLAIMED_BITS))
            if default
            else (),
            _lost(tried[experiment]) if experiment in tried else None,
            _allocated(tried[experiment]) if experiment in tried else None,
            remedied,
            word,
        )
    return found


def _lost(tried: Tried) -> Spread | None:
    reports = tried.reports["report"].get(Method.BL1.value, [])
    through = [(report, accuracies([report]).get(CLAIMED)) for report in reports]
    lost = tuple(report.digital_accuracy - after.mean for report, after in through if after is not None)
    return Spread(lost) if lost else None


def _allocated(tried: Tried) -> Spread | None:
    return min((lost for _, lost in simulated_below(tried, MEAN)), key=lambda lost: lost.mean, default=None)


def _remedied(records: Sequence[Record], experiment: str) -> tuple[Spread | None, int]:
    """The least cost in points over methods and ways in which they were trained through such ADCs; bits of a weight.

    Ways that leave the most significant slice in use go first: without it, its ADC reads nothing.
    """
    ways: dict[tuple[Method, Stage], list[Record]] = defaultdict(list)
    for run in records:
        stage = run.config.adapt
        own = run.config.experiment == experiment and at_defaults(run.config)
        if own and stage is not None and _as_claimed(stage):
            ways[run.config.method, stage].append(run)
    costs = [(stage.headroom, c) for (_, stage), runs in ways.items() if (c := below_quantized(records, runs))]
    if not costs:
        return None, 8
    headroom, best = min(costs, key=lambda found: (found[0] >= EMPTYING, found[1].mean))
    return best, 8 - headroom


def _as_claimed(stage: Stage) -> bool:
    """Whether its ADCs have the claimed resolutions in every layer, whatever their steps."""
    bits = stage.adc_bits
    every = bits.values() if isinstance(bits, Mapping) else (bits,)
    return all(tuple(adc.bits for adc in adcs(each)) == CLAIMED for each in every)


def savings(network: Measured) -> dict[str, float]:
    """How much less power the claimed ADCs take than lossless ones, by the title of every model that holds at both.

    A slice that needs no ADC is left out.
    """
    pairs = [(needed, claimed) for needed, claimed in zip(network.lossless, CLAIMED, strict=False) if needed]

    def saving(model: AdcModel) -> float:
        return sum(model.power(needed) for needed, _ in pairs) / sum(model.power(claimed) for _, claimed in pairs)

    holding = [model for model in ADC_MODELS.values() if all(model.holds(bits) for pair in pairs for bits in pair)]
    return {model.title: saving(model) for model in holding} if pairs else {}
