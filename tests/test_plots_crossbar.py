"""The crossbar pages: their figures and tables say what reports with known numbers hold."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bitslice.book import analysis, tables
from bitslice.book.plots import crossbar
from bitslice.crossbar import AdcGradient, BitlineSums, Crossbar, LayerAdcs, map_network
from bitslice.errors import BitsliceError
from bitslice.lab.adaptation import CLAIMED, GAUSSIAN, LEVELS, PLAIN, STRAIGHT, Adaptation
from bitslice.lab.described import describe_geometry
from bitslice.lab.experiments import EXPERIMENTS, adapted
from bitslice.lab.records import Record
from bitslice.lab.report import Report, Setting
from bitslice.lab.tolerance import Tolerance, ToleranceReport, read
from bitslice.lab.words import Method, Profile
from bitslice.quantizer import quantize
from tests.conftest import SOURCE
from tests.test_analysis import record

IDEAL = (None,) * 4


@pytest.fixture(autouse=True)
def _close() -> Iterator[None]:
    yield
    plt.close("all")


def texts(figure: Figure) -> str:
    return " ".join(text.get_text() for text in figure.findobj(plt.Text))


def points(panel: Axes, line: int = 0) -> list[float]:
    """Heights of the marks of one curve."""
    return list(panel.containers[line][0].get_ydata())  # type: ignore[index]


def report(digital: float, accuracies: dict[tuple[int | None, ...], float]) -> Report:
    """One layer of one matrix, and ADCs that cost as much as they have bits."""
    sums: dict[str, Any] = {
        "bound": 9,
        "bound_bits": 4,
        "observed": 7,
        "observed_bits": 3,
        "quantiles": {"0.99": 5},
        "counts": [],
    }
    settings = []
    for bits, accuracy in accuracies.items():
        energy = None if None in bits else 1e-6 * sum(b for b in bits if b)
        settings.append(Setting(bits, accuracy, (0.0,) * 4, energy, energy, energy, None))
    sizes = (
        "groups",
        "wordlines",
        "outputs",
        "row_tiles",
        "arrays",
        "unused_rows",
        "unused_columns",
        "vectors",
        "cycles",
    )
    layer: Any = {"name": "1", **dict.fromkeys(sizes, 1), "wordlines": 784, "outputs": 100, "utilization": 1.0}
    layer |= {"signed": False, "conversions": [1], "conversions_of_used": [1], "tile_bounds": [], "tile_observed": []}
    return Report(
        network="",
        crossbar={"rows": 128},
        cost_model="ISAAC, by components",
        images=1000,
        observed_images=100,
        headroom=0,
        calibration_images=None,
        levels_images=None,
        judging_images=None,
        digital_accuracy=digital,
        digital_judged=None,
        layers=[{**layer, "slices": [{**sums, "bound_bits": 4 + k} for k in range(4)]}],
        settings=settings,
        provenance=SOURCE,
    )


def reports() -> dict[str, list[Report]]:
    return {
        "pruned": [report(98, {IDEAL: 98, (4,) * 4: 97.4, (3, 3, 3, 1): 50})],
        "bl1": [
            report(97 + k, {IDEAL: 97 + k, (4,) * 4: 96.8 + k, (3, 3, 3, 1): 70 + 4 * k, (2,) * 4: 60}) for k in (0, 1)
        ],
    }


def tolerance(ideal: float, *measured: Tolerance) -> ToleranceReport:
    return ToleranceReport(
        "", describe_geometry(Crossbar()), (8,) * 4, 1000, (Tolerance(None, None, (ideal,)), *measured), SOURCE
    )


def tolerances() -> dict[str, list[ToleranceReport]]:
    weak, strong, leaky = ("variation", 0.1), ("variation", 0.4), ("on_off_ratio", 30.0)
    return {
        "pruned": [tolerance(98, Tolerance(*weak, (97, 96)), Tolerance(*strong, (80, 84)), Tolerance(*leaky, (95,)))],
        "bl1": [tolerance(97, Tolerance(*weak, (94, 95)), Tolerance(*strong, (90, 91)), Tolerance(*leaky, (96,)))],
    }


def test_reports_are_found_by_experiment_and_method_at_default_settings_where_there_are_such(tmp_path: Path) -> None:
    cifar = EXPERIMENTS["cifar10-resnet20"](Method.BL1, Profile.CPU)
    runs = [
        replace(record(Method.BL1, 0, None, 97, 5), config=cifar, path=Path("results/cifar10-resnet20/bl1-s0.json")),
        record(Method.BL1, 0, None, 97, 5),
        record(Method.BL1, 1, None, 97, 5),
        record(Method.BL1, 0, 2.0, 96, 4),
        record(Method.PRUNED, 0, None, 98, 9),
        record(Method.BL0, 0, 2.0, 97, 5),
        record(Method.BL0, 0, 8.0, 97, 4),
        record(Method.BL0, 1, 8.0, 97, 4),
        record(Method.L1, 0, None, 98, 9),
    ]
    for run in runs[:-1]:
        path = tmp_path / run.config.experiment / run.path.name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    found = analysis.beside(runs, tmp_path)
    assert list(found) == ["mnist", "cifar10-resnet20"]
    assert list(found["mnist"]) == ["pruned", "bl1", "bl0"]
    assert [path.stem for path in found["mnist"]["bl1"]] == ["bl1-s0", "bl1-s1"]
    assert [path.stem for path in found["mnist"]["bl0"]] == ["bl0-a8-s0", "bl0-a8-s1"]  # none at the default
    with pytest.raises(BitsliceError, match="holds nothing on runs"):
        analysis.beside(runs, tmp_path / "nowhere")


def test_tolerance_reports_are_read_back(tmp_path: Path) -> None:
    path = tmp_path / "bl1-s0.json"
    (written,) = tolerances()["bl1"]
    path.write_text(json.dumps(written.to_dict()))
    assert read(path) == written
    path.write_text("{}")
    with pytest.raises(BitsliceError, match="is not a tolerance report"):
        read(path)
    with pytest.raises(BitsliceError, match="no tolerance report at"):
        read(tmp_path / "nothing.json")


def test_accuracies_are_averaged_over_seeds_setting_by_setting() -> None:
    found = analysis.accuracies(reports()["bl1"])
    assert list(found) == [IDEAL, (4,) * 4, (3, 3, 3, 1), (2,) * 4]
    assert found[3, 3, 3, 1].values == (70, 74)


def simulated() -> list[analysis.Simulated]:
    """Two networks of bit-slice L1 and a pruned one, twice as dense, with their reports."""
    found = reports()
    return [
        (record(Method.PRUNED, 0, None, 98, 10.0), found["pruned"][0]),
        *((record(Method.BL1, seed, None, 97, 5.0 + seed), found["bl1"][seed]) for seed in (0, 1)),
    ]


def test_networks_are_simulated_where_there_is_a_report(tmp_path: Path) -> None:
    (run, written), (without, _), _ = simulated()
    path = tmp_path / "mnist" / run.path.name
    path.parent.mkdir()
    path.write_text(json.dumps(written.to_dict()))
    ((found, read_back),) = analysis.simulated([run, without], tmp_path)
    assert (found, read_back.settings) == (run, written.settings)


def test_accuracy_by_density_has_a_mark_a_network_at_its_density() -> None:
    figure = crossbar.accuracy_by_density({"mnist": simulated()}, ((4,) * 4, CLAIMED))
    four, claimed = figure.axes
    marks = {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in claimed.lines}  # type: ignore[arg-type]
    assert marks == {"Pruned": ([10], [50]), "Bit-slice L1": ([5, 6], [70, 74])}
    assert list(four.lines[1].get_ydata()) == [96.8, 97.8]  # type: ignore[arg-type]
    assert [panel.get_title() for panel in figure.axes] == ["MNIST, perceptron, 4", "MNIST, perceptron, 3,3,3,1"]


def test_accuracy_by_energy_has_a_mark_a_network_and_setting_whose_energy_is_known() -> None:
    (panel,) = crossbar.accuracy_by_energy({"mnist": simulated()}).axes
    marks = {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in panel.lines}  # type: ignore[arg-type]
    assert marks["Pruned"] == ([16, 10], [97.4, 50])  # uJ of 16 and 10 bits; an ideal ADC has no energy
    assert marks["Bit-slice L1"] == ([16, 10, 8, 16, 10, 8], [96.8, 70, 60, 97.8, 74, 60])


def test_legends_lie_beside_the_curves() -> None:
    for figure in (
        crossbar.accuracy_by_setting({"mnist": reports()}),
        crossbar.accuracy_by_remedy({"mnist": remedied()}),
        crossbar.accuracy_by_energy({"mnist": simulated()}),
        crossbar.accuracy_by_density({"mnist": simulated()}, ((4,) * 4, CLAIMED)),
        crossbar.accuracy_by_strength({"mnist": tolerances()}),
        crossbar.bits_by_method({"bl1": [record(Method.BL1, 0, None, 97, 5, top=15)]}),
    ):
        figure.canvas.draw()
        panels = [axes for axes in figure.axes if axes.axison]
        found = [*figure.legends, *(axes.legend_ for axes in figure.axes if axes.legend_)]
        assert found
        for legend in found:
            box = legend.get_window_extent()
            assert not any(box.overlaps(axes.get_window_extent().shrunk(0.99, 0.99)) for axes in panels)


def test_networks_table_has_a_row_a_group_and_a_dash_where_a_setting_was_not_run() -> None:
    pruned, *sparse = simulated()
    dense, bl1 = tables.networks({"Pruned": [pruned], "Bit-slice L1": sparse})
    assert dense == {
        "Network": "Pruned",
        "n": "1",
        "Mean density (%)": "10.00",
        "ideal": "98.00",
        "4": "97.40",
        "3,3,3,1": "50.00",
        "2": "–",
    }
    assert (bl1["n"], bl1["Mean density (%)"], bl1["3,3,3,1"]) == ("2", "5.50 ±\xa00.71", "72.00 ±\xa02.83")


def test_tolerated_pools_networks_and_chips_and_starts_at_the_ideal() -> None:
    found = analysis.tolerated(tolerances()["bl1"] * 2, "variation")
    assert {strength: s.values for strength, s in found.items()} == {
        None: (97, 97),
        0.1: (94, 95, 94, 95),
        0.4: (90, 91, 90, 91),
    }


def test_the_hardier_network_is_judged_by_what_it_loses_not_by_what_it_keeps() -> None:
    found = tolerances()
    assert analysis.hardier(found["pruned"], found["bl1"], "variation") == (1, 2)
    assert analysis.hardier(found["pruned"], found["bl1"], "on_off_ratio") == (1, 1)
    assert analysis.hardier(found["pruned"], found["bl1"], "read_noise") == (0, 0)


def test_small_arrays_show_their_sums_and_the_adc_of_the_fullest_bitline() -> None:
    one_column = torch.tensor([[0, 3], [0, 3]])
    drawn = crossbar.columns({"spread out": torch.tensor([[3, 0], [0, 3]]), "one column": one_column})
    assert "spread out\nADC: 2 bits" in texts(drawn)
    assert "one column\nADC: 3 bits" in texts(drawn)
    assert "6" in [text.get_text() for text in drawn.axes[1].texts]


def test_sums_are_marked_with_the_claim_where_slices_are_the_papers() -> None:
    sums = [BitlineSums(20, torch.tensor([90, *[1] * 9])) for _ in range(4)]
    drawn = texts(crossbar.sums_by_slice(sums))
    assert "B3: 8.1% beyond 1 bit " in drawn + " "
    assert "B0: 2% beyond 3 bits" in drawn
    assert "beyond" not in texts(crossbar.sums_by_slice(sums[:1]))


def test_bits_stand_beside_the_claim() -> None:
    figure = crossbar.bits_by_method({"bl1": [record(Method.BL1, 0, None, 97, 5, top=15)]})
    assert "claimed" in texts(figure)
    light, full = figure.axes[0].containers
    assert {bar.get_height() for bar in full} == {4}  # type: ignore[attr-defined]
    assert {bar.get_height() for bar in light} == {5}  # type: ignore[attr-defined]


def test_accuracy_by_setting_has_a_panel_an_experiment_and_means_over_seeds() -> None:
    figure = crossbar.accuracy_by_setting({"mnist": reports(), "cifar10-resnet20": {"bl1": reports()["bl1"]}})
    first, second = figure.axes
    assert (first.get_title(), second.get_title()) == ("MNIST, perceptron", "CIFAR-10, ResNet-20")
    assert [label.get_text() for label in first.get_xticklabels()] == ["ideal", "4", "3,3,3,1", "2"]
    assert points(first) == pytest.approx([98, 97.4, 50])
    assert points(first, 1) == pytest.approx([97.5, 97.3, 72, 60])
    assert "Bit-slice L1 (n=2)" in texts(figure)


def remedied() -> dict[str, dict[str, analysis.Spread]]:
    run = record(Method.BL1, 0, None, 97.5, 3.0)
    run = replace(run, config=adapted(run.config, LEVELS), final={**run.final, "adc_accuracy": 97.25})
    spread_rows = {"bl1": [report(97, {CLAIMED: 90}), report(98, {CLAIMED: 92})]}
    given = report(98, {CLAIMED: 93})
    (setting,) = given.settings
    means = [replace(setting, adc_bits=LayerAdcs({"1": 3}), mean=mean, accuracy=92 + mean) for mean in (2.0, 2.5)]
    kinds = {
        "report": reports(),
        "spread": spread_rows,
        "levels": {"bl1": [replace(given, settings=[setting, *means])]},
    }
    trained = {"Levels found, trained through": {"bl1": [run]}, "Trained through": {}}
    return analysis.by_remedy(analysis.Tried(kinds, trained))


def test_remedies_have_a_row_a_remedy_and_a_column_a_method() -> None:
    assert analysis.ADAPTATIONS["Levels found, trained through"] == LEVELS
    rows = tables.remedies(remedied())
    assert [[*row.values()] for row in rows] == [
        ["Without ADCs", "98.00", analysis.Spread((97, 98)).text()],
        ["As trained", "50.00", analysis.Spread((70, 74)).text()],
        ["Rows spread", "–", analysis.Spread((90, 92)).text()],
        ["Levels found", "–", "93.00 (n=1)"],
        ["Resolutions allocated", "–", "94.50 (n=1)"],  # as many bits on average as in 3,3,3,1
        ["Levels found, trained through", "–", "97.25 (n=1)"],
    ]
    assert list(rows[0]) == ["For the ADCs", "Pruned (%, n=1)", "Bit-slice L1 (%, n=2)"]


def test_accuracy_by_remedy_has_a_line_a_remedy() -> None:
    figure = crossbar.accuracy_by_remedy({"mnist": remedied()})
    (panel,) = figure.findobj(Axes)
    assert [label.get_text() for label in panel.get_yticklabels()] == list(remedied())
    marks = {c.get_label(): [round(x) for x in c.lines[0].get_xdata()] for c in panel.containers}
    assert marks == {"Pruned": [98, 50], "Bit-slice L1": [98, 72, 91, 93, 94, 97]}


def test_costs_of_adapted_networks_are_measured_by_their_own_start_and_by_quantized() -> None:
    start, quantized = record(Method.BL1, 0, None, 97.5, 3.0), record(Method.QUANTIZED, 0, None, 98.0, 9.0)
    run = replace(start, config=adapted(start.config), final={**start.final, "adc_accuracy": 97.25})
    runs = {"Trained through": {"bl1": [run]}, "None": {}}
    (row,) = tables.adapted_costs([start, quantized, run], runs)
    assert row == {
        "Network": "Bit-slice L1",
        "Adapted": "Trained through",
        "n": "1",
        "Below itself before": "0.25",
        "Below *Quantized*": "0.75",
        "Within 0.5": "no",
    }
    assert tables.adapted_costs([start, run], runs) == []

    def found(known: Record, through: dict[str, dict[str, list[Record]]]) -> list[Any]:
        return list(analysis.closest_adcs([known], analysis.Tried({"report": {}}, through)).values())

    assert found(quantized, runs) == [None, ("bl1", analysis.Spread((0.75,))), None, None]
    assert found(start, runs) == [None] * 4
    better, narrower, narrowest, other = (
        replace(run, final={"adc_accuracy": each}) for each in (97.5, 98.25, 98.5, 99)
    )
    every = runs | {
        "Levels found, trained through": {"l1": [better]},
        "1 bit of headroom, distilled for 6 epochs": {"bl1": [narrower]},
        "2 bits of headroom, trained through": {"bl1": [narrowest]},
        "1 bit in every slice, likewise, once trained through those": {"bl1": [other]},  # not the claimed ADCs
    }
    lost = [("l1", 0.5), ("bl1", -0.25), ("bl1", -0.5)]
    assert found(quantized, every) == [None, *((method, analysis.Spread((points,))) for method, points in lost)]
    through = analysis.Tried({"report": {}}, every)
    assert list(analysis.closest_fewer([quantized], through).values()) == [
        None,
        None,
        ("bl1", analysis.Spread((-1.0,))),
    ]


def test_fewer_bits_are_near_by_the_points_that_their_column_says() -> None:
    def simulated(seed: int, *settings: tuple[tuple[int, ...], float, float | None]) -> Report:
        one = report(97, {bits: accuracy for bits, accuracy, _ in settings})
        means = [replace(given, mean=mean) for given, (_, _, mean) in zip(one.settings, settings, strict=True)]
        return replace(one, network=f"results/mnist/bl1-s{seed}", settings=means)

    narrow = replace(simulated(0, ((2, 2, 2, 1), 96.0, None)), headroom=1)
    empty = replace(narrow, headroom=2)  # whose most significant slice is not in use
    wide = simulated(0, ((2, 2, 2, 1), 95.5, None), ((1, 1, 1, 1), 95.0, 1.0), ((3, 2, 1, 1), 96.5, 1.75))
    kinds = {
        "report": {"quantized": [replace(report(97, {}), network="results/mnist/quantized-s0")]},
        "levels": {"bl1": [wide]},
        "seven_bits": {"bl1": [narrow], "l1": [empty]},
    }
    assert tables.closest_fewer([], {"MNIST": analysis.Tried(kinds, {})}) == [
        {
            "Network": "MNIST",
            "2,2,2,1 (near: 1)": "**1.00** (Bit-slice L1, n=1)",
            "1.75 on average, allocated (near: 1)": "**0.50** (Bit-slice L1, n=1)",
            "1,1,1,1 (near: 2)": "**2.00** (Bit-slice L1, n=1)",
        }
    ]


def test_gradients_are_compared_where_nothing_but_the_rate_differs_beside() -> None:
    quantized = [record(Method.QUANTIZED, seed, None, 98.0, 9.0) for seed in (0, 1)]

    def through(how: Adaptation, *accuracies: float) -> dict[str, list[Record]]:
        starts = zip(quantized, accuracies, strict=False)
        return {
            "quantized": [
                replace(run, config=adapted(run.config, how), final={"adc_accuracy": each}) for run, each in starts
            ]
        }

    alone = {"Trained through": through(PLAIN, 97.5, 97.0), "Levels found, trained through": through(LEVELS, 97.75)}
    every = alone | {
        "Trained through, straight-through gradient": through(STRAIGHT, 94.0),
        "Trained through, Gaussian gradient": through(GAUSSIAN, 97.75),
    }
    kinds = {"report": {}}
    assert analysis.by_gradient(quantized, analysis.Tried(kinds, every)) == {
        AdcGradient.SHARE: analysis.Spread((0.5, 1.0)),  # the default on MNIST
        AdcGradient.STRAIGHT_THROUGH: analysis.Spread((4.0,)),
        AdcGradient.GAUSSIAN: analysis.Spread((0.25,)),
    }
    assert analysis.by_gradient(quantized, analysis.Tried(kinds, alone)) == {}
    networks = {"One": analysis.Tried(kinds, every), "Other": analysis.Tried(kinds, alone)}
    assert tables.gradients(quantized, networks) == [
        {
            "Points lost, by gradient": "One",
            "as if no ADC clipped": "4.00 (n=1)",
            "by the share let through": f"{analysis.Spread((0.5, 1.0)).text()} (n=2)",
            "Gaussian around thresholds": "0.25 (n=1)",
        }
    ]
    shown = analysis.by_remedy(analysis.Tried({"report": {}}, every))
    assert [title for title in shown if "gradient" in title] == []


def test_allocated_adcs_stand_apart_and_are_measured_by_quantized_of_their_seed() -> None:
    def on(seed: int, accuracy: float) -> Report:
        one = report(97, {CLAIMED: accuracy})
        setting = replace(one.settings[0], mean=2.5)
        return replace(one, network=f"results/mnist/bl1-s{seed}", settings=[setting])

    quantized = [replace(report(own, {}), network=f"results/mnist/quantized-s{k}") for k, own in enumerate((98, 97.5))]
    kinds = {"report": {"quantized": quantized}, "levels": {"bl1": [on(0, 97.75), on(1, 97.0), on(2, 50.0)]}}
    tried = analysis.Tried(kinds, {})
    assert analysis.closest_adcs([], tried)["As many bits, allocated"] == ("bl1", analysis.Spread((0.25, 0.5)))
    wide, narrow = (
        replace(report(97, {CLAIMED: own}), network="mnist/bl1-s0", headroom=h) for own, h in ((95, 0), (96, 1))
    )
    found = analysis.closest_adcs(
        [],
        replace(tried, reports=kinds | {"report": {**kinds["report"], "bl1": [wide]}, "seven_bits": {"bl1": [narrow]}}),
    )
    assert list(found.values())[1:] == [("bl1", analysis.Spread((3.0,))), ("bl1", analysis.Spread((2.0,))), None]
    within, beyond = f"**{analysis.Spread((0.25, 0.5)).text()}** (Bit-slice L1, n=2)", "1.00 (Bit-slice L1, n=1)"
    lossy = analysis.Tried({**kinds, "levels": {"bl1": [on(0, 97.0)]}}, {})
    assert tables.closest_adcs([], {"MNIST": tried, "Other": lossy}) == [
        {
            "Network, *Quantized* without ADCs": f"{title}, 97.75%",
            "As many bits, allocated": cell,
            "3,3,3,1": "–",
            "3,3,3,1, 7-bit weights": "–",
            "3,3,3,1, 6-bit weights": "–",
        }
        for title, cell in (("MNIST", within), ("Other", beyond))
    ]


def test_accuracy_by_strength_has_a_panel_a_departure() -> None:
    figure = crossbar.accuracy_by_strength({"mnist": tolerances()})
    panels = {panel.get_xlabel(): panel for panel in figure.findobj(Axes) if panel.get_xlabel()}
    assert list(panels) == list(crossbar.KIND_NAMES.values())
    shown = panels["conductance variation (log std)"]
    assert [label.get_text() for label in shown.get_xticklabels()] == ["ideal", "0.1", "0.4"]
    assert points(shown) == pytest.approx([98, 96.5, 82])
    assert points(shown, 1) == pytest.approx([97, 94.5, 90.5])
    assert "Pruned" in texts(figure)


def test_the_claims_table_sets_claim_computation_and_simulation_side_by_side() -> None:
    pruned, bl1 = tables.adc_claims(reports())
    assert (pruned["Network"], pruned["n"], bl1["n"]) == ("pruned", 1, 2)
    assert pruned["Claimed, 3,3,3,1 (%)"] == "50.00"
    assert bl1["Claimed, 3,3,3,1 (%)"].startswith("72.00")
    assert bl1["Lossless on the images observed"] == "3"
    assert bl1["for any input"] == "4,5,6,7"
    assert pruned["Cheapest tried within 0.5 points"] == "–"  # 0.6 points are lost at 4 bits; an ideal ADC is none
    assert bl1["Cheapest tried within 0.5 points"] == "4"


def test_the_settings_table_has_a_row_a_setting_with_its_cost() -> None:
    ideal, four, claimed, two = tables.adc_settings(reports())
    assert ideal == {
        "ADC bits, B0,B1,B2,B3": "ideal",
        "pruned (%)": "98.00",
        "bl1 (%)": analysis.Spread((97.0, 98.0)).text(),
        "Energy (uJ)": "–",
        "Latency (us)": "–",
        "Area (mm²)": "–",
    }
    assert (four["ADC bits, B0,B1,B2,B3"], four["Energy (uJ)"]) == ("4", "16")
    assert claimed["ADC bits, B0,B1,B2,B3"] == "3,3,3,1"
    assert two["pruned (%)"] == "–"


def test_costs_are_those_of_the_first_report_that_has_the_setting() -> None:
    live, recorded = (report(98, {(4,) * 4: 98}) for _ in range(2))
    cheap = replace(live, settings=[replace(live.settings[0], energy=1e-6)])
    assert tables.adc_settings({"live": [cheap], "recorded": [recorded]})[0]["Energy (uJ)"] == "1"


def test_layer_sums_have_a_row_a_slice_most_significant_first() -> None:
    rows = tables.layer_sums(report(98, {}))
    assert [row["Slice"] for row in rows] == ["B3", "B2", "B1", "B0"]
    assert rows[0] == {
        "Layer": "`1`",
        "Matrix": "784 x 100",
        "Slice": "B3",
        "99%": "5",
        "Largest sum": "7",
        "Bound": "9",
        "Lossless (bits)": "3",
        "for any input": "7",
    }


def test_saved_bits_add_up_to_the_full_array() -> None:
    pruned = [record(Method.PRUNED, seed, None, 98, 9, top=63) for seed in (0, 1)]
    bl1 = [record(Method.BL1, seed, None, 97, 5, top=15) for seed in (1, 0)]
    row = tables.saved_bits(pruned, bl1)[0]
    saved = {name: row[name].partition(" ")[0] for name in list(row)[2:6]}
    assert saved == {"saved by columns": "2.0", "by inputs": "1.0", "by Bit-slice L1": "2.0", "left": "4.0"}
    assert (row["Slice"], row["Full array (bits)"], row["claimed"]) == ("B3", "9", "1")


def test_the_fullest_column_is_named_beside_the_average() -> None:
    layer = torch.nn.Linear(4, 2, bias=False)
    layer.weight.data = torch.tensor([[255.0, 3.0, 3.0, 3.0], [0.0, 0.0, 0.0, 0.0]]) / 256
    model, images = quantize(torch.nn.Sequential(layer)), torch.ones(1, 4)
    model(images)  # sets the scales
    top, *_, low = tables.fullest_columns(map_network(model.eval(), images, Crossbar(rows=4)))
    assert (top["Slice"], top["Weights with a set cell (%)"], low["Weights with a set cell (%)"]) == (
        "B3",
        "12.50",
        "50.00",
    )
    assert low["Fullest bitline: largest sum"] == "12"
    assert low["Average bitline: largest sum"] == "3.00"  # two outputs, two signs
    assert (low["ADC bits for the average"], low["for the fullest"]) == ("2", "4")


def test_sums_of_networks_are_compared_slice_by_slice() -> None:
    few, many = BitlineSums(3, torch.tensor([3, 1])), BitlineSums(9, torch.tensor([0, 0, 0, 4]))
    rows = tables.sums_compared({"unit": [few, few], "normalized": [many, many]})
    assert [(row["Network"], row["Slice"], row["Mean sum"]) for row in rows] == [
        ("unit", "B1", "0.250"),
        ("unit", "B0", "0.250"),
        ("normalized", "B1", "3.000"),
        ("normalized", "B0", "3.000"),
    ]
    assert (rows[2]["Largest sum"], rows[2]["Lossless (bits)"], rows[2]["for any input"]) == ("3", "2", "4")


def test_departures_have_a_row_a_strength_the_ideal_first() -> None:
    rows = tables.departures({"Pruned": tolerances()["pruned"], "other": [tolerance(97)]})
    assert rows[0] == {"Departure": "none", "Strength": "–", "Pruned (%)": "98.00", "other (%)": "97.00"}
    assert [(row["Departure"], row["Strength"]) for row in rows[1:]] == [
        ("`variation`", "0.1"),
        ("`variation`", "0.4"),
        ("`on_off_ratio`", "30"),
    ]
    assert rows[2]["Pruned (%)"].startswith("82.00")
    assert rows[2]["other (%)"] == "–"


def test_hardier_loses_less_though_it_keeps_less() -> None:
    steep = [tolerance(98, Tolerance("variation", 0.1, (90,)))]
    flat = [tolerance(94, Tolerance("variation", 0.1, (88,)))]  # keeps less, loses 6 instead of 8
    assert analysis.hardier(steep, flat, "variation") == (1, 1)
    assert analysis.hardier(flat, steep, "variation") == (0, 1)


def test_costs_stand_in_their_own_columns_and_units() -> None:
    found = report(98, {(4,) * 4: 98})
    own = replace(found.settings[0], energy=16e-6, latency=2e-6, interval=1e-6, area=0.25)
    (row,) = tables.adc_settings({"x": [replace(found, settings=[own])]})
    assert [row[column] for column in ("Energy (uJ)", "Latency (us)", "Area (mm²)")] == ["16", "2", "0.25"]


def test_the_cheapest_adcs_that_keep_the_accuracy_are_named_or_none() -> None:
    assert analysis.cheapest_setting(reports()["bl1"], 0.5) == (4,) * 4
    assert analysis.cheapest_setting(reports()["pruned"], 0.5) is None
    text = analysis.small_adcs_finding(reports(), 0.5)
    assert "ADCs of 3,3,3,1 bits" in text
    assert "keep 50.0 of 98.0% (pruned), 72.0 of 97.5% (bl1)." in text
    assert text.endswith("cost at most 0.5 points have, in bits: none tried (pruned), 4 (bl1).")


def test_lossless_is_the_largest_over_networks() -> None:
    few, many = (report(98, {(4,) * 4: 98}) for _ in range(2))
    for sums in many.layers[0]["slices"]:
        sums["observed_bits"] += 2
    assert tables.adc_claims({"bl1": [few, many]})[0]["Lossless on the images observed"] == "5"
