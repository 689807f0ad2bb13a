"""Sparse slices by a proximal operator: a variant of ours, beside the paper's bit-slice L1.

Bit-slice L1 pulls through a surrogate gradient, which stops at every multiple of 4, 16 and 64. Here nothing pulls.
The quantizer itself charges for slices: it stores ``w``, whose nearest code is ``c``, as the code ::

    argmin_d  (c - d)^2 / 2  +  alpha * (number of non-zero slices of d)

the proximal operator, on the code grid, of what the tables count. Gradients pass straight through, so the
full-precision weight gathers them below it, and takes another code once the loss wants it by enough. ``alpha`` is in
steps squared: 8 zeroes what lies within 4 steps of zero, in every tensor alike. Above 4.5 the least
significant of four 2-bit slices is always empty, above 108 the next is too: part of what a high price finds is how few
bits a network needs.
"""

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from bitslice.errors import BitsliceError
from bitslice.fixed_point import FixedPoint, Rounding, blocks
from bitslice.quantizer import quantized_tensors
from bitslice.slices import to_slices


def proximal_table(alpha: float, bits: int = 8, cell_bits: int = 2) -> Tensor:
    """What every signed code becomes, as ``2 * 2^bits - 1`` float32 entries; a tie goes to the smaller magnitude.

    Entry ``code + 2^bits - 1`` belongs to ``code``.

    >>> table = proximal_table(alpha=2.0)
    >>> [table[255 + code].item() for code in (2, 3, 17, 228, -17)]  # 228 = 3 * 64 + 2 * 16 + 4
    [0.0, 3.0, 16.0, 228.0, -16.0]
    """
    codes = torch.arange(2**bits)
    price = alpha * to_slices(codes, bits, cell_bits).ne(0).sum(dim=0).double()
    best = torch.stack([((code - codes).double().square() / 2 + price).argmin() for code in codes])
    return torch.cat([-best.flip(0), best[1:]]).float()


class _LookUp(torch.autograd.Function):
    """Codes through a table in the forward pass, identity in the backward pass."""

    @staticmethod
    def forward(ctx: Any, quantized: Tensor, step: Tensor, table: Tensor) -> Tensor:
        result = torch.empty_like(quantized)
        values, scale, largest = (table * step).to(quantized.dtype), step.reciprocal(), len(table) // 2
        for source, block in zip(blocks(quantized), blocks(result), strict=True):
            # Weights that have diverged to NaN must not index beyond the table; the loss is NaN by then.
            index = (source * scale).nan_to_num_(0).to(torch.int32).add_(largest)
            torch.index_select(values, 0, index, out=block)
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return gradients[0], None, None


class ProximalFixedPoint(FixedPoint):
    """A :class:`FixedPoint` that stores every code as :func:`proximal_table` says.

    Args:
        alpha: price of a non-zero slice, in steps squared.
        bits: magnitude bits.
        rounding: to the code that the table is asked for.
        cell_bits: bits per ReRAM cell; they must divide the word.
    """

    table: Tensor

    def __init__(self, alpha: float, bits: int = 8, rounding: Rounding = Rounding.NEAREST, cell_bits: int = 2) -> None:
        super().__init__(bits, rounding)
        self.register_buffer("table", proximal_table(alpha, bits, cell_bits), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        quantized = super().forward(x)
        return cast(Tensor, _LookUp.apply(quantized, self.step, self.table))  # type: ignore[no-untyped-call]

    def codes(self, x: Tensor) -> Tensor:
        nearest = super().codes(x)
        return self.table[nearest.long() + len(self.table) // 2].to(torch.int32)


def charge_slices(model: nn.Module, alpha: float) -> None:
    """Give every quantized weight and bias of ``model`` a :class:`ProximalFixedPoint`, in place; scales are kept.

    Raises:
        BitsliceError: if the model has no quantized parameter.
    """
    tensors = list(quantized_tensors(model))
    if not tensors:
        raise BitsliceError("charge_slices needs a quantized model: call bitslice.quantize(model) first")
    for tensor in tensors:
        old = tensor.quantizer
        new = ProximalFixedPoint(alpha, old.bits, old.rounding).to(old.step.device).train(old.training)
        new.step = old.step
        chain = cast(nn.ModuleDict, tensor.layer.parametrizations)[tensor.name.rpartition(".")[2]]
        cast(parametrize.ParametrizationList, chain)[0] = new
