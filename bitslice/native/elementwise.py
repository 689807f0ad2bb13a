"""Python side of ``elementwise.c``: the quantizer's and bit-slice L1's passes over dense tensors on a CPU."""

import ctypes
from ctypes import c_float, c_int, c_int64, c_void_p
from typing import cast

import torch
from torch import Tensor

from bitslice.native import library, parallel

GRAIN = 1 << 16
"""Elements that take a thread about as long as waking it does."""

NAMES = {torch.float32: "float32", torch.bfloat16: "bfloat16"}
"""Kinds of tensor that the kernels work on, and what their kernels' names end in."""


def applies(x: Tensor) -> bool:
    """Whether the kernels work on ``x``: of the right kind, on a CPU, not traced by ``torch.compile``."""
    return (
        not torch.compiler.is_compiling() and x.device.type == "cpu" and x.dtype in NAMES and library() is not None
    )


def _kernel(name: str) -> "ctypes._NamedFuncPointer":
    return cast("ctypes._NamedFuncPointer", getattr(library(), name))


def _at(x: Tensor, first: int) -> c_void_p:
    return c_void_p(x.data_ptr() + first * x.element_size())


def largest_magnitude(x: Tensor) -> Tensor:
    """``max|x|`` as a float32 scalar tensor; NaN if any element is."""
    kernel = _kernel(f"largest_{NAMES[x.dtype]}")
    bits = parallel(x.numel(), lambda first, last: kernel(_at(x, first), c_int64(last - first)), GRAIN)
    return torch.tensor(max(bits), dtype=torch.int32).view(torch.float32)


def fake_quantize(x: Tensor, step: Tensor, largest_code: int, floor: bool) -> Tensor:
    """``x`` in whole multiples of ``step``, at most ``largest_code`` of them, same shape and layout."""
    kernel, result = _kernel(f"fake_quantize_{NAMES[x.dtype]}"), torch.empty_like(x)
    options = c_float(step.item()), c_float(largest_code), c_int(floor)

    def piece(first: int, last: int) -> None:
        kernel(_at(x, first), _at(result, first), c_int64(last - first), *options)

    parallel(x.numel(), piece, GRAIN)
    return result


def slice_sum(w: Tensor, step: Tensor, bits: int, cell_bits: int) -> Tensor:
    """Sum of the slices of all codes of float32 ``w``, as a float32 scalar tensor."""
    kernel = _kernel("slice_sum")
    kernel.restype = c_int64
    options = c_float(step.item()), c_int(bits), c_int(cell_bits)
    sums = parallel(w.numel(), lambda first, last: kernel(_at(w, first), c_int64(last - first), *options), GRAIN)
    return torch.tensor(sum(sums), dtype=torch.float32)


def slice_pull(w: Tensor, step: Tensor, bits: int, cell_bits: int, strength: Tensor) -> Tensor:
    """Gradient of :func:`slice_sum` by its surrogate, times ``strength`` per unit of the code; shape of ``w``."""
    kernel, result = _kernel("slice_pull"), torch.empty_like(w)
    options = c_float(step.item()), c_int(bits), c_int(cell_bits), c_float(strength.item())

    def piece(first: int, last: int) -> None:
        kernel(_at(w, first), _at(result, first), c_int64(last - first), *options)

    parallel(w.numel(), piece, GRAIN)
    return result
