"""Dynamic fixed point: how one tensor is quantized, and the gradient that passes straight through.

A tensor ``w`` is stored as sign and an integer *code* of ``bits`` magnitude bits (authors' code)::

    S    = ceil(log2 max|w|)          one power of two per tensor
    step = 2^(S - bits)
    code = min(round(|w| / step), 2^bits - 1)

The authors' code clamps at ``2^bits`` instead, so that code 256 occurs at 8 bits, which no set of four 2-bit cells can
hold; here codes end at 255.
"""

import enum
import math
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn

from bitslice.errors import BitsliceError
from bitslice.native import elementwise

SMALLEST_RANGE = 1e-5
"""Smallest ``max|w|`` for which a scale is derived (authors' code: EPS); an all-zero tensor gets its scale."""

SMALLEST_BOUND = 2.0**-16
"""The power of two that it is rounded up to."""


class Rounding(enum.Enum):
    """How a real magnitude becomes an integer code."""

    NEAREST = "nearest"
    """To the nearest integer, ties to even (the authors' code)."""
    FLOOR = "floor"
    """Towards zero: the magnitude's fraction is dropped."""


#: Elements worked on at a time on a CPU. Several passes over a block that stays in a core's cache cost little more than
#: one pass over memory.
BLOCK = 1 << 17


def dense(x: Tensor) -> Tensor:
    """``x``, copied only if its elements do not fill one stretch of memory, row by row or channels innermost."""
    return x if x.is_contiguous() or x.is_contiguous(memory_format=torch.channels_last) else x.contiguous()


def blocks(x: Tensor) -> tuple[Tensor, ...]:
    """A :func:`dense` tensor's elements in the order they lie in memory, as vectors of ``BLOCK``; views, not copies.

    On any device but a CPU, and for ``torch.compile``, which fuses the passes by itself, there is one block.
    """
    elements = x.as_strided((x.numel(),), (1,))
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        return (elements,)
    return elements.split(BLOCK)  # type: ignore[no-any-return]


def power_of_two_step(x: Tensor, bits: int = 8) -> Tensor:
    """Step ``2^(ceil(log2 max|x|) - bits)`` of dynamic fixed point, as a float32 scalar tensor.

    Everything works on the floats' own bits: without their sign they sort as integers, which reduce faster, and the
    ceiling is one on the exponent field. So powers of two stay exact and nothing leaves the device.

    >>> power_of_two_step(torch.tensor([0.3, -0.7])).item() == 2.0**-8
    True
    >>> power_of_two_step(torch.tensor([0.5])).item() == 2.0**-9
    True
    """
    x = dense(x.detach())
    if elementwise.applies(x):
        return elementwise.power_of_two_step(x, SMALLEST_RANGE, bits)
    integer = {2: torch.int16, 4: torch.int32, 8: torch.int64}[x.element_size()]
    not_sign = torch.iinfo(integer).max
    parts = blocks(x)
    buffer = torch.empty_like(parts[0], dtype=integer)
    magnitudes = [torch.bitwise_and(part.view(integer), not_sign, out=buffer[: len(part)]).amax() for part in parts]
    largest = torch.stack(magnitudes).amax().view(x.dtype).to(torch.float32)
    # Adding the full mantissa carries into the exponent unless the mantissa is zero: a ceiling to a power of two.
    bound = (largest.clamp_min(SMALLEST_RANGE).view(torch.int32) + 0x7FFFFF).bitwise_and(0x7F800000).view(torch.float32)
    return bound * 2.0**-bits


class _StraightThrough(torch.autograd.Function):
    """Fake-quantize in the forward pass, identity in the backward pass (authors' code: StraightThroughRound).

    Scaling by a power of two is exact, so these four vectorized passes give what
    ``torch.fake_quantize_per_tensor_affine`` gives (a test holds it), without its scalar loop on CPUs and without the
    mask that it keeps for its backward pass. In bfloat16 they are as exact: its 8 significant bits hold 8-bit codes.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, step: Tensor, largest_code: int, rounding: Rounding) -> Tensor:
        if torch.compiler.is_compiling():  # which fuses the passes itself; torch.export looks in with gradients on
            codes = x.detach() * step.reciprocal()
            codes = codes.round() if rounding is Rounding.NEAREST else codes.trunc()
            return codes.clamp(-largest_code, largest_code) * step
        x = dense(x)
        if elementwise.applies(x):
            return elementwise.fake_quantize(x, step, largest_code, rounding is Rounding.FLOOR)
        scale, result = step.reciprocal(), torch.empty_like(x)
        if x.dtype is torch.float16 or (x.element_size() == 2 and x.device.type == "cpu"):
            # On a CPU every pass in a 16-bit format converts to float32 and back: once for all four passes is faster.
            # In float16 the reciprocal of a small step would overflow.
            buffer = torch.empty(blocks(x)[0].shape, dtype=torch.float32, device=x.device)
        else:
            buffer = None
        for source, block in zip(blocks(x), blocks(result), strict=True):
            work = block if buffer is None else buffer[: len(source)].copy_(source)
            torch.mul(source if buffer is None else work, scale, out=work)
            work.round_() if rounding is Rounding.NEAREST else work.trunc_()
            work.clamp_(-largest_code, largest_code).mul_(step)
            if buffer is not None:
                block.copy_(work)
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        return gradients[0], None, None, None


def fake_quantize(x: Tensor, step: Tensor, bits: int = 8, rounding: Rounding = Rounding.NEAREST) -> Tensor:
    """Round ``x`` (any shape) to whole multiples of ``step``, a power of two; the gradient passes straight through.

    >>> fake_quantize(torch.tensor([0.30, -0.70, 5.0]), torch.tensor(0.25), bits=2)
    tensor([ 0.2500, -0.7500,  0.7500])
    >>> fake_quantize(torch.tensor([0.30, -0.70, 5.0]), torch.tensor(0.25), bits=2, rounding=Rounding.FLOOR)
    tensor([ 0.2500, -0.5000,  0.7500])
    """
    return cast(Tensor, _StraightThrough.apply(x, step, 2**bits - 1, rounding))  # type: ignore[no-untyped-call]


class FixedPoint(nn.Module):
    """Quantizer of one tensor: a weight, a bias, or the input of a layer.

    In training mode the step follows the tensor it sees (the paper's *dynamic* fixed point); in evaluation mode the
    last step stays frozen. Steps are powers of two in float32, whatever the network is converted to.

    Args:
        bits: magnitude bits n; codes run from 0 to ``2^n - 1``, the sign is kept apart.
        rounding: see :class:`Rounding`.
        source: what is quantized, for messages, where it is the input of a layer. Such a scale cannot be ruined: an
            empty or an all-zero input leaves it as it is, one that is not finite is refused.

    Attributes:
        headroom: highest bits of the word that stay 0, see :func:`bitslice.leave_headroom`.
        observing: while it is set, the step follows the largest tensor seen, in either mode.
    """

    step: Tensor

    def __init__(self, bits: int = 8, rounding: Rounding = Rounding.NEAREST, source: str | None = None) -> None:
        super().__init__()
        if not 1 <= bits <= 16:
            raise BitsliceError(f"bits must lie between 1 and 16, not {bits}")
        self.bits = bits
        self.rounding = rounding
        self.source = source
        self.headroom = 0
        self.observing = False
        self.register_buffer("step", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """Quantize ``x`` (any shape).

        Raises:
            BitsliceError: in evaluation mode, if no step has been set yet, or it is no power of two, as after averaging
                networks; while the step follows a layer's input, if that is not finite.
        """
        if self.observing or self.training:
            self.follow(x)
        elif not torch.compiler.is_compiling() and self.step.device.type == "cpu":
            self._check_step()
        return fake_quantize(x, self.step, self.bits - self.headroom, self.rounding)

    @torch.no_grad()
    def follow(self, x: Tensor) -> None:
        """Set the step by ``x`` (any shape); raises as :meth:`forward`."""
        if not x.numel():
            return
        with torch.inference_mode(False):  # what is set there could not be trained on later
            step = power_of_two_step(x, self.bits - self.headroom).clone()
            if self.source is not None:
                step = self._useful(step)
            self.step = torch.maximum(self.step, step) if self.observing else step

    def _useful(self, step: Tensor) -> Tensor:
        """``step``, or the last one if the tensor was all zero."""
        smallest = SMALLEST_BOUND * 2.0 ** (self.headroom - self.bits)
        if step.device.type == "cpu" and not torch.compiler.is_compiling():
            value = step.item()
            if not 0 < value < math.inf:
                raise BitsliceError(f"{self.source} is not finite (nan or inf); its scale stays as it was")
            return self.step if value == smallest and self.step.item() else step
        # Elsewhere asking for the value would wait for the device: what is not finite leaves the scale as it is.
        kept = ((step > smallest) & step.isfinite()) | (self.step == 0)
        return torch.where(kept, step, self.step)

    def _check_step(self) -> None:
        value = self.step.item()
        name = self.source or "a weight"
        if value == 0:
            raise BitsliceError(
                f"{name} has no scale yet: call bitslice.calibrate, or run one training-mode forward pass, first"
            )
        if math.frexp(value)[0] != 0.5:
            raise BitsliceError(
                f"the scale of {name} is no power of two ({value}): average parameters alone, then call "
                "bitslice.calibrate"
            )

    def codes(self, x: Tensor) -> Tensor:
        """Signed integer codes of ``x`` at the present step: int32, same shape, within ``+-(2^bits - 1)``."""
        quantized = fake_quantize(x.detach().float(), self.step, self.bits - self.headroom, self.rounding)
        return (quantized / self.step).to(torch.int32)

    def extra_repr(self) -> str:
        return f"bits={self.bits}, rounding={self.rounding.name}, headroom={self.headroom}"

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "FixedPoint":
        step = self.step
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.step = step.to(self.step.device)  # float16 does not hold the step of a small tensor
        return self

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        if self.headroom:
            destination[f"{prefix}headroom"] = torch.tensor(self.headroom)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *others: Any) -> None:
        if f"{prefix}step" in state_dict:
            self.headroom = int(state_dict.pop(f"{prefix}headroom", 0))
        super()._load_from_state_dict(state_dict, prefix, *others)
