"""From records to claims, on records with known numbers."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bitslice.book import analysis, tables
from bitslice.book.analysis import Front, Layer, Spread, spread
from bitslice.book.figures import EXPERIMENT_NAMES
from bitslice.costs.models import SABERI
from bitslice.crossbar import BitlineSums, RowOrder
from bitslice.errors import BitsliceError
from bitslice.lab.adaptation import Adaptation
from bitslice.lab.experiments import EXPERIMENTS, adapted, mnist, run_name
from bitslice.lab.records import Record
from bitslice.lab.words import InputScaling, Method, Profile
from tests.conftest import SOURCE


def record(method: Method, seed: int, alpha: float | None, accuracy: float, density: float, top: int = 15) -> Record:
    config = mnist(method, Profile.PAPER, seed, alpha)
    return Record(
        path=Path(f"results/mnist/{run_name(config)}.json"),
        config=config,
        epochs={key: [1, 2] for key in ("stage", "epoch", "loss", "accuracy", "mean_density")},
        final={
            "accuracy": accuracy,
            "density": [density] * 4,
            "mean_density": density,
            "layers": {"1.weight": {"size": 78400, "density": [density] * 4}},
            "adc": {name: {"bound": 2 * top, "observed": top} for name in ("B0", "B1", "B2", "B3")},
        },
        after_pruning=None,
        weights={"file": f"{run_name(config)}.npz", "sha256": ""},
        provenance={**SOURCE, "wall_seconds": 60.0 + seed},
    )


def sweep(method: Method, scale: float) -> list[Record]:
    """Density ``scale * (accuracy - 90)`` for two seeds, at alphas around the default."""
    default = mnist(method).alpha
    assert default is not None
    return [
        record(method, seed, default * factor, accuracy + seed / 10, scale * (accuracy + seed / 10 - 90))
        for seed in (0, 1)
        for factor, accuracy in ((0.5, 98.0), (1.0, 97.0), (2.0, 95.0))
    ]


def test_runs_are_selected_by_experiment_method_and_profile() -> None:
    paper = record(Method.BL1, 0, None, 97.5, 5.0)
    quick = replace(paper, config=mnist(Method.BL1, Profile.QUICK))
    cifar = replace(paper, config=EXPERIMENTS["cifar10-resnet20"](Method.BL1, Profile.CPU))
    signed = replace(paper, config=mnist(Method.BL1, Profile.PAPER, input_scaling=InputScaling.NORMALIZED))
    plain = replace(paper, config=mnist(Method.BL1, Profile.PAPER, pretrain_alpha=0))
    every = [record(Method.L1, 0, None, 97.5, 5.0), paper, quick, cifar, signed, plain]
    assert analysis.select(every, "mnist", Method.BL1) == [paper]
    assert analysis.select(every, "mnist", Method.BL1, Profile.QUICK) == [quick]
    assert analysis.select(every, "mnist", Method.BL1, input_scaling=InputScaling.NORMALIZED) == [signed]
    assert analysis.select(every, "mnist", Method.BL1, pretrain_alpha=0) == [plain]
    assert analysis.select(every, "cifar10-resnet20", Method.BL1, Profile.CPU) == [cifar]  # at its own scaling
    assert analysis.at_default_alpha(every) == every
    assert analysis.by_method([*every, record(Method.BL1, 1, 0.2, 97.5, 5.0)], "mnist") == {
        "l1": [every[0]],
        "bl1": [paper],
    }


def test_runs_adapted_to_adcs_stand_apart_and_cost_what_they_lose_against_their_start() -> None:
    plain = [record(Method.BL1, seed, None, 97.5 + seed, 3.0) for seed in (0, 1)]
    other = record(Method.PRUNED, 0, None, 97.8, 9.0)

    def after(start: Record, accuracy: float, order: RowOrder = RowOrder.SPREAD) -> Record:
        return replace(
            start,
            config=adapted(start.config, Adaptation(row_order=order)),
            final={**start.final, "adc_accuracy": accuracy},
        )

    spread_rows = [after(plain[1], 98.0), after(plain[0], 97.3), after(other, 97.0)]
    consecutive = after(plain[0], 95.0, RowOrder.CONSECUTIVE)
    wider = replace(plain[0], config=adapted(plain[0].config, Adaptation((4, 4, 4, 2))))
    roomy = replace(plain[0], config=adapted(plain[0].config, Adaptation(headroom=2)))
    others = (
        mnist(Method.BL1, Profile.PAPER, 0, *chosen)
        for chosen in ((0.2,), (None, InputScaling.NORMALIZED), (None, InputScaling.UNIT, 0))
    )
    foreign = [after(replace(plain[0], config=config), 96.0) for config in others]
    every = [*plain, other, *spread_rows, consecutive, wider, roomy, *foreign]
    assert analysis.select(every, "mnist", Method.BL1) == plain
    found = analysis.adapted(every, "mnist")
    assert found == {"pruned": [spread_rows[2]], "bl1": [spread_rows[1], spread_rows[0]]}
    assert analysis.adapted(every, "mnist", Adaptation(row_order=RowOrder.CONSECUTIVE)) == {"bl1": [consecutive]}
    assert analysis.adapted(every, "mnist", Adaptation((4, 4, 4, 2))) == {"bl1": [wider]}
    assert analysis.adapted(every, "mnist", Adaptation(headroom=2)) == {"bl1": [roomy]}
    assert analysis.adapted(every, "cifar10-resnet20") == {}
    cost = analysis.adapted_cost(every, found["bl1"])
    assert cost is not None
    assert cost.values == pytest.approx((0.2, 0.5))
    assert analysis.adapted_cost(plain[:1], found["pruned"]) is None
    assert {row["Method"] for row in tables.timings([plain[0], consecutive])} == {"bl1", "bl1, adapted to ADCs"}


def test_sweeps_are_the_methods_with_an_alpha_that_have_records() -> None:
    l1, pruned = sweep(Method.L1, 3.0), record(Method.PRUNED, 0, None, 98, 9)
    assert analysis.sweeps([*l1, pruned], "mnist") == {"l1": l1}
    assert analysis.sweeps([*l1, pruned], "mnist", Profile.QUICK) == {}


def test_runs_of_one_alpha_are_picked_and_others_named() -> None:
    assert {run.config.alpha for run in analysis.at_alpha(sweep(Method.L1, 3.0), 20.0)} == {20.0}
    with pytest.raises(BitsliceError, match="no runs with alpha 7; there are 5, 10, 20"):
        analysis.at_alpha(sweep(Method.L1, 3.0), 7.0)


def test_the_ratio_at_equal_accuracy_is_the_ratio_of_the_fronts() -> None:
    ratio = analysis.density_ratio(sweep(Method.L1, 3.0), sweep(Method.BL1, 1.5), 96.2)
    assert ratio is not None
    assert ratio.values == pytest.approx((2.0, 2.0))


def test_the_pruned_network_is_compared_below_its_own_accuracy_with_its_own_seed() -> None:
    pruned = [record(Method.PRUNED, seed, None, 97.0 + seed / 10, 12.0 + seed) for seed in (0, 1, 7)]
    ratio = analysis.pruned_ratio(pruned, sweep(Method.BL1, 1.0), given_up=0.5)
    assert ratio is not None
    assert ratio.values == pytest.approx((12.0 / 6.5, 13.0 / 6.6))  # seed 7 was not swept
    assert analysis.pruned_ratio(pruned, sweep(Method.BL1, 1.0), given_up=5.0) is None


def test_no_ratio_outside_what_both_sweeps_cover() -> None:
    assert analysis.density_ratio(sweep(Method.L1, 3.0), sweep(Method.BL1, 1.5), 99.0) is None


def test_levels_lie_on_every_seeds_front() -> None:
    found = analysis.levels(sweep(Method.L1, 3.0), sweep(Method.BL1, 1.5), step=0.5)
    assert found == [95.5, 96.0, 96.5, 97.0, 97.5, 98.0]


def test_a_seed_with_the_default_alpha_alone_takes_no_part() -> None:
    lone = record(Method.BL1, 7, None, 99.0, 5.0)
    l1, bl1 = sweep(Method.L1, 3.0), sweep(Method.BL1, 1.5)
    assert analysis.levels(l1, [*bl1, lone]) == analysis.levels(l1, bl1) != []


def test_the_finding_states_what_holds() -> None:
    l1, bl1 = sweep(Method.L1, 3.0), sweep(Method.BL1, 1.0)
    text = analysis.finding(l1, bl1, [96.0, 97.0], "bit-slice L0")
    assert "bit-slice L0 is the sparser" in text
    assert "2x holds at 2 of the 2 accuracies" in text
    assert "sparser of the two at 2 of them" in text
    assert "2x holds at 0 of the 2" in analysis.finding(l1, sweep(Method.BL1, 3.0), [96.0, 97.0])
    assert "no accuracy" in analysis.finding(l1, [], [])


@given(st.lists(st.tuples(st.floats(90, 99), st.floats(0.1, 50)), min_size=1, max_size=20))
def test_no_point_beats_the_front(points: list[tuple[float, float]]) -> None:
    front = Front.of(points)
    assert list(front.accuracy) == sorted(set(front.accuracy))
    assert list(front.density) == sorted(set(front.density))
    for accuracy, density in points:
        at = front.at(min(max(accuracy, front.accuracy[0]), front.accuracy[-1]))
        better = [d for a, d in zip(front.accuracy, front.density, strict=True) if a >= accuracy]
        assert at is not None
        assert better
        assert min(better) <= density


def test_claims_are_judged_by_mean_and_spread() -> None:
    runs = [record(Method.PRUNED, seed, None, 97.5, 10.0 + seed / 10) for seed in (0, 1)]
    sweeps = [*sweep(Method.L1, 3.0), *sweep(Method.BL1, 2.0), *sweep(Method.BL0, 1.0)]
    claims = analysis.claims([*runs, *sweeps], "mnist")
    verdicts = {claim.claim: claim.verdict for claim in claims}
    assert verdicts["Sparser slices than L1, at the default alphas"] == "does not hold"
    assert verdicts["Sparser slices than pruning alone, at the default alphas"] == "does not hold"
    (equal,) = (name for name in verdicts if name.startswith("Sparser slices than L1 at equal"))
    (ours,) = (name for name in verdicts if name.startswith("Our variant"))
    assert (verdicts[equal], verdicts[ours]) == ("does not hold", "holds")
    assert [claim.verdict for claim in claims[-4:]] == ["does not hold"] * 4
    assert all(claim.n == 2 for claim in claims)


def test_an_adc_claim_holds_when_every_seed_keeps_it() -> None:
    runs = [record(method, 0, None, 97.5, 5.0, top=1) for method in Method if method.finetunes]
    assert [claim.verdict for claim in analysis.claims(runs, "mnist")[-4:]] == ["holds"] * 4


def test_claims_without_records_are_left_out() -> None:
    assert analysis.claims(sweep(Method.L1, 1.0), "mnist") == []
    lone = analysis.claims([record(Method.BL1, 0, None, 97.5, 5.0)], "mnist")
    assert [claim.claim[:8] for claim in lone] == ["ADC bits"] * 4
    assert analysis.claims(sweep(Method.L1, 1.0), "cifar10-resnet20", Profile.CPU) == []


def test_released_experiments_come_with_their_longest_profile_of_runs_at_defaults() -> None:
    paper = record(Method.BL1, 0, None, 97.5, 5.0)
    quick = replace(paper, config=mnist(Method.BL1, Profile.QUICK))
    cifar, long = (
        replace(paper, config=EXPERIMENTS["cifar10-resnet20"](Method.FLOAT, profile))
        for profile in (Profile.CPU, Profile.LONG)
    )
    found = analysis.released([cifar, long, paper, quick])
    assert list(found.items()) == [("mnist", Profile.PAPER), ("cifar10-resnet20", Profile.CPU)]
    assert found.keys() <= EXPERIMENT_NAMES.keys() == EXPERIMENTS.keys()


def test_a_seed_with_one_run_was_not_swept() -> None:
    runs = sweep(Method.L1, 3.0)
    assert analysis.swept([*runs, record(Method.L1, 7, None, 97, 5)]) == runs


def test_layers_are_averaged_over_seeds_without_biases() -> None:
    runs = [record(Method.BL1, seed, None, 97.0, 4.0 + 2 * seed) for seed in (0, 1)]
    runs[0].final["layers"]["1.bias"] = {"size": 100, "density": [50.0] * 4}
    (layer,) = analysis.layers(runs)
    assert (layer.name, layer.size, layer.density) == ("1.weight", 78400, (5.0,) * 4)
    assert layer.mean_density == 5.0
    assert layer.cells == pytest.approx(4 * 78400 * 0.05)


def test_the_finding_on_layers_names_the_dense_and_the_one_that_gave_most() -> None:
    pruned = [Layer("big", 900, (10.0,) * 4), Layer("small", 100, (50.0,) * 4)]
    variant = [Layer("big", 900, (4.0,) * 4), Layer("small", 100, (44.0,) * 4)]
    text = analysis.layers_finding(pruned, variant, "bit-slice L1")
    assert "from 4.0% (`big`) to 44.0% (`small`)" in text
    assert "hold 10% of the weights and 55% of the set cells" in text  # 44 of 36 + 44
    assert "empties 43% of the cells" in text  # 60 of 140
    assert "90% of these were in `big`, which holds 90% of the weights" in text
    assert analysis.layers_finding(variant, pruned, "L1").endswith("no fewer cells set than pruning alone.")


def test_nothing_to_average_is_an_error() -> None:
    with pytest.raises(BitsliceError, match="no records"):
        analysis.spread([], lambda r: r.accuracy)


def test_one_seed_has_no_spread() -> None:
    assert Spread((2.0,)).deviation == 0.0
    assert Spread((2.0,)).text(1) == "2.0"


def test_the_method_table_has_a_row_a_method() -> None:
    runs = {"l1": analysis.at_default_alpha(sweep(Method.L1, 3.0)), "pruned": [record(Method.PRUNED, 0, None, 97, 9)]}
    rows = tables.methods(runs)
    assert [(row["Method"], row["alpha"], row["n"]) for row in rows] == [("L1", "10", 2), ("Pruned", "–", 1)]
    assert rows[1]["B3"] == "9.00"


def test_a_float_network_has_no_densities_in_the_method_table() -> None:
    lone = replace(record(Method.FLOAT, 0, None, 98.5, 0), final={"accuracy": 98.5})
    (row,) = tables.methods({"float": [lone]})
    assert (row["Accuracy"], row["B3"], row["Mean"]) == ("98.50", "–", "–")


def test_the_adc_table_shows_claim_bits_and_saving() -> None:
    rows = tables.adc_bits({"bl1": [record(Method.BL1, 0, None, 97, 5, top=7)]})
    assert [rows[0][name] for name in ("B3", "B2", "B1", "B0")] == ["1", "3", "3", "3"]
    assert rows[1]["B3"].startswith("3.0")
    assert rows[1]["ADC power saving"].startswith("14.2")
    assert rows[2]["B3"].startswith("4.0")


def test_live_runs_stand_beside_their_released_twins() -> None:
    released = [record(Method.BL1, 0, None, 97.5, 5.0)]
    live = [replace(released[0], path=Path("build/bl1-s0.json")), record(Method.BL1, 1, None, 96.0, 6.0)]
    rows = tables.beside_released(live, released)
    assert [row["released (%)"] for row in rows] == ["97.50", "–"]


def test_tables_are_markdown_and_empty_ones_say_so() -> None:
    assert "| 8 " in tables.markdown([{"bits": 8}]).data
    assert tables.markdown([]).data == "*No runs to show.*"


def test_equal_accuracy_leaves_out_what_cannot_be_compared() -> None:
    short = [run for run in sweep(Method.BL0, 1.0) if run.accuracy > 96]
    sweeps = {"l1": sweep(Method.L1, 3.0), "bl1": sweep(Method.BL1, 1.0), "bl0": short}
    (row,) = tables.equal_accuracy(sweeps, [96.0, 99.9])
    assert list(row) == [
        "Accuracy (%)",
        "L1, density (%)",
        "Bit-slice L1, density (%)",
        "Bit-slice L0 (ours), density (%)",
        "L1 / Bit-slice L1",
        "L1 / Bit-slice L0 (ours)",
    ]
    assert row["Accuracy (%)"] == "96.00"
    assert row["L1 / Bit-slice L1"].startswith("3.00")
    assert row["L1 / Bit-slice L1"].endswith("x (n=2), 2x holds")
    assert row["Bit-slice L0 (ours), density (%)"] == row["L1 / Bit-slice L0 (ours)"] == "–"


def test_against_pruning_has_a_row_for_every_loss_of_accuracy() -> None:
    pruned = [record(Method.PRUNED, seed, None, 97.0, 14.0) for seed in (0, 1)]
    rows = tables.against_pruning(pruned, {"bl1": sweep(Method.BL1, 1.0)}, [0.0, 9.0])
    assert [row["Accuracy given up (points)"] for row in rows] == ["0.0", "9.0"]
    assert rows[0]["Pruned / Bit-slice L1"].startswith("2.00")
    assert rows[1]["Pruned / Bit-slice L1"] == "–"


def test_timings_group_equal_runs() -> None:
    rows = tables.timings(sweep(Method.L1, 3.0))
    assert len(rows) == 1
    assert rows[0]["Runs"] == 6
    assert rows[0]["Seconds a run"] == spread(sweep(Method.L1, 3.0), lambda r: r.provenance["wall_seconds"]).text(0)


def test_claims_say_how_much_sparser_and_at_what_cost() -> None:
    runs = [record(Method.PRUNED, seed, None, 98.0, 28.0) for seed in (0, 1)]
    runs += [record(Method.BL1, seed, None, 97.0, 7.0) for seed in (0, 1)]
    first, *_, b0 = analysis.claims(runs, "mnist")
    ratio, lost = Spread((4.0, 4.0)).text(), Spread((1.0, 1.0)).text()
    assert (first.reproduced, first.verdict) == (f"{ratio}x, with accuracy lower by {lost} points", "holds")
    observed, bound = Spread((4, 4)).text(1), Spread((5, 5)).text(1)
    assert b0.reproduced == f"{observed} on 1,000 test images, {bound} for any input"


def test_one_seed_that_breaks_an_adc_claim_breaks_it() -> None:
    runs = [record(Method.BL1, seed, None, 97.5, 5.0, top=top) for seed, top in ((0, 1), (1, 255))]
    assert [claim.verdict for claim in analysis.claims(runs, "mnist")] == ["does not hold"] * 4


def test_equal_accuracy_is_one_at_which_every_seed_can_be_compared() -> None:
    l1, bl1 = sweep(Method.L1, 3.0), sweep(Method.BL1, 1.0)
    levels = analysis.levels(l1, bl1)
    chosen = analysis.spread(analysis.at_default_alpha(bl1), lambda r: r.accuracy).mean
    nearest = min(levels, key=lambda level: abs(level - chosen))
    (claim,) = (c for c in analysis.claims([*l1, *bl1], "mnist") if "equal accuracy" in c.claim)
    assert f"({nearest:.2f}%)" in claim.claim
    assert claim.n == len({run.config.seed for run in l1})


def test_the_finding_names_its_extremes() -> None:
    l1 = sweep(Method.L1, 3.0)
    bl1 = [record(Method.BL1, r.config.seed, r.config.alpha, r.accuracy, (r.accuracy - 90) ** 2 / 4) for r in l1]
    low, high = (analysis.density_ratio(l1, bl1, at) for at in (98.0, 96.0))
    assert low is not None
    assert high is not None
    text = analysis.finding(l1, bl1, [96.0, 98.0])
    assert f"between {low.text(unit='x')} (at 98.00%) and {high.text(unit='x')} (at 96.00%)" in text


def test_the_method_table_has_b3_first() -> None:
    run = record(Method.BL1, 0, None, 97, 5)
    run.final["density"] = [1.0, 2.0, 3.0, 4.0]
    (row,) = tables.methods({"bl1": [run]})
    assert [row[name] for name in ("B3", "B2", "B1", "B0", "Mean")] == ["1.00", "2.00", "3.00", "4.00", "2.50"]


def test_live_and_released_numbers_stay_apart() -> None:
    released = [record(Method.BL1, 0, None, 97.5, 5.0)]
    live = [replace(record(Method.BL1, 0, None, 96.0, 7.0), path=Path("build/bl1-s0.json"))]
    (row,) = tables.beside_released(live, released)
    assert list(row.values())[2:] == ["96.00", "97.50", "7.00", "5.00"]


def test_adc_saving_is_of_the_total_power_and_of_each_seed() -> None:
    assert tables.adc_bits({})[0]["ADC power saving"] == "16.3x"  # 4 * 28.44 / (1 + 3 * 2)
    runs = [record(Method.BL1, seed, None, 97, 5, top=top) for seed, top in ((0, 7), (1, 1))]
    wanted = Spread((SABERI.power_saving(3, 8), SABERI.power_saving(1, 8))).text(1, "x")
    assert tables.adc_bits({"bl1": runs})[1]["ADC power saving"] == wanted


def test_an_empty_slice_has_no_adc() -> None:
    run = record(Method.BL0, 0, None, 97, 5, top=7)
    run.final["adc"]["B0"] = {"bound": 0, "observed": 0}
    saving = 4 * SABERI.power(8) / (3 * SABERI.power(3))
    assert tables.adc_bits({"bl0": [run]})[1]["ADC power saving"] == f"{saving:.1f}x"


def test_quantile_is_that_of_its_heading() -> None:
    for counts, wanted in (([9990, 0, 5, 5], "0"), ([9980, 0, 15, 5], "2")):
        (row,) = tables.sums_compared({"x": [BitlineSums(9, torch.tensor(counts))]})
        assert row["99.9% of sums up to"] == wanted
