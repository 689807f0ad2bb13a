"""Who computes what of a layer's product: bitlines that an ADC can change are simulated, the rest is one product."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bitslice.crossbar import kernel
from bitslice.crossbar.adc import Adc
from bitslice.crossbar.mapped_layer import MappedLayer

COLUMN = 24
"""What counting one bitline costs beside its rows, in rows with a set bit. Measured, as is the next."""

ROWS_A_WEIGHT = 8
"""How many rows are counted, in one input bit plane, in the time that a float32 product takes for one weight."""


@dataclass(frozen=True)
class Division:
    """A layer's cells, told apart by who computes with them.

    Attributes:
        simulated: bitlines whose conversions are simulated one by one; bool, in the shape of the layer's bounds.
        exact: signed codes of the cells on all other bitlines, int32, in the shape of the layer's codes.
    """

    simulated: Tensor
    exact: Tensor


def divide(mapped: MappedLayer, adcs: tuple[Adc, ...], ideal_cells: bool = True) -> Division:
    """Simulate the bitlines that an ADC can change, and all others too where that is cheaper than a product.

    Few cells left, as in sparse networks, are counted in less time than a product takes with mostly zeros.

    Args:
        mapped: the layer.
        adcs: of every slice, B0 first.
        ideal_cells: whether cells hold just what they should; else every bitline is simulated.
    """
    if not ideal_cells:
        return Division(mapped.bounds.ge(0), torch.zeros_like(mapped.codes))
    changed = torch.stack([adc.changes(mapped.bounds[:, :, :, k]) for k, adc in enumerate(adcs)], dim=3)
    if not changed.any():
        return Division(changed, mapped.codes)
    if not mapped.bounds[~changed].any():  # the common case of ADCs with a step, at every step of training
        return Division(changed, torch.zeros_like(mapped.codes))
    rest = cells_on(mapped, ~changed)
    if kernel.applies(mapped.codes, adcs) and _counting_is_cheaper(mapped, ~changed, rest):
        return Division(mapped.bounds.gt(0), torch.zeros_like(mapped.codes))
    return Division(changed, rest)


def cells_on(mapped: MappedLayer, chosen: Tensor) -> Tensor:
    """Signed codes of the cells on ``chosen`` bitlines alone: int32, in the shape of the layer's codes.

    Args:
        mapped: the layer.
        chosen: bool, in the shape of its bounds.
    """
    place = (2**mapped.crossbar.cell_bits - 1) << mapped.crossbar.cell_bits * torch.arange(mapped.slices)
    held = (chosen * place.to(chosen.device)[:, None]).sum(dim=3).int()  # which bits of a code, per tile and sign
    part = torch.empty_like(mapped.codes)
    for tile, bits in zip(mapped.crossbar.tiles(mapped.wordlines), held.unbind(1), strict=True):
        codes = mapped.codes[:, tile]
        part[:, tile] = (codes.clamp_min(0) & bits[:, :1]) - (codes.clamp_max(0).neg() & bits[:, 1:])
    return part


def _counting_is_cheaper(mapped: MappedLayer, rest: Tensor, cells: Tensor) -> bool:
    """Whether counting the bitlines ``rest``, which hold ``cells``, too takes less time than an exact product."""
    # Digits of all cycles weigh less than 2^(input bits + 1) together, also where one bit more holds an offset.
    largest = int(mapped.codes.abs().sum(dim=1).max()) * mapped.crossbar.largest_digit << mapped.input_bits + 1
    if largest >= 2**31:
        return False
    rows = int(np.bitwise_count(cells.numpy()).sum())  # of magnitudes, as numpy counts
    planes = mapped.cycles * mapped.crossbar.dac_bits
    counting = planes * (COLUMN * int((mapped.bounds.gt(0) & rest).sum()) + rows)
    return counting < ROWS_A_WEIGHT * mapped.codes.numel()
