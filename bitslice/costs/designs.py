"""Published ADCs of crossbar accelerators, and cost models anchored at them."""

import math
from dataclasses import dataclass

from bitslice.costs.models import AbsoluteAdc, AdcModel


@dataclass(frozen=True)
class Design:
    """One published ADC.

    Attributes:
        name: as users type it.
        title: as tables print it.
        bits: resolution.
        sample_rate: conversions per second.
        power: W of one ADC.
        area: um2 of one ADC.
        source: key in ``book/references.bib``.
    """

    name: str
    title: str
    bits: int
    sample_rate: float
    power: float
    area: float
    source: str

    @property
    def energy(self) -> float:
        """Energy of one conversion in J."""
        return self.power / self.sample_rate

    @property
    def walden(self) -> float:
        """Walden's figure of merit in J a conversion step, every bit taken as effective."""
        return self.energy / 2.0**self.bits

    @property
    def schreier(self) -> float:
        """Schreier's figure of merit in dB, every bit taken as effective."""
        return 6.02 * self.bits + 1.76 + 10 * math.log10(self.sample_rate / 2 / self.power)


ISAAC = Design("isaac", "ISAAC", 8, 1.2e9, 16e-3 / 8, 9600 / 8, "shafiee2016")
"""16 mW and 9600 um2 for 8 ADCs, 32 nm; ISAAC drives them at 1.28 GS/s, which reads 128 columns in 100 ns."""

NEWTON = Design("newton", "Newton", 9, 1.2e9, 3.1e-3, 1500, "nag2018")
"""3.1 mW and 1500 um2, 32 nm, as recorded in hwcomponents-library (``newton.py``, commit 8b56f7e)."""

FORMS = Design("forms", "FORMS", 4, 2.1e9, 15.2e-3 / 32, 9100 / 32, "yuan2021")
"""15.2 mW and 9100 um2 for 32 ADCs, 32 nm."""

DESIGNS = {design.name: design for design in (ISAAC, NEWTON, FORMS)}
"""The published ADCs by name."""


def anchored(model: AdcModel, design: Design = ISAAC) -> AbsoluteAdc:
    """A model in units: a relative one scaled so that it gives a published ADC's figures at that ADC's resolution.

    This takes the whole ADC to follow the model's law, which for Saberi's describes the capacitive array only. An
    absolute model is given back as it is.

    >>> from bitslice.costs.models import COMPONENTS
    >>> isaac = anchored(COMPONENTS, ISAAC)
    >>> [f"{1e12 * isaac.energy(bits):.2f} pJ, {isaac.area(bits):.0f} um2" for bits in (4, 8)]
    ['0.79 pJ, 361 um2', '1.67 pJ, 1200 um2']

    Raises:
        BitsliceError: if the ADC's resolution is outside the model's range.
    """
    if isinstance(model, AbsoluteAdc):
        return model
    power = design.power / model.power(design.bits)
    time = 1 / design.sample_rate / model.time(design.bits)
    return AbsoluteAdc(
        name=model.name,
        title=model.title,
        formula=model.formula,
        source=model.source,
        least=model.least,
        most=model.most,
        power_law=lambda bits: power * model.power_law(bits),
        time_law=lambda bits: time * model.time_law(bits),
        area_law=model.area_law,
        area_unit=None if model.area_law is None else design.area / model.area_law(design.bits),
    )
