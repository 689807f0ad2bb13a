"""The hardware a network is mapped to: crossbar arrays, and how inputs drive them."""

import enum
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from bitslice.errors import BitsliceError


class SignedInputs(enum.Enum):
    """How a layer whose inputs can be negative drives wordlines, which take only one polarity."""

    TWO_PHASE = "two_phase"
    """The positive inputs first, then the magnitudes of the negative ones; the second result is subtracted. Twice the
    cycles, and a wordline fires in one phase at most."""
    OFFSET = "offset"
    """Every input is raised by 2^bits, one bit more than its magnitude has, and 2^bits times the sum of a column's
    weights is subtracted digitally. One phase of one more bit, in which an input of zero fires too."""


class RowOrder(enum.Enum):
    """Which wordlines share an array, where a layer has more of them than an array has rows."""

    CONSECUTIVE = "consecutive"
    """Array after array is filled, the last as it comes."""
    SPREAD = "spread"
    """Dealt in turn to as many arrays, so that all hold about as many rows, and neighbouring pixels or channels, which
    tend to be large together, lie in different ones. It costs nothing: any wordline can take any input."""


@dataclass(frozen=True)
class Crossbar:
    """Geometry and drive of the arrays. Defaults: 128 x 128 arrays and 1-bit inputs as in ISAAC (ISCA 2016), and
    the paper's 2-bit cells.

    Attributes:
        rows: wordlines of an array; longer columns are cut into tiles, see :class:`RowOrder`.
        columns: bitlines of an array.
        cell_bits: bits stored in a cell; they must divide the weight's bits.
        dac_bits: bits of an input that a wordline carries per cycle, least significant first.
        input_bits: widest input magnitude that the schedule has cycles for.
        signed_inputs: see :class:`SignedInputs`.
        row_order: see :class:`RowOrder`.
    """

    rows: int = 128
    columns: int = 128
    cell_bits: int = 2
    dac_bits: int = 1
    input_bits: int = 8
    signed_inputs: SignedInputs = SignedInputs.TWO_PHASE
    row_order: RowOrder = RowOrder.CONSECUTIVE

    def __post_init__(self) -> None:
        for name in ("rows", "columns", "cell_bits", "dac_bits", "input_bits"):
            if getattr(self, name) < 1:
                raise BitsliceError(f"a crossbar's {name} must be at least 1, not {getattr(self, name)}")
        if self.cell_bits > 8 or self.dac_bits > 8:
            raise BitsliceError(f"cells and DACs have at most 8 bits, not {max(self.cell_bits, self.dac_bits)}")

    @property
    def largest_digit(self) -> int:
        """What a wordline carries at most in one cycle, in units of its smallest level."""
        return int(2**self.dac_bits - 1)

    @cache  # noqa: B019  # asked for at every step of training; few geometries, few sizes of layers
    def tiles(self, wordlines: int) -> tuple[Tensor, ...]:
        """Which wordlines, of so many, each array holds, row by row; int64. All arrays but the last hold as many.

        >>> [tile.tolist() for tile in Crossbar(rows=4).tiles(7)]
        [[0, 1, 2, 3], [4, 5, 6]]
        >>> [tile.tolist() for tile in Crossbar(rows=4, row_order=RowOrder.SPREAD).tiles(7)]
        [[0, 2, 4, 6], [1, 3, 5]]
        """
        order, rows = torch.arange(wordlines), self.rows
        if self.row_order is RowOrder.SPREAD:
            arrays = -(-wordlines // self.rows)
            rows = -(-wordlines // arrays)
            dealt = torch.arange(arrays * rows).view(arrays, rows).T.flatten()  # all arrays' rows, as they are dealt
            order = dealt[dealt < wordlines].argsort()
        return tuple(order.split(rows))

    def cycles(self, bits: int) -> int:
        """Cycles in which a word of ``bits`` enters.

        >>> Crossbar().cycles(8), Crossbar(dac_bits=3).cycles(8)
        (8, 3)
        """
        return -(-bits // self.dac_bits)
