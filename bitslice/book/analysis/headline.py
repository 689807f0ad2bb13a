"""The answer first: every claim on every network as one cell, and what was found in three sentences."""

import enum
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from bitslice.book.analysis.measured import GIVEN_UP, Measured, savings
from bitslice.book.analysis.remedies import KEPT
from bitslice.book.analysis.seeds import Spread, verdict
from bitslice.costs import COMPONENTS, SABERI
from bitslice.lab.adaptation import CLAIMED

NEARLY = 3.0
"""Points of accuracy up to which it counts as kept in part."""

PAGES = {"mnist": "mnist", "cifar10-resnet20": "resnet20", "cifar10-vgg11": "vgg11", "cifar10-vgg11-bn": "vgg11"}
"""The page on every experiment."""


class Standing(enum.Enum):
    """What the records make of a claim."""

    HOLDS = "holds"
    PARTLY = "partly"
    FAILS = "does not"


@dataclass(frozen=True)
class Cell:
    """One claim on one network.

    Attributes:
        standing: whether it holds.
        number: what was measured, in words.
        evidence: the section that shows it.
    """

    standing: Standing
    number: str
    evidence: str


def _range(values: Iterable[float], digits: int) -> str:
    ordered = sorted(values)
    low, high = (f"{value:,.{digits}f}" for value in (ordered[0], ordered[-1]))
    return low if low == high else f"{low} to {high}"


def _kept(lost: Spread) -> Standing:
    return Standing.HOLDS if lost.mean <= KEPT else Standing.PARTLY if lost.mean <= NEARLY else Standing.FAILS


def _share(good: int, of: int) -> Standing:
    return Standing.HOLDS if good == of else Standing.PARTLY if good else Standing.FAILS


def _than_pruned(network: Measured, page: str) -> Cell | None:
    if network.pruned is None:
        return None
    standings = {"holds": Standing.HOLDS, "within the spread": Standing.PARTLY}
    standing = standings.get(verdict(network.pruned, 2), Standing.FAILS)
    return Cell(standing, f"{network.pruned.text()}x", f"{page}.ipynb#against-pruning-alone")


def _than_l1(network: Measured, page: str) -> Cell | None:
    if not network.l1:
        return None
    good = sum(verdict(ratio, 2) == "holds" for ratio in network.l1)
    number = f"{_range((ratio.mean for ratio in network.l1), 2)}x"
    return Cell(_share(good, len(network.l1)), number, f"{page}.ipynb#at-equal-accuracy")


def _without_loss(network: Measured, page: str) -> Cell | None:
    if not network.lossless:
        return None
    good = sum(needed <= claimed for needed, claimed in zip(network.lossless, CLAIMED, strict=True))
    needed = ",".join(map(str, network.lossless))
    return Cell(_share(good, len(CLAIMED)), f"needs {needed}", "crossbar.ipynb#claimed-computed-simulated")


def _as_trained(network: Measured, page: str) -> Cell | None:
    if network.lost is None:
        return None
    return Cell(_kept(network.lost), network.lost.text(1), "crossbar.ipynb#every-setting")


def _allocated(network: Measured, page: str) -> Cell | None:
    if network.allocated is None:
        return None
    return Cell(_kept(network.allocated), network.allocated.text(1), "adapt.ipynb#where-the-bits-go")


def _trained_through(network: Measured, page: str) -> Cell | None:
    if network.remedied is None:
        return None
    number = f"{network.remedied.text(1)}, {network.word}-bit"
    return Cell(_kept(network.remedied), number, "adapt.ipynb")


def _power(network: Measured, page: str) -> Cell | None:
    found = savings(network)
    if not found:
        return None
    good = sum(value > 1 for value in found.values())
    return Cell(_share(good, len(found)), f"{_range(found.values(), 1)}x", "costs.ipynb")


CLAIMS: dict[str, Callable[[Measured, str], Cell | None]] = {
    f"2x sparser than pruning, {GIVEN_UP:g} points below": _than_pruned,
    "2x sparser than L1, at equal accuracy": _than_l1,
    "ADCs of 3,3,3,1 bits (B0..B3) lose nothing": _without_loss,
    "They keep the accuracy (points lost)": _as_trained,
    "As many bits do, allocated (ours)": _allocated,
    "They do, trained; n-bit weights (ours)": _trained_through,
    "They take less power than lossless": _power,
}
"""The claims of the paper's abstract that can be put in numbers, and two beyond it, with what judges each."""


def matrix(found: Mapping[str, Measured]) -> dict[str, dict[str, Cell | None]]:
    """Every claim on every network: by claim and experiment; None where no record tells."""
    return {
        claim: {experiment: judge(network, PAGES[experiment]) for experiment, network in found.items()}
        for claim, judge in CLAIMS.items()
    }


def answer(networks: Iterable[Measured]) -> str:
    """Whether the claimed ADCs keep the accuracy, of how many networks."""

    def counted(costs: Iterable[Spread | None]) -> tuple[int, int, int]:
        found = [_kept(cost) for cost in costs if cost is not None]
        return len(found), found.count(Standing.HOLDS), found.count(Standing.PARTLY)

    found = list(networks)
    (every, kept, _), (own, allocated, _), (others, remedied, nearly) = (
        counted(getattr(network, what) for network in found) for what in ("lost", "allocated", "remedied")
    )
    otherwise = f"with as many bits, allocated to layers and slices, {allocated} of {own} do; " * bool(own)
    words = [network.word for network in found if network.remedied and _kept(network.remedied) is Standing.HOLDS]
    weights = f" ({_range(words, 0)}-bit weights)" if words else ""
    more = f", {nearly} more lose up to {NEARLY:g} points" if nearly else ""
    return (
        f"**As trained, {kept} of {every} networks keep their accuracy on such ADCs; {otherwise}trained through the "
        f"claimed ones, {remedied} of {others} do{weights}{more}.**"
    )


def sentences(networks: Iterable[Measured]) -> list[str]:
    """What was found on sparsity, on ADCs and on cost, a sentence each; one that no record backs is left out."""
    found = list(networks)
    return [text for text in (_on_sparsity(found), _on_adcs(found), _on_cost(found)) if text]


_WORDS = {Standing.HOLDS: "holds", Standing.PARTLY: "holds in part", Standing.FAILS: "does not hold"}


def _on_sparsity(networks: Sequence[Measured]) -> str | None:
    pruned = {network.name: network.pruned for network in networks if network.pruned}
    ratios = [ratio for network in networks for ratio in network.l1]
    if not pruned or not ratios:
        return None
    against_pruning, against_l1 = (
        sum(verdict(ratio, 2) == "holds" for ratio in compared) for compared in (pruned.values(), ratios)
    )
    return (
        f"**Sparsity.** The claimed 2x {_WORDS[_share(against_pruning, len(pruned))]} against pruning alone, "
        f"{GIVEN_UP:g} points below its accuracy, and {_WORDS[_share(against_l1, len(ratios))]} against L1 at equal "
        f"accuracy: {_range((ratio.mean for ratio in ratios), 2)}x over {len(ratios)} accuracies compared."
    )


def _on_adcs(networks: Sequence[Measured]) -> str | None:
    lossless = [network.lossless for network in networks if network.lossless]
    lost = [network.lost.mean for network in networks if network.lost]
    remedied = [network.remedied.mean for network in networks if network.remedied]
    if not lossless or not lost:
        return None
    good = sum(all(needed <= claimed for needed, claimed in zip(bits, CLAIMED, strict=True)) for bits in lossless)
    through = ""
    if remedied:
        words = _range((network.word for network in networks if network.remedied), 0)
        through = (
            f"; trained through them (ours; weights of {words} bits), the best lies {_range(remedied, 1)} points below "
            "*Quantized*"
        )
    return (
        f"**ADCs.** The claimed 1 and 3 bits convert {good} of {len(lossless)} networks without loss, and cost them "
        f"{_range(lost, 1)} points of accuracy{through}."
    )


def _on_cost(networks: Sequence[Measured]) -> str | None:
    saved = [found for network in networks if (found := savings(network))]
    if not saved:
        return None
    quoted, parts = (4 * model.power(8) / sum(map(model.power, CLAIMED)) for model in (SABERI, COMPONENTS))
    every = [value for found in saved for value in found.values()]
    lead = "What they save is a question of the model" if max(every) >= 2 * min(every) else "The models agree"
    return (
        f"**Cost.** {lead}. In power against 8 bits: {quoted:.1f}x by the law behind the savings quoted with the "
        f"paper, {parts:.1f}x by the parts of ISAAC's ADC. Against ADCs without loss: {_range(every, 1)}x by "
        f"{max(map(len, saved))} models. [What is left at equal accuracy](costs.ipynb#at-equal-accuracy)."
    )
