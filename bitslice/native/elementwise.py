"""Python side of ``elementwise.c``: passes over dense tensors on a CPU."""

from ctypes import c_float, c_int, c_int64, c_void_p
from typing import Any

import torch
from torch import Tensor

from bitslice.native import library

NAMES = {torch.float32: "float32", torch.bfloat16: "bfloat16"}
"""Kinds of tensor that the kernels work on, and what their kernels' names end in."""


def applies(x: Tensor) -> bool:
    """Whether the kernels work on ``x``: of the right kind, on a CPU, not traced by ``torch.compile``."""
    return not torch.compiler.is_compiling() and x.device.type == "cpu" and x.dtype in NAMES and library() is not None


def _call(kernel: str, *arguments: Any, result: type | None = None) -> Any:
    function = getattr(library(), kernel)
    function.restype = result
    return function(*arguments, c_int(torch.get_num_threads()))


def _elements(x: Tensor) -> c_void_p:
    return c_void_p(x.data_ptr())


def power_of_two_step(x: Tensor, smallest_range: float, bits: int) -> Tensor:
    """``2^(ceil(log2 max(|x|, smallest_range)) - bits)`` as a float32 scalar tensor."""
    options = c_float(smallest_range), c_int(bits)
    name = f"power_of_two_step_{NAMES[x.dtype]}"
    step = _call(name, _elements(x), c_int64(x.numel()), *options, result=c_float)
    return torch.tensor(step, dtype=torch.float32)


def fake_quantize(x: Tensor, step: Tensor, largest_code: int, floor: bool) -> Tensor:
    """``x`` in whole multiples of ``step``, at most ``largest_code`` of them, same shape and layout."""
    result = torch.empty_like(x)
    options = c_float(step.item()), c_float(largest_code), c_int(floor)
    _call(f"fake_quantize_{NAMES[x.dtype]}", _elements(x), _elements(result), c_int64(x.numel()), *options)
    return result


def slice_sum(w: Tensor, step: Tensor, bits: int, cell_bits: int) -> Tensor:
    """Sum of the slices of all codes of float32 ``w``, as a float32 scalar tensor."""
    options = c_float(step.item()), c_int(bits), c_int(cell_bits)
    total = _call("slice_sum", _elements(w), c_int64(w.numel()), *options, result=c_int64)
    return torch.tensor(total, dtype=torch.float32)


def slice_pull(w: Tensor, step: Tensor, bits: int, cell_bits: int, strength: Tensor) -> Tensor:
    """Gradient of :func:`slice_sum` by its surrogate, times ``strength`` per unit of the code; shape of ``w``."""
    result = torch.empty_like(w)
    options = c_float(step.item()), c_int(bits), c_int(cell_bits), c_float(strength.item())
    _call("slice_pull", _elements(w), _elements(result), c_int64(w.numel()), *options)
    return result


def takes_bytes(x: Tensor, kind: torch.dtype) -> bool:
    """Whether :func:`bytes_of` works on ``x`` and gives ``kind``."""
    return kind is torch.uint8 and x.dtype is torch.float32 and applies(x)


def bytes_of(x: Tensor, step: Tensor) -> tuple[Tensor, bool]:
    """What multiples of ``step``, up to 255, the elements of float32 ``x`` are, uint8; and whether one is negative."""
    result = torch.empty_like(x, dtype=torch.uint8)
    options = c_int64(x.numel()), c_float(1 / step.item())
    return result, bool(_call("bytes_of", _elements(x), _elements(result), *options, result=c_int))
