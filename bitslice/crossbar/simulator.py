"""What is simulated, and how: vertical counters where the kernel was built and cells are ideal, else torch."""

import numpy as np
from torch import Tensor

from bitslice import native
from bitslice.crossbar.adc import Adc
from bitslice.crossbar.kernel import Counters
from bitslice.crossbar.mapping import MappedLayer
from bitslice.crossbar.nonideal import Analog, NonIdealities
from bitslice.crossbar.stacked import Stacked

COLUMN = 24
"""What counting one bitline costs beside its rows, in rows with a set bit. Measured, as is the next."""

ROWS_A_WEIGHT = 8
"""How many rows are counted, in one input bit plane, in the time that a float32 product takes for one weight."""


def simulated(mapped: MappedLayer, adcs: tuple[Adc, ...], cells: NonIdealities | None = None) -> Tensor:
    """Which bitlines of a layer to simulate, bool in the shape of its bounds; an exact product covers the rest.

    Those that an ADC can change. Where few cells are left then, as in sparse networks, counting these too takes less
    time than a product with mostly zeros. Where cells are not ideal: all.

    Args:
        mapped: the layer.
        adcs: of every slice, B0 first.
        cells: how they depart from the ideal; None: not at all.
    """
    if cells is not None:
        return mapped.bounds.ge(0)
    changed, columns = mapped.simulated(adcs), mapped.bounds.gt(0)
    # Digits of all cycles weigh less than 2^(input bits + 1) together, also where one bit more holds an offset.
    largest = int(mapped.codes.abs().sum(dim=1).max()) * mapped.crossbar.largest_digit << mapped.input_bits + 1
    if not (changed.any() and counted(mapped, adcs) and largest < 2**31):
        return changed
    rows = int(np.bitwise_count(mapped.part(~changed).numpy()).sum())  # of magnitudes, as numpy counts
    planes = mapped.cycles * mapped.crossbar.dac_bits
    counting = planes * (COLUMN * int((columns & ~changed).sum()) + rows)
    return columns if counting < ROWS_A_WEIGHT * mapped.codes.numel() else changed


def counted(mapped: MappedLayer, adcs: tuple[Adc, ...]) -> bool:
    """Whether the kernel simulates a layer whose cells are ideal: on a CPU, where ADC steps are whole planes."""
    whole = all(adc.step.bit_count() == 1 for adc in adcs)
    return whole and mapped.codes.device.type == "cpu" and native.library() is not None


def simulator(
    mapped: MappedLayer, group: int, chosen: Tensor, adcs: tuple[Adc, ...], cells: NonIdealities | None = None
) -> Counters | Stacked:
    """The simulation of one matrix of a layer, the fastest exact one where cells are ideal.

    Args:
        mapped: the layer.
        group: which of its matrices.
        chosen: bitlines to simulate, bool ``(tiles, 2 signs, slices, outputs)``; all, where cells are not ideal.
        adcs: of every slice, B0 first.
        cells: how they depart from the ideal; None: not at all.
    """
    codes = mapped.codes[group]
    if cells is not None:
        return Analog(f"{mapped.name}.{group}", codes, adcs, mapped.crossbar, mapped.bits, cells)
    kind = Counters if counted(mapped, adcs) else Stacked
    return kind(codes, chosen, adcs, mapped.crossbar, mapped.bits)
