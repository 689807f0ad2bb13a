"""How networks are adapted to ADCs: what differs between the ways that are compared."""

from dataclasses import dataclass, replace

from bitslice.crossbar import AdcGradient, AdcSetting, RowOrder
from bitslice.lab.words import Profile

#: ADC resolutions that the paper's abstract names, B0 first.
CLAIMED = (3, 3, 3, 1)


@dataclass(frozen=True)
class Adaptation:
    """How a network is adapted to ADCs.

    Attributes:
        adc_bits: ADC of every slice, B0 first.
        row_order: which wordlines share an array.
        headroom: highest bits of every weight's word that stay 0.
        adc_levels: on how many training images the levels of every layer's ADCs are found again before each epoch;
            None: all layers have the same.
        gradient: what the backward pass makes of ADCs; None: the experiment's.
        epochs: how long; None: as the profile has it.
    """

    adc_bits: AdcSetting = CLAIMED
    row_order: RowOrder = RowOrder.SPREAD
    headroom: int = 0
    adc_levels: int | None = None
    gradient: AdcGradient | None = None
    epochs: int | None = None

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
