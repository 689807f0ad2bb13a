"""The opening page's matrix and sentences follow the numbers, on both sides of every threshold."""

from dataclasses import replace

import pytest

from bitslice.book import analysis, tables
from bitslice.book.analysis import KEPT, NEARLY, Measured, Spread, Standing
from bitslice.costs import ADC_MODELS, SABERI
from bitslice.crossbar import Adc, LayerAdcs
from bitslice.lab.adaptation import CLAIMED, Adaptation
from bitslice.lab.experiments import adapted
from bitslice.lab.records import Record
from bitslice.lab.words import Method
from tests.test_analysis import record, sweep
from tests.test_plots_crossbar import report

MEASURED = Measured(
    "MNIST",
    pruned=Spread((2.1, 2.3)),
    l1=(Spread((1.2,)), Spread((1.6,))),
    lossless=(6, 6, 6, 5),
    lost=Spread((18.0, 20.0)),
    allocated=Spread((0.3,)),
    remedied=Spread((0.4,)),
    word=6,
)


def cell(claim: str, **changes: object) -> analysis.Cell | None:
    """The cell of the first claim that has these words, after some changes."""
    rows = analysis.matrix({"mnist": replace(MEASURED, **changes)})  # type: ignore[arg-type]
    return next(cells["mnist"] for name, cells in rows.items() if claim in name)


def standing(claim: str, **changes: object) -> Standing:
    found = cell(claim, **changes)
    assert found is not None
    return found.standing


def test_a_ratio_is_judged_by_mean_and_spread() -> None:
    assert standing("than pruning") is Standing.HOLDS
    assert standing("than pruning", pruned=Spread((1.8, 2.2))) is Standing.PARTLY
    assert standing("than pruning", pruned=Spread((1.8,))) is Standing.FAILS


def test_against_l1_it_holds_at_all_accuracies_at_some_or_at_none() -> None:
    assert standing("than L1") is Standing.FAILS
    assert standing("than L1", l1=(Spread((1.2,)), Spread((2.1,)))) is Standing.PARTLY
    assert standing("than L1", l1=(Spread((2.0,)),)) is Standing.HOLDS
    found = cell("than L1")
    assert found is not None
    assert (found.number, found.evidence) == ("1.20 to 1.60x", "mnist.ipynb#at-equal-accuracy")


def test_lossless_is_counted_by_slice() -> None:
    assert standing("lose nothing") is Standing.FAILS
    assert standing("lose nothing", lossless=(6, 3, 6, 5)) is Standing.PARTLY
    assert standing("lose nothing", lossless=CLAIMED) is Standing.HOLDS


@pytest.mark.parametrize(
    ("claim", "which"), [("keep the accuracy", "lost"), ("As many bits", "allocated"), ("n-bit weights", "remedied")]
)
def test_accuracy_is_kept_in_part_or_not(claim: str, which: str) -> None:
    for points, wanted in (
        (KEPT, Standing.HOLDS),
        (KEPT + 0.01, Standing.PARTLY),
        (NEARLY, Standing.PARTLY),
        (NEARLY + 0.01, Standing.FAILS),
    ):
        assert standing(claim, **{which: Spread((points,))}) is wanted


def test_shorter_words_are_named() -> None:
    found = cell("n-bit weights")
    assert found is not None
    assert found.number == "0.4, 6-bit"


def test_savings_are_against_the_networks_own_lossless_adcs_by_models_that_hold() -> None:
    found = analysis.savings(MEASURED)
    wanted = (3 * SABERI.power(6) + SABERI.power(5)) / (3 * SABERI.power(3) + SABERI.power(1))
    assert found[SABERI.title] == pytest.approx(wanted)
    assert set(found) == {model.title for model in ADC_MODELS.values() if model.holds(1)}
    empty = analysis.savings(replace(MEASURED, lossless=(6, 6, 6, 0)))  # an empty slice has no ADC in either
    assert empty[SABERI.title] == pytest.approx(SABERI.power(6) / SABERI.power(3))
    assert analysis.savings(replace(MEASURED, lossless=())) == {}
    assert standing("less power") is Standing.HOLDS
    assert standing("less power", lossless=(1, 1, 1, 1)) is Standing.FAILS


def test_what_no_record_tells_is_a_dash_and_no_sentence() -> None:
    rows = tables.claims_by_network(analysis.matrix({"mnist": Measured("MNIST")}))
    assert {row["MNIST"] for row in rows} == {"–"}
    assert analysis.sentences([Measured("MNIST")]) == []


def test_the_table_links_every_cell_to_its_evidence() -> None:
    first, *_ = tables.claims_by_network(analysis.matrix({"mnist": MEASURED}))
    assert first["MNIST"].startswith("● [holds](mnist.ipynb#against-pruning-alone): 2.20")


def test_sentences_change_with_the_numbers() -> None:
    sparsity, adcs, cost = analysis.sentences([MEASURED])
    assert "The claimed 2x holds against pruning alone, 0.5 points below its accuracy, and does not hold" in sparsity
    assert "against L1 at equal accuracy: 1.20 to 1.60x over 2 accuracies" in sparsity
    assert "convert 0 of 1 networks without loss" in adcs
    assert "cost them 19.0 points of accuracy; trained through them" in adcs
    assert "(ours; weights of 6 bits), the best lies 0.4 points below *Quantized*." in adcs
    assert "a question of the model" in cost
    assert "16.3x by the law" in cost
    other = replace(
        MEASURED, pruned=Spread((1.0,)), l1=(Spread((2.5,)),), lossless=CLAIMED, allocated=None, remedied=None
    )
    sparsity, adcs, cost = analysis.sentences([other])
    assert "The claimed 2x does not hold against pruning" in sparsity
    assert "and holds against L1 at equal accuracy: 2.50x" in sparsity
    assert "convert 1 of 1" in adcs
    assert "ours" not in adcs
    assert "The models agree" in cost


def test_the_answer_counts_networks() -> None:
    text = analysis.answer([MEASURED, replace(MEASURED, lost=Spread((0.1,)), remedied=Spread((2.0,)))])
    assert "As trained, 1 of 2 networks" in text
    assert "with as many bits, allocated to layers and slices, 2 of 2 do; " in text
    told = "trained through the claimed ones, 1 of 2 do (6-bit weights), 1 more lose up to 3 points.**"
    assert text.endswith(told)
    both = analysis.answer([MEASURED, replace(MEASURED, word=8)])
    assert both.endswith("2 of 2 do (6 to 8-bit weights).**")
    assert analysis.answer([replace(MEASURED, remedied=Spread((9.0,)))]).endswith("0 of 1 do.**")
    assert "allocated" not in analysis.answer([replace(MEASURED, allocated=None)])


def test_the_records_are_measured() -> None:
    def after(start: Record, accuracy: float, bits: object = CLAIMED, headroom: int = 0) -> Record:
        config = adapted(start.config, Adaptation(headroom=headroom))
        assert config.adapt is not None
        config = replace(config, adapt=replace(config.adapt, adc_bits=bits))  # type: ignore[arg-type]
        return replace(start, config=config, final={**start.final, "adc_accuracy": accuracy})

    bl1 = sweep(Method.BL1, 1.0)
    start = next(run for run in bl1 if run.config.alpha == 0.5 and run.config.seed == 0)
    simulated = report(97.0, {CLAIMED: 80.0})
    allocated = replace(simulated, settings=[replace(simulated.settings[0], mean=2.5, accuracy=96.75)])
    quantized = replace(report(97.5, {}), network="results/mnist/quantized-s0")
    reports = {
        "report": {"bl1": [simulated], "quantized": [quantized]},
        "levels": {"bl1": [replace(allocated, network="results/mnist/bl1-s0")]},
    }
    stepped = (Adc(3, 4), 3, 3, 1)
    runs = [
        *sweep(Method.L1, 3.0),
        *bl1,
        record(Method.PRUNED, 0, None, 98.0, 15.0),
        record(Method.QUANTIZED, 0, None, 98.5, 40.0),
        after(start, 96.0),
        after(start, 96.8, stepped, headroom=2),
        after(start, 96.9, (4, 4, 4, 2)),  # not as claimed
        after(start, 96.5, LayerAdcs({"*": CLAIMED})),
    ]
    (found,) = analysis.measured(runs, {"mnist": analysis.Tried(reports, {})}).values()
    assert found.pruned is not None
    assert found.pruned.values == pytest.approx((15.0 / 7.5,))
    assert {round(ratio.mean, 6) for ratio in found.l1} == {3.0}
    assert found.lossless == (4, 4, 4, 4)
    assert found.lost == Spread((17.0,))
    assert found.allocated == Spread((0.75,))
    assert found.remedied is not None
    assert found.remedied.mean == pytest.approx(98.5 - 96.5)
    assert found.word == 8  # 96.8 is of weights of 6 bits
    runs.append(after(start, 96.75, headroom=1))  # whose most significant slice is in use
    (found,) = analysis.measured(runs, {"mnist": analysis.Tried(reports, {})}).values()
    assert (found.remedied, found.word) == (Spread((1.75,)), 7)
