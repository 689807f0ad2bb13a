"""ADC cost models against published numbers, and the cost of a network against a count by hand."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from bitslice.book import tables
from bitslice.book.plots import costs as plots
from bitslice.book.sources import PACKAGE
from bitslice.costs.designs import DESIGNS, FORMS, ISAAC, NEWTON, Design, anchored
from bitslice.costs.models import (
    ADC_MODELS,
    COMPONENTS,
    LINEAR,
    SABERI,
    SCHREIER,
    WALDEN,
    AbsoluteAdc,
    AdcModel,
    RelativeAdc,
    neurosim_flash,
    neurosim_sar,
    survey,
)
from bitslice.costs.network import LayerLoad, network_cost
from bitslice.errors import BitsliceError
from bitslice.lab.names import by_name

MODELS = list(ADC_MODELS.values())
each_model = pytest.mark.parametrize("model", MODELS, ids=list(ADC_MODELS))


class TestSavings:
    def test_power_against_8_bits_is_what_is_quoted_with_the_paper(self) -> None:
        assert round(SABERI.power_saving(1), 2) == 28.44
        assert round(SABERI.power_saving(3), 2) == 14.22

    def test_time_against_8_bits_is_what_is_quoted_with_the_paper(self) -> None:
        assert SABERI.time_saving(1) == 8
        assert round(SABERI.time_saving(3), 2) == 2.67

    @pytest.mark.parametrize(
        ("model", "bits", "power", "area"),
        [(COMPONENTS, 3, 2.8, 4.6), (COMPONENTS, 1, 8.5, 14.0), (LINEAR, 3, 2.7, None), (LINEAR, 1, 8.0, None)],
    )
    def test_other_models_say_less(self, model: AdcModel, bits: int, power: float, area: float | None) -> None:
        assert round(model.power_saving(bits), 1) == round(model.energy_saving(bits), 1) == power
        found = model.area_saving(bits)
        assert (found and round(found, 1)) == area

    def test_a_bit_doubles_walden_and_quadruples_schreier(self) -> None:
        for bits in range(1, 16):
            assert WALDEN.power_saving(bits, bits + 1) == 2
            assert SCHREIER.power_saving(bits, bits + 1) == pytest.approx(4, rel=1e-3)

    @each_model
    def test_energy_is_power_times_time(self, model: AdcModel) -> None:
        product = model.power_saving(5, 7) * model.time_saving(5, 7)
        assert model.energy_saving(5, 7) == pytest.approx(product)

    @each_model
    def test_more_bits_never_cost_less(self, model: AdcModel) -> None:
        for bits in range(model.least, model.most):
            assert model.power(bits) < model.power(bits + 1)
            assert model.time(bits) <= model.time(bits + 1)
            assert (model.area_saving(bits, bits + 1) or 2) > 1


class TestRanges:
    @each_model
    def test_outside_its_range_a_model_names_itself_the_value_and_the_range(self, model: AdcModel) -> None:
        for bits in (model.least - 1, model.most + 1):
            text = f"ADC model {model.name} is valid for {model.least} to {model.most} bits, not {bits}"
            for quantity in (model.power, model.time, model.energy, model.power_saving, model.area_saving):
                with pytest.raises(BitsliceError, match=text):
                    quantity(bits)
            with pytest.raises(BitsliceError, match=text):
                model.area_saving(5, bits)
            with pytest.raises(BitsliceError, match=text):
                anchored(model).area(bits)

    def test_the_survey_ends_at_4_bits_and_newtons_adc_at_9(self) -> None:
        assert ADC_MODELS["survey"].least == 4
        assert LINEAR.most == 9

    @pytest.mark.parametrize(
        ("rate", "node", "text"),
        [
            (2e10, 32, r"sample rates \(1/s\) from 1000 to 1e\+10, not 2e\+10"),
            (0, 32, "sample rates .* not 0"),
            (1e9, 2, r"technology nodes \(nm\) from 4 to 1000, not 2"),
            (math.nan, 32, "not nan"),
        ],
    )
    def test_the_survey_refuses_what_it_was_not_fitted_to(self, rate: float, node: float, text: str) -> None:
        with pytest.raises(BitsliceError, match=text):
            survey(rate, node)

    @pytest.mark.parametrize("model", [neurosim_sar, neurosim_flash])
    @pytest.mark.parametrize("resistance", [0.0, -1.0, math.nan])
    def test_a_column_has_a_resistance(self, model: Callable[[float], AbsoluteAdc], resistance: float) -> None:
        with pytest.raises(BitsliceError, match="positive, not"):
            model(resistance)

    def test_an_unknown_model_names_those_there_are(self) -> None:
        with pytest.raises(BitsliceError, match=r"unknown ADC cost model 'flash'; choose from saberi, .*survey"):
            by_name("ADC cost model", ADC_MODELS, "flash")


class TestPublishedNumbers:
    @pytest.mark.parametrize(
        ("bits", "picojoules", "area"),
        [(4, 0.79, 361), (5, 0.99, 477), (6, 1.20, 627), (7, 1.42, 845), (8, 1.67, 1200), (10, 2.379, 3002)],
    )
    def test_components_anchored_at_isaac_give_the_published_rows(
        self, bits: int, picojoules: float, area: int
    ) -> None:
        adc = anchored(COMPONENTS, ISAAC)
        assert 1e12 * adc.energy(bits) == pytest.approx(picojoules, abs=0.005)
        assert adc.area(bits) == pytest.approx(area, abs=0.5)

    def test_components_are_in_the_units_of_the_adc_that_isaac_builds_on(self) -> None:
        assert COMPONENTS.area_law is not None
        assert (COMPONENTS.power(8), COMPONENTS.area_law(8)) == pytest.approx((3.1, 1600))

    def test_designs(self) -> None:
        assert (ISAAC.power, ISAAC.area) == (2e-3, 1200)
        assert 1e12 * ISAAC.energy == pytest.approx(1.667, abs=5e-4)
        assert 1e12 * NEWTON.energy == pytest.approx(2.5833, abs=5e-5)
        assert (1e12 * FORMS.energy, FORMS.area) == pytest.approx((0.22619, 284.375), abs=5e-6)

    @pytest.mark.parametrize(
        ("bits", "rate", "picojoules", "area"),
        [
            (4, 1.2e9, 0.9237493330950061, 5130.058486980533),
            (8, 1e6, 1.7137119697683605, 1713.7480289325172),
            (8, 1.2e9, 1.8486088943398364, 6313.144569312267),
            (12, 1.2e9, 150.279836449774, 23528.25556425577),
        ],
    )
    def test_survey_gives_what_accelergys_plug_in_gives(
        self, bits: int, rate: float, picojoules: float, area: float
    ) -> None:
        """Reference values: ``model.py`` of the plug-in at commit ff0fb48, 32 nm."""
        adc = survey(rate, 32)
        assert 1e12 * adc.energy(bits) == pytest.approx(picojoules)
        assert adc.area(bits) == pytest.approx(area)
        assert adc.time(bits) == 1 / rate

    def test_neurosim_by_hand_at_100_ohm(self) -> None:
        decay = math.exp(-2 * 2.313)
        sar, flash = neurosim_sar(100), neurosim_flash(100)
        assert sar.power(8) == pytest.approx(15.7542e-6 + 0.083709 * decay)
        assert sar.energy(8) == pytest.approx(9e-9 * sar.power(8))
        assert flash.power(3) == pytest.approx(27.7536e-6 + 0.079 * decay)
        assert flash.area_saving(3) == 255 / 7
        assert (flash.area(3), sar.area(3), sar.area_saving(3)) == (None, None, None)


class TestAnchors:
    @pytest.mark.parametrize("design", DESIGNS.values(), ids=list(DESIGNS))
    @pytest.mark.parametrize("model", [m for m in MODELS if isinstance(m, RelativeAdc)], ids=lambda m: m.name)
    def test_a_relative_model_gives_the_figures_of_the_design(self, model: RelativeAdc, design: Design) -> None:
        adc = anchored(model, design)
        assert adc.power(design.bits) == pytest.approx(design.power)
        assert adc.energy(design.bits) == pytest.approx(design.energy)
        assert adc.area(design.bits) == (pytest.approx(design.area) if model.area_law else None)
        assert adc.power_saving(3) == pytest.approx(model.power_saving(3))
        assert adc.time_saving(3) == pytest.approx(model.time_saving(3))

    def test_an_absolute_model_stays_as_it_is(self) -> None:
        adc = survey()
        assert anchored(adc, NEWTON) is adc

    def test_figures_of_merit_predict_the_power_at_other_resolutions(self) -> None:
        rate = ISAAC.sample_rate
        assert anchored(WALDEN).power(5) == pytest.approx(ISAAC.walden * 2**5 * rate)
        sndr = 6.02 * 5 + 1.76
        assert sndr + 10 * math.log10(rate / 2 / anchored(SCHREIER).power(5)) == pytest.approx(ISAAC.schreier)


CONVOLUTION = LayerLoad("conv", vectors=100, cycles=8, columns=16, arrays=(2, 2), conversions=(25_600, 25_600))
LINEAR_LAYER = LayerLoad("fc", vectors=1, cycles=16, columns=10, arrays=(4, 4), conversions=(640, 640))


class TestNetwork:
    def test_cost_by_hand(self) -> None:
        adc = anchored(SABERI)  # t = N/8 of 1/1.2 ns; P in proportion to 2^N/(N+1)
        found = network_cost([CONVOLUTION, LINEAR_LAYER], (8, 3), adc)
        joules8 = 2e-3 / 1.2e9
        joules3 = joules8 * (2 / (256 / 9)) * 3 / 8
        assert found.layers[0].energy == pytest.approx((25_600 * joules8, 25_600 * joules3))
        assert found.energy == pytest.approx((25_600 + 640) * (joules8 + joules3))
        assert [layer.latency for layer in found.layers] == pytest.approx([100 * 8 * 16 / 1.2e9, 16 * 10 / 1.2e9])
        assert found.latency == pytest.approx(sum(layer.latency for layer in found.layers))
        assert found.interval == found.layers[0].latency
        assert found.area is None

    def test_area_is_one_adc_an_array(self) -> None:
        adc = anchored(COMPONENTS)
        found = network_cost([CONVOLUTION, LINEAR_LAYER], (8, 4), adc)
        assert found.layers[1].area == pytest.approx((4 * 1200e-6, 4 * 361.043e-6))
        assert found.area == pytest.approx(6 * (1200 + 361.043) * 1e-6)

    def test_a_slice_without_adc_costs_nothing_and_is_not_waited_for(self) -> None:
        both, one = (network_cost([CONVOLUTION], bits, anchored(COMPONENTS)) for bits in ((8, 8), (8, 0)))
        assert one.layers[0].energy == (both.layers[0].energy[0], 0)
        assert one.layers[0].area == pytest.approx((2 * 1200e-6, 0))
        assert one.latency == both.latency
        none = network_cost([CONVOLUTION], (0, 0), survey())
        assert (none.energy, none.latency, none.area) == (0, 0, 0)

    def test_a_network_without_layers_costs_nothing(self) -> None:
        found = network_cost([], (8, 8), survey())
        assert (found.energy, found.latency, found.interval, found.area) == (0, 0, 0, 0)

    def test_another_number_of_slices_is_refused(self) -> None:
        with pytest.raises(BitsliceError, match="layer conv has 2 slices, but 3 ADCs are given"):
            network_cost([CONVOLUTION], (8, 8, 8), survey())

    @pytest.mark.parametrize("bits", [-1, 3])
    def test_a_resolution_outside_the_models_range_is_refused(self, bits: int) -> None:
        with pytest.raises(BitsliceError, match=f"ADC model survey is valid for 4 to 16 bits, not {bits}"):
            network_cost([CONVOLUTION], (8, bits), survey())


class TestPage:
    def test_every_source_is_in_the_bibliography(self) -> None:
        text = (Path(PACKAGE).parent / "book/references.bib").read_text()
        for source in [m.source for m in MODELS] + [d.source for d in DESIGNS.values()]:
            assert f"{{{source}," in text

    def test_the_figure_draws_every_model_within_its_range_only(self) -> None:
        figure = plots.savings(MODELS, range(1, 10), 8)
        power, energy, area = figure.axes
        for axes in (power, energy):
            lines = {line.get_label(): list(line.get_xdata()) for line in axes.lines[:-1]}
            assert lines == {m.title: [b for b in range(1, 10) if m.holds(b)] for m in MODELS}
        assert [line.get_label() for line in area.lines[:-1] if len(line.get_xdata())] == [
            m.title for m in MODELS if m.area_law
        ]

    def test_the_figure_of_energies_shows_the_models_in_pj_and_the_designs(self) -> None:
        (axes,) = plots.energies([anchored(model) for model in MODELS], DESIGNS.values(), range(1, 10)).axes
        lines = {line.get_label(): line for line in axes.lines}
        assert lines["survey regression"].get_ydata()[4] == pytest.approx(1.8486, abs=5e-5)
        assert list(lines["FORMS, as published"].get_xdata()) == [4]
        assert len(lines) == len(MODELS) + len(DESIGNS)

    def test_the_table_of_savings_has_dashes_outside_a_models_range(self) -> None:
        rows = {row.pop("3 against 8 bits"): tuple(row.values()) for row in tables.savings_by_model(MODELS, 3, 8)}
        assert rows["Saberi, capacitive SAR"] == ("14.2x", "2.7x", "37.9x", "–")
        assert rows["Schreier figure of merit"] == ("1,023x", "1.0x", "1,023x", "–")
        assert rows["survey regression"] == ("–", "–", "–", "–")

    def test_tables_tell_relative_models_from_absolute_ones(self) -> None:
        units = {row["Name"]: row["Units"] for row in tables.adc_models(MODELS)}
        assert units == {f"`{m.name}`": "absolute" if isinstance(m, AbsoluteAdc) else "relative" for m in MODELS}
        assert [row["pJ a conversion"] for row in tables.designs(DESIGNS.values())] == ["1.67", "2.58", "0.23"]


def test_the_slowest_slice_sets_the_latency_wherever_it_stands() -> None:
    for bits in ((8, 3), (3, 8)):
        assert network_cost([CONVOLUTION], bits, anchored(SABERI)).latency == pytest.approx(100 * 8 * 16 / 1.2e9)


def test_designs_are_in_the_units_of_their_columns() -> None:
    assert list(tables.designs([ISAAC])[0].values())[1:] == ["8", "1.2", "2", "1200", "1.67", "6.5", "164.7"]
