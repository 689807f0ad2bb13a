"""What a crossbar computes, written down naively: the meaning that every faster form must meet bit for bit."""

import torch
from torch import Tensor

from bitslice.crossbar.adc import Adc
from bitslice.crossbar.drive import digits, phases
from bitslice.crossbar.geometry import Crossbar, SignedInputs
from bitslice.slices import to_slices


def naive(
    weights: Tensor,
    inputs: Tensor,
    crossbar: Crossbar,
    adcs: tuple[Adc, ...],
    bits: int = 8,
    input_bits: int = 8,
    signed: bool = False,
) -> Tensor:
    """Product of input vectors with one matrix on crossbars: every conversion of its own, then shift-and-add.

    Args:
        weights: signed codes, integer ``(wordlines, outputs)``.
        inputs: signed codes, integer ``(vectors, wordlines)``; non-negative unless ``signed``.
        crossbar: geometry.
        adcs: of every slice, B0 first.
        bits: magnitude bits of a weight.
        input_bits: magnitude bits of an input.
        signed: whether inputs can be negative.

    Returns:
        int64 ``(vectors, outputs)``; with ideal ADCs ``inputs @ weights``.
    """
    weights, inputs = weights.long(), inputs.long()
    result = torch.zeros(len(inputs), weights.shape[1], dtype=torch.int64, device=weights.device)
    for phase_sign, words, word_bits in phases(inputs, crossbar, input_bits, signed):
        for cycle, digit in enumerate(digits(words, crossbar, word_bits)):
            for sign, side in ((1, weights.clamp_min(0)), (-1, (-weights).clamp_min(0))):
                for k, (cells, adc) in enumerate(zip(to_slices(side, bits, crossbar.cell_bits), adcs, strict=True)):
                    for tile in crossbar.tiles(len(weights)):
                        sums = (digit[:, tile, None] * cells[None, tile].long()).sum(dim=1)
                        scale = phase_sign * sign * 2 ** (crossbar.cell_bits * k + crossbar.dac_bits * cycle)
                        result += scale * adc.convert(sums)
    if signed and crossbar.signed_inputs is SignedInputs.OFFSET:
        result -= 2**input_bits * weights.sum(dim=0)
    return result
