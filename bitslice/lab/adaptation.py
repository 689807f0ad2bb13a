"""How networks are adapted to ADCs: what differs between the ways that are compared."""

import math
from dataclasses import dataclass, replace
from typing import cast

from bitslice.crossbar import AdcGradient, AdcSetting, RowOrder, adc_word
from bitslice.errors import BitsliceError
from bitslice.lab.words import Profile

#: ADC resolutions that the paper's abstract names, B0 first.
CLAIMED = (3, 3, 3, 1)


@dataclass(frozen=True)
class Adaptation:
    """How a network is adapted to ADCs.

    Attributes:
        adc_bits: ADC of every slice, B0 first; None: as ``adc_mean`` says.
        adc_mean: bits of a conversion on average, allocated to layers and slices; None: as ``adc_bits`` says.
        row_order: which wordlines share an array.
        headroom: highest bits of every weight's word that stay 0.
        adc_levels: on how many training images the levels of every layer's ADCs are found again before each epoch;
            None: all layers have the same.
        gradient: what the backward pass makes of ADCs; None: the experiment's.
        epochs: how long; None: as the profile has it.
        rate: peak of the learning rate; None: the experiment's.
        recalibrated: on how many training images batch normalization is estimated again at the end; None: it is not.
        levels_kept: whether those found before the first epoch stay.
        distilled: whether the network learns what it gave before, without ADCs, in place of labels (knowledge
            distillation, Hinton et al. 2015, at temperature 1).
        adc_first: ADCs that the network is trained through before, likewise: bits fall in stages; None: it is not.
        refined: on how many training images the levels are chosen by the loss at the end; None: they are not.

    Raises:
        BitsliceError: for ADCs both named and allocated, or allocated without levels; no image, no epoch, or no rate
            above 0.
    """

    adc_bits: AdcSetting | None = CLAIMED
    adc_mean: float | None = None
    row_order: RowOrder = RowOrder.SPREAD
    headroom: int = 0
    adc_levels: int | None = None
    gradient: AdcGradient | None = None
    epochs: int | None = None
    rate: float | None = None
    recalibrated: int | None = None
    levels_kept: bool = False
    distilled: bool = False
    refined: int | None = None
    adc_first: AdcSetting | None = None

    def __post_init__(self) -> None:
        if (self.adc_bits is None) is (self.adc_mean is None):
            raise BitsliceError("ADCs are named slice by slice, or allocated by their mean resolution: one of both")
        if self.adc_mean is not None and (not 1 <= self.adc_mean < math.inf or self.adc_levels is None):
            raise BitsliceError("ADCs have at least 1 bit on average, and are allocated on the images for levels")
        if self.levels_kept and self.adc_levels is None:
            raise BitsliceError("levels of ADCs that stay are to be found first: say on how many images")
        if self.refined is not None and self.adc_levels is None:
            raise BitsliceError("levels of ADCs that the loss chooses are to be found first: say on how many images")
        if self.rate is not None and not 0 < self.rate < math.inf:
            raise BitsliceError(f"a learning rate is above 0, not {self.rate}")
        for told, count in {
            "the levels of ADCs are found on at least 1 image": self.adc_levels,
            "the levels of ADCs are chosen by the loss on at least 1 image": self.refined,
            "a network is adapted for at least 1 epoch": self.epochs,
            "batch normalization is estimated again on at least 1 image": self.recalibrated,
        }.items():
            if count is not None and count < 1:
                raise BitsliceError(f"{told}, not {count}")

    @property
    def asked(self) -> AdcSetting | float:
        """ADCs as they were asked for: named slice by slice, or by their mean resolution."""
        return float(self.adc_mean) if self.adc_mean is not None else cast(AdcSetting, self.adc_bits)

    @property
    def name(self) -> str:
        """Its part of the file name of a run.

        >>> LONGER.name
        'adc3.3.3.1-spread-levels-e10'
        """
        named = ".".join(adc_word(adc) for adc in self.adc_bits or ())
        parts = [f"adc{named}" if self.adc_mean is None else f"mean{self.adc_mean:g}"]
        if self.adc_first is not None:
            parts.append(f"after{'.'.join(adc_word(adc) for adc in self.adc_first)}")
        if self.row_order is not RowOrder.CONSECUTIVE:
            parts.append(self.row_order.value)
        if self.headroom:
            parts.append(f"h{self.headroom}")
        if self.adc_levels is not None:
            parts.append("levelskept" if self.levels_kept else "levels")
        if self.distilled:
            parts.append("distilled")
        if self.gradient is not None:
            parts.append(self.gradient.value)
        if self.epochs is not None:
            parts.append(f"e{self.epochs}")
        if self.rate is not None:
            parts.append(f"r{self.rate:.15g}")
        if self.refined is not None:
            parts.append(f"refined{self.refined}")
        if self.recalibrated is not None:
            parts.append(f"bn{self.recalibrated}")
        return "-".join(parts)

    def epochs_of(self, profile: Profile) -> int:
        """How many epochs a network of ``profile`` is adapted."""
        if self.epochs is not None:
            return self.epochs
        if profile is Profile.CPU:
            return 2 if self.headroom else 4 if self.adc_levels else 5  # found levels start near
        longest = 4 if self.adc_levels else 10
        return {Profile.SMOKE: 1, Profile.QUICK: 2}.get(profile, longest)


PLAIN = Adaptation()
"""Rows are spread; ADCs are the claimed ones in every layer."""
LEVELS = Adaptation(adc_levels=100)
"""Levels are found, layer by layer."""
LONGER = replace(LEVELS, epochs=10)
"""Likewise, for longer."""
DISTILLED = Adaptation(adc_levels=100, levels_kept=True, distilled=True, epochs=14, rate=0.005, recalibrated=4000)
"""Levels are found once; the network learns what it gave before; batch normalization is estimated again at the end."""
SEVEN_BITS = tuple(replace(DISTILLED, headroom=1, epochs=epochs) for epochs in (None, 6, 12))
"""Likewise, with a bit of headroom: weights of seven bits, whose most significant slice stays in use; for as long as
the profile has it, and for longer."""
TWO_BIT = replace(SEVEN_BITS[0], adc_bits=(2, 2, 2, 1))
"""The shortest of them, with a bit less in all but the most significant slice."""
DOUBLE = Adaptation((2, 2, 2, 1), adc_levels=100, levels_kept=True, epochs=20, rate=0.4, refined=10_000)
"""2 bits in all but the most significant slice: levels are found once, and chosen by the loss at the end."""
SINGLE = replace(DOUBLE, adc_bits=(1, 1, 1, 1), adc_first=DOUBLE.adc_bits)
"""1 bit in every slice, likewise, once the network has been trained through those."""
GAUSSIAN = Adaptation(gradient=AdcGradient.GAUSSIAN)
"""As :data:`PLAIN`, with a gradient around thresholds."""
STRAIGHT = Adaptation(gradient=AdcGradient.STRAIGHT_THROUGH, rate=0.02)
"""Likewise as if no ADC clipped, at a tenth of the rate on MNIST."""
ALLOCATED_MEANS = tuple(
    Adaptation(None, mean, adc_levels=25, epochs=2, recalibrated=4000, levels_kept=True, distilled=True)
    for mean in (1.75, 1.5)
)
"""Resolutions are allocated to layers and slices, levels found; batch normalization is estimated again at the end."""
