"""ADC cost models from the literature: how power, conversion time and area of one ADC follow its resolution of N bits.

A :class:`RelativeAdc` knows ratios only; an :class:`AbsoluteAdc` knows watts, seconds and square micrometres.
:func:`bitslice.costs.anchored` turns the first into the second by the figures of a published ADC.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from bitslice.errors import BitsliceError

MOST_BITS = 16
"""Upper end of the models whose sources name none: no bitline of a crossbar asks for more."""

SURVEY_RATE = (1e3, 1e10)
"""Sample rates of :func:`survey` in 1/s: the slowest ADC it was fitted to, and the limit in its source."""

SURVEY_NODE = (4.0, 1000.0)
"""Technology nodes of the ADCs that :func:`survey` was fitted to, in nm."""


def _constant(_: int) -> float:
    return 1.0


@dataclass(frozen=True)
class AdcModel:
    """What both kinds of model share: the laws, each a function of N, and the savings that follow from their ratios.

    Attributes:
        name: as users type it.
        title: as figures and tables print it.
        formula: the laws in words of mathematics; P power, t time, A area, E energy of a conversion, fs sample rate.
        source: key in ``book/references.bib``.
        least: smallest valid resolution in bits.
        most: largest valid resolution in bits.
        power_law: power while converting.
        time_law: duration of a conversion.
        area_law: area of one ADC; None where the model has none.
    """

    name: str
    title: str
    formula: str
    source: str
    least: int
    most: int
    power_law: Callable[[int], float]
    time_law: Callable[[int], float] = _constant
    area_law: Callable[[int], float] | None = None

    def holds(self, bits: int) -> bool:
        """Whether the model is valid for this resolution."""
        return self.least <= bits <= self.most

    def power(self, bits: int) -> float:
        """Power while converting, in the units of the model's kind.

        Raises:
            BitsliceError: outside the model's range, here and in every other method that takes ``bits``.
        """
        self._check(bits)
        return self.power_law(bits)

    def time(self, bits: int) -> float:
        """Duration of one conversion."""
        self._check(bits)
        return self.time_law(bits)

    def energy(self, bits: int) -> float:
        """Energy of one conversion: power times time."""
        return self.power(bits) * self.time(bits)

    def power_saving(self, bits: int, reference_bits: int = 8) -> float:
        """How many times less power than with ``reference_bits``."""
        return self.power(reference_bits) / self.power(bits)

    def time_saving(self, bits: int, reference_bits: int = 8) -> float:
        """How many times faster than with ``reference_bits``."""
        return self.time(reference_bits) / self.time(bits)

    def energy_saving(self, bits: int, reference_bits: int = 8) -> float:
        """How many times less energy a conversion than with ``reference_bits``."""
        return self.energy(reference_bits) / self.energy(bits)

    def area_saving(self, bits: int, reference_bits: int = 8) -> float | None:
        """How many times less area than with ``reference_bits``; None where the model has no area."""
        self._check(bits)
        self._check(reference_bits)
        return None if self.area_law is None else self.area_law(reference_bits) / self.area_law(bits)

    def _check(self, bits: int) -> None:
        if not self.holds(bits):
            raise BitsliceError(f"ADC model {self.name} is valid for {self.least} to {self.most} bits, not {bits}")


class RelativeAdc(AdcModel):
    """A model whose power, time and energy have arbitrary units: only ratios mean anything.

    >>> round(SABERI.power_saving(1), 2), round(SABERI.power_saving(3), 2)
    (28.44, 14.22)
    >>> SABERI.time_saving(1), round(SABERI.time_saving(3), 2)
    (8.0, 2.67)
    """


@dataclass(frozen=True)
class AbsoluteAdc(AdcModel):
    """A model with units: power in W, time in s, energy in J, area in um2.

    Attributes:
        area_unit: um2 that one unit of ``area_law`` stands for; None where the model gives only ratios of areas.

    >>> f"{1e12 * survey().energy(8):.2f} pJ, {survey().area(8):.0f} um2"
    '1.85 pJ, 6313 um2'
    """

    area_unit: float | None = None

    def area(self, bits: int) -> float | None:
        """Area of one ADC in um2; None where the model does not tell."""
        self._check(bits)
        return None if self.area_law is None or self.area_unit is None else self.area_unit * self.area_law(bits)


SABERI = RelativeAdc(
    name="saberi",
    title="Saberi, capacitive SAR",
    formula="P ~ 2^N / (N + 1); t ~ N",
    source="saberi2011",
    least=1,
    most=MOST_BITS,
    power_law=lambda bits: 2**bits / (bits + 1),
    time_law=float,
)
"""Switching power of a SAR ADC's capacitive array; one comparison a bit. The savings quoted with the paper."""

LINEAR = RelativeAdc(
    name="linear",
    title="linear, as in Newton",
    formula="P ~ N",
    source="nag2018",
    least=1,
    most=9,
    power_law=float,
)
"""A SAR ADC of 9 bits that stops early, at a constant sample rate; its area stays, whatever it converts."""

COMPONENTS = RelativeAdc(
    name="components",
    title="ISAAC, by components",
    formula="P ~ 2.9 N/8 + 0.2 * 2^(N-8); A ~ 871.75 N/8 + 728.25 * 2^(N-8)",
    source="shafiee2016",
    least=1,
    most=10,
    power_law=lambda bits: 2.9 * bits / 8 + 0.2 * 2.0 ** (bits - 8),
    area_law=lambda bits: 871.75 * bits / 8 + 728.25 * 2.0 ** (bits - 8),
)
"""Reference buffer, memory and clock grow with N, the capacitive array doubles with every bit; constant sample rate.

The units are mW and um2 of the ADC that ISAAC builds on (Kull et al. 2013: 3.1 mW). Rows are published for 4 to 10 bits
(hwcomponents-library, ``isaac.py``), all in proportion to ISAAC's 8 bits; below 4 the formula extends them.
"""

WALDEN = RelativeAdc(
    name="walden",
    title="Walden figure of merit",
    formula="P = FoM * 2^N * fs",
    source="walden1999",
    least=1,
    most=MOST_BITS,
    power_law=lambda bits: 2.0**bits,
)
"""Equal energy per conversion step, N standing for the effective number of bits; constant sample rate."""

SCHREIER = RelativeAdc(
    name="schreier",
    title="Schreier figure of merit",
    formula="FoM = SNDR + 10 log10(fs / (2 P)); SNDR = 6.02 N + 1.76",
    source="schreier2005",
    least=1,
    most=MOST_BITS,
    power_law=lambda bits: 10 ** ((6.02 * bits + 1.76) / 10),
)
"""Four times the power a bit, as thermal noise demands of precise ADCs; constant sample rate."""


def survey(sample_rate: float = 1.2e9, technology: float = 32) -> AbsoluteAdc:
    """Regression on the ADC performance survey: the best energy and area to expect (Andrulis et al. 2024).

    The coefficients are those of ``adc_data/model.yaml`` in Accelergy's ADC plug-in, commit ff0fb48.

    Args:
        sample_rate: conversions per second of one ADC.
        technology: node in nm.

    Raises:
        BitsliceError: for a sample rate or a node outside the survey's.
    """
    for what, value, (least, most) in (
        ("sample rates (1/s)", sample_rate, SURVEY_RATE),
        ("technology nodes (nm)", technology, SURVEY_NODE),
    ):
        if not least <= value <= most:
            raise BitsliceError(f"ADC model survey is valid for {what} from {least:g} to {most:g}, not {value:g}")

    def picojoules(bits: int) -> float:
        sndr = 20 * math.log10(2) * bits + 10 * math.log10(1.5)
        schreier = min(
            213.7806687348118 - 2.8719030399529957 * math.log(sample_rate),  # limited by speed
            128.3068287398817 + 3.2205115109775615 * bits,  # limited by resolution
        )
        fit = 26.0496215686518 + 1.8800369206815004 * math.log(technology) - 2.8291256050594527 * math.log(bits)
        best = -1.4702022133784405  # a fifth of the survey's ADCs do better
        return 10 ** ((sndr - schreier) / 10) / 2 * math.exp(fit + best)

    def area(bits: int) -> float:
        return math.exp(
            1.3461916439910742
            + 0.9932794744745022 * math.log(technology)
            + 0.18071538424508238 * math.log(sample_rate)
            + 0.29912426192653485 * math.log(picojoules(bits))
        )

    return AbsoluteAdc(
        name="survey",
        title="survey regression",
        formula=f"E, A: regression; fs = {sample_rate:g} 1/s, {technology:g} nm",
        source="andrulis2024",
        least=4,
        most=MOST_BITS,
        power_law=lambda bits: 1e-12 * picojoules(bits) * sample_rate,
        time_law=lambda _: 1 / sample_rate,
        area_law=area,
        area_unit=1.0,
    )


def _column_term(resistance: float) -> float:
    """``exp(-2.313 log10 R)`` of both NeuroSim models.

    Raises:
        BitsliceError: if the resistance is not positive.
    """
    if not resistance > 0:
        raise BitsliceError(f"a column's resistance is positive, not {resistance:g} ohm")
    return math.exp(-2.313 * math.log10(resistance))


def neurosim_sar(resistance: float = 6e3) -> AbsoluteAdc:
    """SAR ADC of NeuroSim, 32 nm, high-performance transistors, 300 K, read at 0.5 V.

    From ``SarADC.cpp`` of DNN+NeuroSim 1.3, commit 388f421. Its area needs a transistor layout and is left out.

    Args:
        resistance: of the column in ohm; the default is one conducting cell of NeuroSim's default device.

    Raises:
        BitsliceError: if the resistance is not positive.
    """
    column = 0.083709 * _column_term(resistance)
    return AbsoluteAdc(
        name="neurosim-sar",
        title="NeuroSim, SAR",
        formula=f"P = (1.0157 N + 7.6286) uW + 0.083709 exp(-2.313 log10 R) W; t = (N + 1) ns; R = {resistance:g} ohm",
        source="peng2019",
        least=1,
        most=MOST_BITS,
        power_law=lambda bits: (1.0157 * bits + 7.6286) * 1e-6 + column,
        time_law=lambda bits: (bits + 1) * 1e-9,
    )


def neurosim_flash(resistance: float = 6e3) -> AbsoluteAdc:
    """Flash ADC (multilevel current sense amplifier) of NeuroSim, 32 nm, high-performance transistors, 300 K, 0.5 V.

    From ``MultilevelSenseAmp.cpp`` of DNN+NeuroSim 1.3, commit 388f421. Its area needs a transistor layout, so only
    ratios are known: everything is repeated for each of the 2^N - 1 comparators.

    Args:
        resistance: of the column in ohm; the default is one conducting cell of NeuroSim's default device.

    Raises:
        BitsliceError: if the resistance is not positive.
    """
    column = 0.079 * _column_term(resistance)
    return AbsoluteAdc(
        name="neurosim-flash",
        title="NeuroSim, flash",
        formula=f"P = 3.9648 (2^N - 1) uW + 0.079 exp(-2.313 log10 R) W; t = 1 ns; A ~ 2^N - 1; R = {resistance:g} ohm",
        source="peng2019",
        least=1,
        most=MOST_BITS,
        power_law=lambda bits: 3.9648 * (2**bits - 1) * 1e-6 + column,
        time_law=lambda _: 1e-9,
        area_law=lambda bits: 2**bits - 1,
    )


ADC_MODELS: dict[str, AdcModel] = {
    model.name: model
    for model in (SABERI, LINEAR, COMPONENTS, WALDEN, SCHREIER, neurosim_sar(), neurosim_flash(), survey())
}
"""The models by name, the parameterized ones with their defaults."""
