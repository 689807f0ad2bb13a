"""A mapped layer's product, as its arrays and ADCs give it: the simulated bitlines and the exact rest, added up."""

from typing import cast

import torch
from torch import Tensor

from bitslice.crossbar import kernel
from bitslice.crossbar.adc import Adc
from bitslice.crossbar.division import divide
from bitslice.crossbar.drive import drive, negative_input
from bitslice.crossbar.exact import EXACT_IN_FLOAT32, Exact
from bitslice.crossbar.geometry import SignedInputs
from bitslice.crossbar.kernel import Counters
from bitslice.crossbar.mapped_layer import MappedLayer
from bitslice.crossbar.nonideal import Analog, NonIdealities
from bitslice.crossbar.stacked import Stacked
from bitslice.crossbar.unfold import Unfold


class Simulation:
    """Product of a layer on crossbars.

    One exact product covers bitlines that no ADC can change; the others are simulated. Both are sums of integers, held
    exactly and rounded once. With ideal ADCs the product is that of the quantized layer, where float32 holds that one's
    sums too: below 2^24 in units of both steps, and a bias no finer than that.

    Args:
        mapped: the layer.
        adcs: of every slice, B0 first.
        cells: how cells depart from the ideal; None: not at all. Then every bitline is simulated, in real numbers.
    """

    def __init__(self, mapped: MappedLayer, adcs: tuple[Adc, ...], cells: NonIdealities | None = None) -> None:
        self.mapped = mapped
        division = divide(mapped, adcs, ideal_cells=cells is None)
        self.sums = torch.int32 if cells is None else torch.float32
        self.matrices = [
            simulated_matrix(mapped, group, bitlines, adcs, cells) if bitlines.any() else None
            for group, bitlines in enumerate(division.simulated)
        ]
        self.simulated = mapped.codes - division.exact
        self.exact = Exact(mapped, division.exact) if division.exact.any() or not any(self.matrices) else None
        widest = mapped.largest_sum() * max(adc.gain for adc in adcs)
        self.dtype = torch.float32 if widest < EXACT_IN_FLOAT32 else torch.float64

    def product(self, x: Tensor) -> Tensor:
        """The product for the layer's quantized input ``x``, in the shape that the layer gives; float32 or float64.

        Raises:
            BitsliceError: if an input is negative though none was when the layer was mapped.
        """
        if not x.numel():
            return self._empty(x)
        if not (self.mapped.signed or any(self.matrices)) and x.amin() < 0:  # else drive() tells
            raise negative_input(self.mapped)
        result = None if self.exact is None else self.exact(x)
        if any(self.matrices):
            simulated = self._simulated(x).to(self.dtype).mul_(self.mapped.input_step * self.mapped.step)
            result = simulated if result is None else simulated.add_(result)
        return cast(Tensor, result)

    def _simulated(self, x: Tensor) -> Tensor:
        """What the simulated bitlines give, int32 (or float32), in the layer's output shape."""
        mapped, unfold = self.mapped, self.mapped.unfold or Unfold()
        phases = drive(mapped, mapped.layout.images(x))
        images, _, height, width = phases[0].codes.shape
        shape = (images, mapped.groups, mapped.outputs, *unfold.output_size(height, width))
        result = torch.zeros(shape, dtype=self.sums, device=x.device)
        for phase in phases:
            for group, inputs in enumerate(phase.codes.chunk(mapped.groups, dim=1)):
                matrix = self.matrices[group]
                if matrix is not None:
                    matrix.add(result[:, group], inputs, unfold, phase.bits, phase.sign, phase.padding)
        if mapped.signed and mapped.crossbar.signed_inputs is SignedInputs.OFFSET:
            result -= 2**mapped.input_bits * self.simulated.sum(dim=1)[..., None, None]
        return mapped.layout.output(result.flatten(1, 2), x)

    def _empty(self, x: Tensor) -> Tensor:
        """What no input gives: nothing, in the right shape."""
        if self.mapped.unfold is None:
            return x.new_zeros(*x.shape[:-1], self.mapped.outputs)
        return x.new_zeros(0, *self.product(x.new_zeros(1, *x.shape[1:])).shape[1:])


def simulated_matrix(
    mapped: MappedLayer, group: int, chosen: Tensor, adcs: tuple[Adc, ...], cells: NonIdealities | None = None
) -> Counters | Stacked:
    """The simulation of one matrix of a layer: by the kernel where that works and cells are ideal, else in torch.

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
    kind = Counters if kernel.applies(codes, adcs) else Stacked
    return kind(codes, chosen, adcs, mapped.crossbar, mapped.bits)
