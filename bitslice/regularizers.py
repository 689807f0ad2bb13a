"""L1 and bit-slice L1 behind one interface: call it with nothing, get the term to add to the loss.

Both are means over all N quantized parameters of the model, as in the authors' code::

    L1 :  sum |w| / N
    Bl1:  sum (B0 + B1 + B2 + B3) / (4 N)        (the paper's term; B_k are the slices of the code of |w|)
"""

from functools import cache
from typing import Any, cast

import torch
from torch import Tensor, nn

from bitslice.errors import BitsliceError
from bitslice.fixed_point import blocks, dense
from bitslice.native import elementwise
from bitslice.quantizer import QuantizedTensor, quantized_tensors
from bitslice.slices import slice_count, to_slices


@cache
def slice_tables(bits: int = 8, cell_bits: int = 2) -> tuple[Tensor, Tensor]:
    """Sum of slices and surrogate gradient of every signed code, as tables of ``2 * 2^bits - 1`` float32 entries.

    Both are functions of the code alone. Entry ``code + 2^bits - 1`` belongs to ``code``; the gradient is per unit of
    the code, ``sign(code) * sum_k [B_k > 0] / 2^(cell_bits k)``: what the straight-through floor and round of the
    authors' code give. A slice that is zero does not pull.

    >>> value, pull = slice_tables()
    >>> value[255 + 228].item(), pull[255 + 228].item() == 1 / 4 + 1 / 16 + 1 / 64
    (6.0, True)
    """
    largest = 2**bits - 1
    codes = torch.arange(-largest, largest + 1)
    slices = to_slices(codes, bits, cell_bits)
    weights = 2.0 ** (-cell_bits * torch.arange(slice_count(bits, cell_bits)))
    pull = (slices.ne(0) * weights[:, None]).sum(dim=0) * codes.sign()
    return slices.sum(dim=0).float(), pull.float()


class _SliceSum(torch.autograd.Function):
    """Sum of all slices of one tensor. Both passes read the weights alone, so nothing is kept between them."""

    @staticmethod
    def forward(ctx: Any, w: Tensor, step: Tensor, bits: int, cell_bits: int) -> Tensor:
        w = dense(w)
        ctx.save_for_backward(w, step)
        ctx.word = bits, cell_bits
        if _native(w):
            return elementwise.slice_sum(w, step, bits, cell_bits)
        table = slice_tables(bits, cell_bits)[0].to(w.device)
        largest = 2**bits - 1
        # A sum of whole numbers: exact in float64, and rounded once at its end.
        sums = [
            table.index_select(0, _table_index(block, step, largest)).sum(dtype=torch.float64) for block in blocks(w)
        ]
        return torch.stack(sums).sum().float()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        w, step = ctx.saved_tensors
        bits, cell_bits = ctx.word
        strength = gradients[0] / step
        if _native(w):
            return elementwise.slice_pull(w, step, bits, cell_bits, strength), None, None, None
        table = (slice_tables(bits, cell_bits)[1].to(w.device) * strength).to(w.dtype)
        pull = torch.empty_like(w)
        for source, block in zip(blocks(w), blocks(pull), strict=True):
            torch.index_select(table, 0, _table_index(source, step, 2**bits - 1), out=block)
        return pull, None, None, None


def _native(w: Tensor) -> bool:
    return w.dtype is torch.float32 and elementwise.applies(w)


def _table_index(w: Tensor, step: Tensor, largest: int) -> Tensor:
    """Where each weight's code stands in a table of :func:`slice_tables`, int32."""
    # Rounding is to nearest here whatever the quantizer does: the surrogate is the authors'.
    # Weights that have diverged to NaN must not index beyond the tables; the loss is NaN without their help.
    w = w.to(torch.promote_types(w.dtype, torch.float32))  # in float16 the reciprocal of a small step overflows
    return (w * step.reciprocal()).round_().nan_to_num_(0).clamp_(-largest, largest).add_(largest).to(torch.int32)


class Regularizer:
    """Base of both regularizers.

    Args:
        model: a model that :func:`bitslice.quantize` has quantized.

    Raises:
        BitsliceError: if the model has no quantized parameter.
    """

    def __init__(self, model: nn.Module) -> None:
        self.tensors = list({id(t.original): t for t in quantized_tensors(model)}.values())  # shared ones count once
        if not self.tensors:
            raise BitsliceError(f"{type(self).__name__} needs a quantized model: call bitslice.quantize(model) first")
        self.parameters = sum(tensor.original.numel() for tensor in self.tensors)

    def total(self, tensor: QuantizedTensor) -> Tensor:
        """The term's unnormalized sum over one parameter tensor: a scalar with a gradient."""
        raise NotImplementedError

    def __call__(self) -> Tensor:
        """The regularization term, a scalar with a gradient; multiply by alpha and add to the loss."""
        return torch.stack([self.total(tensor) for tensor in self.tensors]).sum() / self.parameters


class L1(Regularizer):
    """Mean magnitude of the full-precision parameters, in the weights' units."""

    def total(self, tensor: QuantizedTensor) -> Tensor:
        return tensor.original.abs().sum()


class BitSliceL1(Regularizer):
    """Mean slice value over all parameters and slices (the paper's bit-slice L1), in cell levels.

    Uses the step that the last forward pass has set, so call it after the forward pass, as the authors do.

    Args:
        model: a quantized model.
        cell_bits: bits per ReRAM cell; they must divide the word.
    """

    def __init__(self, model: nn.Module, cell_bits: int = 2) -> None:
        super().__init__(model)
        self.cell_bits = cell_bits
        for tensor in self.tensors:
            slice_count(tensor.quantizer.bits, cell_bits)

    def total(self, tensor: QuantizedTensor) -> Tensor:
        bits = tensor.quantizer.bits
        total = _SliceSum.apply(tensor.original, tensor.quantizer.step, bits, self.cell_bits)  # type: ignore[no-untyped-call]
        return cast(Tensor, total) / slice_count(bits, self.cell_bits)
