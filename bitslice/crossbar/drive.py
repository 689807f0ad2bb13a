"""How a layer's input drives its wordlines: phases of non-negative words, and their digits, cycle by cycle."""

from dataclasses import dataclass

import torch
from torch import Tensor

from bitslice.crossbar.geometry import Crossbar, SignedInputs
from bitslice.crossbar.mapped_layer import MappedLayer
from bitslice.errors import BitsliceError
from bitslice.fixed_point import dense
from bitslice.native import elementwise


def phases(inputs: Tensor, crossbar: Crossbar, bits: int, signed: bool) -> list[tuple[int, Tensor, int]]:
    """How signed input codes drive wordlines: ``(sign, non-negative codes, bits of a word)`` of each phase.

    Args:
        inputs: integer codes, any shape.
        crossbar: names the scheme for signed inputs.
        bits: of an input's magnitude.
        signed: whether the layer's inputs can be negative.
    """
    if not signed:
        return [(1, inputs, bits)]
    if crossbar.signed_inputs is SignedInputs.OFFSET:
        return [(1, inputs + 2**bits, bits + 1)]
    return [(1, inputs.clamp_min(0), bits), (-1, (-inputs).clamp_min(0), bits)]


def digits(codes: Tensor, crossbar: Crossbar, bits: int) -> Tensor:
    """What the DACs drive, cycle by cycle: ``(cycles, *codes.shape)``, least significant digit first.

    >>> digits(torch.tensor([6]), Crossbar(dac_bits=2), 4).flatten()
    tensor([2, 1])
    """
    shifts = [crossbar.dac_bits * cycle for cycle in range(crossbar.cycles(bits))]
    return torch.stack([(codes >> shift) & crossbar.largest_digit for shift in shifts])


@dataclass(frozen=True)
class Phase:
    """One pass of a layer's input over its wordlines.

    Attributes:
        sign: what the phase's result is multiplied by, +1 or -1.
        codes: what enters, uint8 or uint16 ``(images, channels, height, width)``; of a linear layer, whose vectors are
            the pixels of one image, ``(1, inputs, 1, vectors)``.
        bits: of a word.
        padding: code of a padding pixel.
    """

    sign: int
    codes: Tensor
    bits: int
    padding: int


def drive(mapped: MappedLayer, images: Tensor) -> list[Phase]:
    """A layer's quantized input, as its layout arranges it ``(images, channels, height, width)``, on wordlines.

    Raises:
        BitsliceError: if an input is negative though none was when the layer was mapped.
    """
    # What is never negative goes straight to the type in which it enters.
    kind = torch.int32 if mapped.signed else word_type(mapped.input_bits)
    codes, negative = whole_numbers(dense(images), mapped.input_step, kind)
    if negative and not mapped.signed:
        raise negative_input(mapped)
    return [
        Phase(sign, words.to(word_type(bits)), bits, 2**mapped.input_bits if bits > mapped.input_bits else 0)
        for sign, words, bits in phases(codes.contiguous(), mapped.crossbar, mapped.input_bits, mapped.signed)
    ]


def negative_input(mapped: MappedLayer) -> BitsliceError:
    """What to raise where an input is negative though none was when the layer was mapped."""
    return BitsliceError(
        f"layer {mapped.name!r} has a negative input, but had none when it was mapped: map the network with more "
        "images, or with signed=True where ADCs that clip may have made it so"
    )


def whole_numbers(x: Tensor, step: Tensor, kind: torch.dtype) -> tuple[Tensor, bool]:
    """What multiples of ``step`` the elements of dense float ``x`` are, as ``kind``; whether one is negative."""
    if elementwise.takes_bytes(x, kind):
        return elementwise.bytes_of(x, step)
    return (x * step.reciprocal()).to(kind), bool(x.numel() and x.amin() < 0)


def word_type(bits: int) -> torch.dtype:
    """Smallest unsigned type for words of ``bits``."""
    return torch.uint8 if bits <= 8 else torch.uint16
