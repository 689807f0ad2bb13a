"""What small ADCs save at equal accuracy, counted by hand."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bitslice.book import analysis, tables
from bitslice.book.analysis import Spread
from bitslice.book.analysis.fronts import ways
from bitslice.costs import COMPONENTS
from bitslice.lab.adaptation import CLAIMED
from bitslice.lab.experiments import adapted
from bitslice.lab.report import Report
from bitslice.lab.words import Method
from tests.test_analysis import record
from tests.test_plots_crossbar import IDEAL, report

SAR, ISAAC, FLASH = analysis.LAWS.values()


def counted(found: Report, conversions: list[int], used: list[int], lossless: list[int]) -> Report:
    """``found`` with two layers alike, whose slices have these counts."""
    layer: Any = {**found.layers[0], "conversions": conversions, "conversions_of_used": used}
    layer["slices"] = [{**layer["slices"][k], "bound_bits": bits} for k, bits in enumerate(lossless)]
    return replace(found, layers=[layer, layer])


REPORTS = {
    "report": {
        "quantized": [
            counted(report(98, {IDEAL: 98, (5,) * 4: 97.9, (3,) * 4: 90}), [10] * 4, [10, 10, 10, 5], [7] * 4)
        ],
        "bl1": [counted(report(96, {IDEAL: 96, (5,) * 4: 96}), [10] * 4, [6, 4, 2, 0], [5, 4, 3, 0])],
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
        "are not converted): One 3.2x (5.9x) and 1.3x (1.5x) with *Bit-slice L1*, trained through; "
        "Other none that was tried. In brackets, savings of 10x and 3x are reached on 0 of 2 networks."
    )
    few = replace(through, reports=(counted(through.reports[0], [10] * 4, [1] * 4, [8] * 4),))
    assert analysis.saving_finding({"One": [few]}).endswith("reached on 1 of 1 networks.")
    dense = replace(few, reports=(counted(through.reports[0], [10] * 4, [10] * 4, [8] * 4),))
    equal = replace(dense, accuracy=Spread((99.0,)))  # as cheap, and more accurate, so that few's columns do not count
    assert analysis.saving_finding({"One": [few, equal]}).endswith("reached on 0 of 1 networks.")
