"""One layer on crossbars: what its arrays store, and how many arrays and conversions that takes."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from bitslice.crossbar.geometry import Crossbar, SignedInputs
from bitslice.crossbar.layout import Layout
from bitslice.crossbar.unfold import Pair, Unfold
from bitslice.slices import cell_levels, slice_count


@dataclass(frozen=True)
class MappedLayer:
    """One layer on crossbars.

    Attributes:
        name: of the layer in its model.
        crossbar: geometry of its arrays.
        codes: signed weight codes, int32 ``(groups, wordlines, outputs)``; outputs of one group.
        bits: magnitude bits of a weight.
        input_bits: magnitude bits of an input.
        signed: whether inputs can be negative, as observed on the images it was mapped with.
        step: value of a weight code of 1.
        input_step: value of an input code of 1.
        inputs: input elements per image, over all calls of the layer.
        vectors: input vectors per image: output positions of a convolution, over all calls of the layer.
        layout: how its input becomes images, and the product its output.
    """

    name: str
    crossbar: Crossbar
    codes: Tensor
    bits: int
    input_bits: int
    signed: bool
    step: Tensor
    input_step: Tensor
    inputs: int
    vectors: int
    layout: Layout

    @property
    def unfold(self) -> Unfold | None:
        """How images become input vectors; None for a linear layer."""
        return self.layout.unfold

    @property
    def groups(self) -> int:
        """Matrices of the layer: groups of a convolution, else 1."""
        return self.codes.shape[0]

    @property
    def wordlines(self) -> int:
        """Inputs of one matrix."""
        return self.codes.shape[1]

    @property
    def outputs(self) -> int:
        """Bitlines of one matrix, per slice and sign."""
        return self.codes.shape[2]

    @property
    def slices(self) -> int:
        """Slices of a weight."""
        return slice_count(self.bits, self.crossbar.cell_bits)

    @property
    def row_tiles(self) -> int:
        """Arrays that a column stretches over."""
        return -(-self.wordlines // self.crossbar.rows)

    @property
    def column_tiles(self) -> int:
        """Arrays that a row stretches over."""
        return -(-self.outputs // self.crossbar.columns)

    @property
    def arrays(self) -> int:
        """Crossbar arrays of the layer, over groups, slices, both signs and tiles."""
        return self.groups * self.slices * 2 * self.row_tiles * self.column_tiles

    @property
    def unused(self) -> Pair:
        """Rows of the row tiles and columns of the column tiles that hold nothing."""
        rows = self.row_tiles * self.crossbar.rows - self.wordlines
        return rows, self.column_tiles * self.crossbar.columns - self.outputs

    @property
    def utilization(self) -> float:
        """Share (0 to 1) of the arrays' cells that lie on a used row and a used column; zero weights count as used."""
        held = self.row_tiles * self.crossbar.rows * self.column_tiles * self.crossbar.columns
        return self.wordlines * self.outputs / held

    @property
    def phases(self) -> int:
        """Passes of the input per vector."""
        return 2 if self.signed and self.crossbar.signed_inputs is SignedInputs.TWO_PHASE else 1

    @property
    def cycles(self) -> int:
        """Cycles per vector, over all phases; an offset takes the word one bit more."""
        offset = self.signed and self.crossbar.signed_inputs is SignedInputs.OFFSET
        return self.phases * self.crossbar.cycles(self.input_bits + offset)

    def levels(self) -> Tensor:
        """Cell levels, uint8 ``(groups, 2 signs, slices, wordlines, outputs)``; the positive array first, B0 first."""
        return cell_levels(self.codes, self.bits, self.crossbar.cell_bits).movedim(2, 0)

    @cached_property
    def bounds(self) -> Tensor:
        """Largest sum that any input could put on each bitline, int64 ``(groups, tiles, 2 signs, slices, outputs)``."""
        cells = self.levels()
        sums = [cells[:, :, :, tile].sum(dim=3, dtype=torch.int32) for tile in self.crossbar.tiles(self.wordlines)]
        return torch.stack(sums, dim=1).long() * self.crossbar.largest_digit

    def largest_sum(self, codes: Tensor | None = None) -> int:
        """Largest magnitude that a product's sum can reach for any input, in whatever order it is added.

        Args:
            codes: signed weight codes ``(groups, wordlines, outputs)``; None: those of the layer.
        """
        codes = self.codes if codes is None else codes
        positive, negative = (side.sum(dim=1) for side in (codes.clamp_min(0), codes.clamp_max(0).neg()))
        # Inputs that are never negative leave the signs of all terms to the weights.
        reached = positive + negative if self.signed else torch.maximum(positive, negative)
        return int(reached.max()) * int(2**self.input_bits - 1)

    def conversions(self) -> Tensor:
        """Conversions per image and slice, int64 ``(slices,)``: every cycle converts every bitline of every tile."""
        each = self.vectors * self.cycles * self.groups * self.row_tiles * 2 * self.outputs
        return torch.full((self.slices,), each)

    def conversions_of_used(self) -> Tensor:
        """As :meth:`conversions`, without bitlines whose cells are all zero: they need no ADC."""
        return self.bounds.gt(0).sum(dim=(0, 1, 2, 4)) * self.vectors * self.cycles
