"""What small ADCs save at equal accuracy, counted by hand."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pytest

from bitslice.book import analysis, tables
from bitslice.book.analysis import Spread
from bitslice.book.analysis.fronts import ways
from bitslice.book.plots import fronts
from bitslice.costs import COMPONENTS
from bitslice.crossbar import LayerAdcs
from bitslice.crossbar.adc import to_json
from bitslice.lab.adaptation import ALLOCATED_MEANS, CLAIMED
from bitslice.lab.experiments import EXPERIMENTS, adapted
from bitslice.lab.records import Record
from bitslice.lab.report import Report
from bitslice.lab.words import Method, Profile
from tests.test_analysis import record
from tests.test_plots_crossbar import IDEAL, report

SAR, ISAAC, FLASH = analysis.LAWS.values()


def counted(
    found: Report, conversions: list[int], used: list[int], lossless: list[int], row_order: str = "spread"
) -> Report:
    """``found`` with two layers alike, whose slices have these counts."""
    layer: Any = {**found.layers[0], "conversions": conversions, "conversions_of_used": used}
    layer["slices"] = [{**layer["slices"][k], "bound_bits": bits} for k, bits in enumerate(lossless)]
    layers, crossbar = [layer, {**layer, "name": "2"}], {"rows": 128, "row_order": row_order}
    return replace(found, network="results/mnist/bl1-s0.json", layers=layers, crossbar=crossbar)


REPORTS = {
    "report": {
        "quantized": [
            counted(
                report(98, {IDEAL: 98, (5,) * 4: 97.9, (3,) * 4: 90}),
                [10] * 4,
                [10, 10, 10, 5],
                [7] * 4,
                "consecutive",
            )
        ],
        "bl1": [counted(report(96, {IDEAL: 96, (5,) * 4: 96}), [10] * 4, [6, 4, 2, 0], [5, 4, 3, 0], "consecutive")],
    },
    "spread": {"bl1": [counted(report(96, {IDEAL: 96}), [10] * 4, [8, 6, 4, 0], [5, 4, 4, 0])]},
}


START = record(Method.BL1, 0, None, 96, 3.0)
THROUGH = replace(
    START,
    config=adapted(START.config),
    final={**START.final, "adc_accuracy": 97.75},
    path=START.path.with_name("through.json"),
)
TRIED = analysis.Tried(REPORTS, {"Trained through": {"bl1": [THROUGH]}})


def test_what_was_tried_is_gathered_by_experiment_with_its_files(tmp_path: Path) -> None:
    paths = [tmp_path / kind / "mnist" / START.path.name for kind in analysis.REMEDIES]
    values = REPORTS["spread"]["bl1"][0].to_dict()
    for path in paths:
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(values))
    (found,) = analysis.tried([THROUGH, START], tmp_path).values()
    assert found.reports == {kind: {"bl1": [Report.from_dict(values)]} for kind in analysis.REMEDIES}
    assert found.adapted == {title: {} for title in analysis.ADAPTATIONS} | TRIED.adapted
    assert found.paths == [THROUGH.path, *paths]


def test_ways_are_settings_without_ideal_adcs_and_what_was_trained_through() -> None:
    assert [(way.method, way.how, way.adcs, way.accuracy.mean) for way in ways(TRIED)] == [
        ("quantized", "As trained", (5,) * 4, 97.9),
        ("quantized", "As trained", (3,) * 4, 90),
        ("bl1", "As trained", (5,) * 4, 96),
        ("bl1", "Trained through", CLAIMED, 97.75),
    ]


def test_savings_are_those_of_every_conversion_by_its_bits() -> None:
    quantized, _, _, through = ways(TRIED)
    assert quantized.saving(SAR, used=False) == 32 / 20
    assert quantized.saving(SAR, used=True) == pytest.approx(2 * 40 * 8 / (2 * 35 * 5))
    assert quantized.saving_lossless(SAR, used=False) == 7 / 5
    assert quantized.saving(FLASH, used=False) == 255 / 31
    assert quantized.saving(ISAAC, used=False) == pytest.approx(COMPONENTS.energy(8) / COMPONENTS.energy(5))
    # 3 bits in B0 to B2, 1 in B3, on the mapping of the report on spread rows
    assert through.saving(SAR, used=False) == 32 / 10
    assert through.saving(SAR, used=True) == pytest.approx(40 * 8 / (3 * (8 + 6 + 4)))
    assert through.saving_lossless(SAR, used=False) == pytest.approx((5 + 4 + 4) / 10)  # an empty slice needs none
    assert through.saving_lossless(SAR, used=True) == pytest.approx((8 * 5 + 6 * 4 + 4 * 4) / (3 * (8 + 6 + 4)))
    assert through.saving(FLASH, used=False) == 4 * 255 / 22


def test_the_cheapest_is_chosen_among_those_within_half_a_point_of_quantized() -> None:
    found = analysis.cheapest_ways(TRIED)
    assert [(way.method, way.adcs) for way in found] == [("quantized", (5,) * 4), ("bl1", CLAIMED)]
    (row,) = tables.cheapest_adcs(found[1:], 98, used=False)
    assert row == {
        "Network": "Bit-slice L1",
        "n": "1",
        "ADCs": "3,3,3,1 (trained through)",
        "Below *Quantized*": "0.25",
        "SAR, by comparisons": "3.2x, 1.3x",
        "ISAAC, by components": "3.4x, 1.3x",
        "flash, by comparisons": "46.4x, 2.8x",
    }
    better = [replace(REPORTS["report"]["quantized"][0], digital_accuracy=98.3)]
    higher = replace(TRIED, reports={**REPORTS, "report": {**REPORTS["report"], "quantized": better}})
    assert [way.method for way in analysis.cheapest_ways(higher)] == ["quantized"]


def test_the_finding_names_every_network_with_one_way_and_whether_the_goal_is_met() -> None:
    quantized, through = analysis.cheapest_ways(TRIED)
    assert quantized.saving_lossless(SAR, used=False) > through.saving_lossless(SAR, used=False)  # and yet not told
    assert analysis.saving_finding({"One": [quantized, through], "Other": []}).endswith(
        "are not converted): One 3.2x (5.9x) and 1.3x (1.5x) with *Bit-slice L1*, trained through (n=1); "
        "Other none that was tried. In brackets, one network saves both 10x and 3x on none."
    )
    few = replace(through, reports=(counted(through.reports[0], [10] * 4, [1] * 4, [8] * 4),))
    assert analysis.saving_finding({"One": [few]}).endswith("saves both 10x and 3x on One (*Bit-slice L1*).")
    lean = replace(few, method="l1", reports=(counted(through.reports[0], [10] * 4, [1] * 4, [3] * 4),))
    equal = replace(lean, accuracy=Spread((99.0,)))  # as cheap, and more accurate: told in place of few
    both = analysis.saving_finding({"One": [few, equal]})
    assert "with *L1*" in both
    assert both.endswith("saves both 10x and 3x on One (*Bit-slice L1*).")
    assert analysis.saving_finding({"One": [lean]}).endswith("saves both 10x and 3x on none.")


def allocated(
    found: Report, judged: float, choices: dict[float, tuple[tuple[int, ...], tuple[int, ...], float, float]]
) -> Report:
    """``found`` with ADCs of its two layers, accuracy and accuracy on training images by their mean; and (4,) * 4."""
    (given,) = report(98, {(4,) * 4: 97.6}).settings
    settings = [replace(given, judged=judged - 0.25)]
    for mean, (first, second, accuracy, own) in choices.items():
        bits = LayerAdcs({"1": first, "2": second})
        settings.append(replace(given, adc_bits=bits, accuracy=accuracy, mean=mean, judged=own, levels=bits))
    return replace(found, settings=settings, digital_judged=judged)


DENSE = counted(report(98, {}), [10] * 4, [10, 10, 10, 5], [7] * 4)
SPARSE = counted(report(96, {}), [10] * 4, [8, 6, 4, 0], [5, 4, 4, 0])
LEVELS = {
    "quantized": [
        allocated(DENSE, 99, {2.0: ((3, 2, 2, 1), (2, 2, 1, 1), 97.8, 98.75), 1.5: ((1,) * 4, (2,) * 4, 97.6, 98.4)})
    ],
    "bl1": [
        allocated(SPARSE, 98, {2.0: ((3, 2, 1, 1), (2, 2, 2, 1), 97.9, 97.9), 1.5: ((2,) * 4, (1,) * 4, 97, 98)}),
        allocated(SPARSE, 98, {2.0: ((2, 2, 2, 1), (2, 2, 1, 1), 97.5, 97.9)}),
    ],
}
HOW = ALLOCATED_MEANS[-1]
THROUGH_MEAN = replace(
    THROUGH,
    config=adapted(START.config, HOW),
    final={**THROUGH.final, "adcs": to_json(LayerAdcs({"1": (2, 1, 1, 1), "2": (1, 1, 2, 1)})), "adc_accuracy": 97.7},
)
TITLE = "Allocated, 1.5 bits on average, distilled"
WITH_MEANS = analysis.Tried({**REPORTS, "levels": LEVELS}, {TITLE: {"bl1": [THROUGH_MEAN]}})


def allocations() -> dict[tuple[str, str, object], analysis.Way]:
    return {(way.method, way.how, way.adcs): way for way in ways(WITH_MEANS) if way.how not in ("As trained",)}


def test_allocated_adcs_are_ways_of_their_own_by_their_mean() -> None:
    told = [(way.method, way.how, way.adcs, way.accuracy.values, way.spoiled) for way in ways(WITH_MEANS)][3:]
    assert told == [
        ("quantized", "Levels found", (4,) * 4, (97.6,), 0.25),
        ("quantized", "Resolutions allocated", 2.0, (97.8,), 0.25),
        ("quantized", "Resolutions allocated", 1.5, (97.6,), pytest.approx(0.6)),
        ("bl1", "Levels found", (4,) * 4, (97.6, 97.6), 0.25),
        ("bl1", "Resolutions allocated", 2.0, (97.9, 97.5), pytest.approx(0.1)),
        ("bl1", "Resolutions allocated", 1.5, (97,), 0),  # of the seed that has it
        ("bl1", TITLE, 1.5, (97.7,), None),
    ]


def test_savings_of_allocated_adcs_are_those_of_every_layer_s_own() -> None:
    found = allocations()
    dense = found["quantized", "Resolutions allocated", 2.0]
    assert dense.saving(SAR, used=False) == 640 / (10 * 8 + 10 * 6)
    assert dense.saving(SAR, used=True) == 640 / (10 * (3 + 2 + 2 + 2 + 2 + 1) + 5 * (1 + 1))
    assert dense.saving_lossless(SAR, used=True) == 2 * 35 * 7 / 130
    assert dense.saving(FLASH, used=False) == pytest.approx(2 * 4 * 255 / (7 + 3 + 3 + 1 + 3 + 3 + 1 + 1))
    sparse = found["bl1", "Resolutions allocated", 2.0]
    each = [8 * (3 + 2) + 6 * (2 + 2) + 4 * (1 + 2), 8 * (2 + 2) + 6 * (2 + 2) + 4 * (2 + 1)]  # of the seeds
    assert sparse.saving(SAR, used=True) == pytest.approx(640 / (sum(each) / 2))
    through = found["bl1", TITLE, 1.5]
    assert through.saving(SAR, used=True) == pytest.approx(640 / (8 * (2 + 1) + 6 * (1 + 1) + 4 * (1 + 2)))
    assert through.saving_lossless(SAR, used=True) == pytest.approx(2 * (8 * 5 + 6 * 4 + 4 * 4) / 48)


def test_what_was_trained_through_needs_the_report_of_its_own_start() -> None:
    other = replace(SPARSE, network="results/mnist/bl1-s1.json")
    assert not [
        way for way in ways(replace(WITH_MEANS, reports={**REPORTS, "spread": {"bl1": [other]}})) if way.how == TITLE
    ]


def test_the_cheapest_spoil_little_on_the_images_that_they_are_chosen_by() -> None:
    found = analysis.cheapest_ways(WITH_MEANS)
    assert [(way.method, way.how, way.adcs) for way in found] == [
        ("quantized", "Resolutions allocated", 2.0),  # of 1.5 bits lose 0.6 points on training images
        ("bl1", TITLE, 1.5),
    ]
    without = replace(WITH_MEANS, adapted={})
    assert [(way.method, way.adcs) for way in analysis.cheapest_ways(without)] == [("quantized", 2.0), ("bl1", 2.0)]


def test_what_a_method_is_worth_is_said_against_quantized() -> None:
    quantized, bl1 = analysis.cheapest_ways(WITH_MEANS)  # 640 / 130 and 640 / 48
    l1, pruned = replace(bl1, method="l1"), replace(quantized, method="pruned")
    less = replace(bl1, chosen=(CLAIMED,))  # 640 / 108
    found = analysis.worth_finding(
        {
            "One": {"quantized": quantized, "bl1": bl1, "pruned": pruned},
            "Two": {"quantized": quantized, "bl1": less, "l1": l1},
            "Three": {"quantized": quantized, "bl1": None, "pruned": pruned},
            "Four": {"quantized": quantized, "bl1": None},
            "Five": {"quantized": quantized, "pruned": pruned},
            "Alone": {"quantized": quantized},
            "None": {"quantized": None, "bl1": bl1},
        }
    )
    assert found == (
        "At equal accuracy, with ADCs allocated to each network and empty columns skipped, sparse ones make so many "
        "times fewer comparisons than *Quantized*: "
        "**One 2.71x with *Bit-slice L1*, n=1; Two 2.71x with *L1*, n=1 (1.20x with *Bit-slice L1*, n=1); "
        "Three 1.00x with *Pruned*, n=1 (*Bit-slice L1* does not keep it); Four none, no other method keeps it; "
        "Five 1.00x with *Pruned*, n=1**."
    )
    assert analysis.worth_finding({"Alone": {"quantized": quantized}}) is None


def test_networks_are_compared_seed_by_seed() -> None:
    ways = {way.method: way for way in analysis.ways(WITH_MEANS) if way.adcs == 2.0}
    [first, second] = [replace(SPARSE, network=f"results/mnist/bl1-s{seed}.json") for seed in (0, 1)]
    bl1 = replace(ways["bl1"], reports=(first, second))
    each = [8 * (3 + 2) + 6 * (2 + 2) + 4 * (1 + 2), 8 * (2 + 2) + 6 * (2 + 2) + 4 * (2 + 1)]
    assert bl1.times_fewer(ways["quantized"]) == Spread((130 / each[0],))  # which has no seed 1
    both = replace(bl1, reports=(second, first))
    assert bl1.times_fewer(both) == Spread((each[0] / each[1], each[1] / each[0]))  # as theirs are listed
    assert replace(bl1, reports=(second,), chosen=bl1.chosen[:1]).times_fewer(ways["quantized"]) is None


def test_networks_that_were_trained_longer_stand_apart(tmp_path: Path) -> None:
    config = EXPERIMENTS["cifar10-resnet20"](Method.QUANTIZED, Profile.LONG)
    path = Path("results/cifar10-resnet20/quantized-long-s0.json")
    run = replace(START, config=config, path=path)
    assert analysis.trained_longer([START, run], tmp_path) == {}
    of_mean = allocated(
        DENSE, 99, {2.5: ((3, 2, 2, 1), (2, 2, 1, 1), 97.8, 98.75), 1.5: ((1,) * 4, (2,) * 4, 97, 98.9)}
    )
    place = tmp_path / "levels" / "cifar10-resnet20" / path.name
    place.parent.mkdir(parents=True)
    place.write_text(json.dumps(replace(of_mean, network=str(path)).to_dict()))
    longer = analysis.trained_longer([START, run], tmp_path)
    assert {e: {kind: list(own) for kind, own in each.reports.items()} for e, each in longer.items()} == {
        "cifar10-resnet20": {"levels": ["quantized"]}
    }
    assert longer["cifar10-resnet20"].paths == [place]
    [way] = [way for way in ways(longer["cifar10-resnet20"]) if way.adcs == 2.5]
    through = replace(
        run,
        config=adapted(config, ALLOCATED_MEANS[0]),
        final={**START.final, "adc_accuracy": 97.9, "adcs": to_json(way.chosen[0])},
        path=path.with_stem("quantized-long-mean1.75-s0"),
    )
    both = analysis.trained_longer([through, run, replace(through, config=adapted(START.config))], tmp_path)
    assert both["cifar10-resnet20"].paths == [through.path, place]
    [trained] = [way for way in ways(both["cifar10-resnet20"]) if way.adcs == 1.75]
    assert (trained.accuracy.mean, trained.reports) == (97.9, way.reports)
    assert trained.how == "Allocated, 1.75 bits on average, distilled"
    assert list(analysis.with_longer({"mnist": TRIED, "cifar10-resnet20": TRIED}, longer)) == [
        "MNIST",
        "ResNet-20",
        "ResNet-20, longer training",
    ]
    short = replace(START, config=EXPERIMENTS["cifar10-resnet20"](Method.QUANTIZED), final={"accuracy": 95.5})
    assert analysis.schedule_finding([short], [run]) == (
        "Trained for 96 epochs, not 24, *Quantized* has 96.00% (n=1), 0.50 points more at equal seeds."
    )
    assert analysis.schedule_finding([short], []) is None
    other = replace(short, config=EXPERIMENTS["cifar10-resnet20"](Method.QUANTIZED, seed=1), final={"accuracy": 90})
    assert analysis.schedule_finding([other], [run]) is None
    assert "0.50 points more" in (analysis.schedule_finding([short, other], [run]) or "")


def test_sparser_networks_are_told_with_what_they_lose() -> None:
    def run(method: Method, accuracy: float, density: float, seed: int = 0) -> Record:
        config = EXPERIMENTS["cifar10-resnet20"](method, Profile.LONG, seed)
        return replace(START, config=config, final={"accuracy": accuracy, "density": [density] * 4})

    quantized = [run(Method.QUANTIZED, 92.0, 40), run(Method.QUANTIZED, 92.5, 36, seed=1)]
    bl0 = [run(Method.BL0, 92.25, 10), run(Method.BL0, 92.5, 12, seed=1)]
    runs = {"quantized": quantized, "l1": [run(Method.L1, 91.25, 16)], "bl0": bl0}
    assert analysis.sparser_finding(runs) == (
        "At most 0.5 points below *Quantized* of that length, slices are sparser by *Bit-slice L0 (ours)* (alpha 32) "
        "3.50 ±\N{NO-BREAK SPACE}0.71x, n=2; *L1* (alpha 20) loses 0.75 points, n=1."
    )
    assert analysis.sparser_finding({"quantized": quantized, "l1": [run(Method.L1, 91.25, 16)]}) == (
        "At most 0.5 points below *Quantized* of that length, no method has sparser slices; "
        "*L1* (alpha 20) loses 0.75 points, n=1."
    )
    assert analysis.sparser_finding({"quantized": quantized}) is None
    assert analysis.sparser_finding({"bl0": bl0}) is None


def test_of_longer_runs_the_smallest_alpha_counts_and_default_settings() -> None:
    def run(method: Method, seed: int = 0, **settings: Any) -> Record:
        return replace(START, config=EXPERIMENTS["cifar10-resnet20"](method, Profile.LONG, seed, **settings))

    few = [run(Method.BL1, seed, alpha=0.1) for seed in (0, 1)]
    quantized = run(Method.QUANTIZED)
    others = [
        run(Method.BL1, alpha=0.2),
        run(Method.L1, pretrain_alpha=0.0),
        replace(quantized, config=adapted(quantized.config)),
        replace(START, config=EXPERIMENTS["cifar10-vgg11-bn"](Method.QUANTIZED, Profile.LONG)),
        START,
    ]
    found = analysis.longer_runs([*others, *few, quantized], "cifar10-resnet20")
    assert found == {"quantized": [quantized], "bl1": few}
    assert list(found) == ["quantized", "bl1"]


def test_what_a_column_s_constraint_leaves_is_told_by_the_adcs_that_it_makes_lossless() -> None:
    runs = [
        record(Method.COLUMN, seed, alpha, accuracy, 3.0)
        for alpha, seed, accuracy in [(10.0, 0, 96.0), (2.0, 0, 73.0), (2.0, 1, 74.0)]
    ]
    quantized = record(Method.QUANTIZED, 0, None, 97.5, 6.0)
    assert analysis.column_finding("mnist", [*runs, quantized], "MNIST") == (
        "MNIST, a column: 2 weights 3 bits and 73.50 ±\N{NO-BREAK SPACE}0.71% (n=2); "  # sums of at most 6
        "10 weights 5 bits and 96.00% (n=1); *Quantized* without ADCs 97.50% (n=1)"  # of at most 30
    )
    assert analysis.column_finding("mnist", [quantized], "MNIST") is None


def test_only_networks_with_resolutions_of_their_own_are_compared() -> None:
    chosen = analysis.chosen_for_each(WITH_MEANS)
    assert {method: way and way.how for method, way in chosen.items()} == {
        "quantized": "Resolutions allocated",
        "bl1": "Resolutions allocated",
    }  # though what was trained through them is cheaper
    assert analysis.chosen_for_each(TRIED) == {}


def test_the_finding_on_savings_tells_allocated_adcs() -> None:
    assert analysis.saving_finding({"One": analysis.cheapest_ways(WITH_MEANS)}).endswith(
        "One 6.4x (13.3x) and 2.6x (3.3x) with *Bit-slice L1*, allocated, 1.5 bits on average, distilled "
        "(n=1). In brackets, one network saves both 10x and 3x on One (*Bit-slice L1*)."
    )


def test_the_table_of_a_front_has_the_cheapest_first() -> None:
    first, *_, last = rows = tables.front(analysis.near(WITH_MEANS))
    assert len(rows) == 9  # what is 8 points below is left out
    assert first == {
        "Network": "Bit-slice L1",
        "ADCs": "1.5 on average (allocated, 1.5 bits on average, distilled)",
        "Accuracy (%)": "97.70",
        "n": "1",
        "SAR, by comparisons": "6.4x (13.3x)",
        "ISAAC, by components": "6.8x (14.2x)",
        "flash, by comparisons": "170.0x (340.0x)",
    }
    assert last["ADCs"] == "5 (as trained)"
    assert [row["ADCs"] for row in rows].count("2 on average (resolutions allocated)") == 2


def test_the_figure_of_a_front_has_a_line_for_allocated_adcs_and_marks_for_others() -> None:
    found = analysis.near(WITH_MEANS)
    figure = fronts.fronts({"mnist": found, "cifar10-resnet20": []}, {"mnist": 98, "cifar10-resnet20": 90})
    panel, empty = figure.axes
    drawn = [
        (line.get_label(), line.get_markersize(), list(map(float, line.get_xdata())), list(line.get_ydata()))  # type: ignore[arg-type]
        for line in panel.lines
    ]
    of = {(way.method, way.how, way.adcs): way.saving(SAR, used=True) for way in found}
    quantized, bl1 = (
        [of[method, "Resolutions allocated", mean] for mean in (2.0, 1.5)] for method in ("quantized", "bl1")
    )
    assert drawn[0] == ("Quantized", 4, quantized, [97.8, 97.6])
    uniform = [of["quantized", "Levels found", (4,) * 4], of["quantized", "As trained", (5,) * 4]]
    assert drawn[1][1:] == (3, uniform, [97.6, 97.9])
    assert drawn[2] == ("Bit-slice L1", 4, bl1, [97.7, 97])
    assert drawn[4][1:] == (10, [of["bl1", TITLE, 1.5]], [97.7])
    assert [line[3][0] for line in drawn[5:]] == [98, 97.5]
    assert panel.get_ylim() == (92, 99)
    assert len(empty.lines) == 2
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["Quantized", "Bit-slice L1"]
    plt.close(figure)
