"""The paper's claims against the records."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bitslice.book.analysis.comparison import density_ratio, levels
from bitslice.book.analysis.seeds import Spread, spread, verdict
from bitslice.book.analysis.selection import at_default_alpha, paired, select, swept
from bitslice.crossbar.statistics import resolution
from bitslice.lab.adaptation import CLAIMED
from bitslice.lab.records import Record
from bitslice.lab.words import Method, Profile

CLAIMED_BITS = {f"B{k}": bits for k, bits in reversed(list(enumerate(CLAIMED)))}
"""ADC resolutions of the paper's abstract by slice, most significant first."""


def slice_bits(records: Iterable[Record], slice_name: str, kind: str) -> Spread:
    """ADC resolution in bits that is lossless for one slice.

    Args:
        records: runs of one method, one a seed.
        slice_name: ``B0`` to ``B3``.
        kind: ``bound`` for any input, ``observed`` for the images that the record names.
    """
    return spread(records, lambda record: resolution(record.final["adc"][slice_name][kind]))


@dataclass(frozen=True)
class Claim:
    """One line of the claims table."""

    claim: str
    claimed: str
    reproduced: str
    n: int
    verdict: str


def claims(records: Sequence[Record], experiment: str, profile: Profile = Profile.PAPER) -> list[Claim]:
    """The paper's claims against the records of one experiment; a claim whose records are missing is left out.

    Equal accuracy is the one nearest to that of the default alpha at which every seed can be compared.
    """
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
        default_level = spread(chosen, lambda r: r.accuracy).mean
        compared = levels(runs[Method.L1], runs[method])
        level = min(compared, key=lambda level: abs(level - default_level), default=default_level)
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
        images = default[Method.BL1][0].config.adc_images
        found.append(
            Claim(
                f"ADC bits that convert slice {name} without loss",
                str(bits),
                f"{observed.text(1)} on {images:,} test images, {bound.text(1)} for any input",
                observed.n,
                "holds" if max(observed.values) <= bits else "does not hold",
            )
        )
    return found


def adapted_cost(records: Sequence[Record], runs: Iterable[Record]) -> Spread | None:
    """Points of accuracy between networks without crossbars and the same after adapting to ADCs, through these.

    Args:
        records: to find the networks in that ``runs`` started from.
        runs: adapted to ADCs, one a seed.

    Returns:
        Over seeds; None if no network that a run started from is among ``records``.
    """
    starts = {record.config: record for record in records}
    pairs = [(starts.get(run.config.before_adapting()), run) for run in runs]
    lost = tuple(start.accuracy - float(run.final["adc_accuracy"]) for start, run in pairs if start is not None)
    return Spread(lost) if lost else None
