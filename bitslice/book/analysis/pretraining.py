"""Whether the sparsity of slices depends on pre-training with L1, as the authors' code has it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bitslice.book.analysis.seeds import Spread, spread
from bitslice.book.analysis.selection import at_default_alpha, paired, select
from bitslice.lab.records import Record
from bitslice.lab.words import Method, Profile

COMPARED = (Method.QUANTIZED, Method.PRUNED, Method.L1, Method.BL1)


@dataclass(frozen=True)
class Pretrained:
    """Runs of equal seeds and alphas, by method, pre-trained with L1 and without."""

    with_l1: Mapping[Method, Sequence[Record]]
    without: Mapping[Method, Sequence[Record]]


def pretrained(records: Sequence[Record], experiment: str, profile: Profile = Profile.PAPER) -> Pretrained:
    """An experiment's runs at the default alphas that were trained both ways; methods without such are left out."""
    with_l1, without = {}, {}
    for method in COMPARED:
        ours = at_default_alpha(select(records, experiment, method, profile, pretrain_alpha=0.0))
        pairs = paired(at_default_alpha(select(records, experiment, method, profile)), ours)
        if pairs:
            with_l1[method], without[method] = map(list, zip(*pairs, strict=True))
    return Pretrained(with_l1, without)


def times_denser(runs: Mapping[Method, Sequence[Record]], method: Method) -> Spread:
    """How many times denser a method's slices are than those of bit-slice L1, seed by seed."""
    return Spread(tuple(a.mean_density / b.mean_density for a, b in paired(runs[method], runs[Method.BL1])))


def pretraining_finding(found: Pretrained) -> str | None:
    """In words: what pre-training without L1 does to the sparsity of slices; None where no runs tell."""
    if not {*COMPARED} <= found.without.keys():
        return None
    set_cells = [spread(runs[Method.PRUNED], lambda run: run.mean_density) for runs in (found.with_l1, found.without)]
    told = [
        f"{times_denser(runs, Method.PRUNED).text()}x sparser than pruning alone and "
        f"{times_denser(runs, Method.L1).text()}x than L1"
        for runs in (found.with_l1, found.without)
    ]
    lost = [
        Spread(tuple(a.accuracy - b.accuracy for a, b in paired(runs[Method.PRUNED], runs[Method.BL1]))).text()
        for runs in (found.with_l1, found.without)
    ]
    return (
        f"Pre-trained with L1, pruned networks have {set_cells[0].text(1, '%')} of their cells set, without it "
        f"{set_cells[1].text(1, '%')}. With it bit-slice L1 is {told[0]} ({lost[0]} points less accurate than pruning "
        f"alone), without it {told[1]} ({lost[1]} points), at the authors' alphas (n={set_cells[0].n})."
    )
