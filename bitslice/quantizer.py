"""Dynamic fixed point: quantizers, straight-through gradients, and a whole network's quantized form.

A tensor ``w`` is stored as sign and an integer *code* of ``bits`` magnitude bits (authors' code)::

    S    = ceil(log2 max|w|)          one power of two per tensor
    step = 2^(S - bits)
    code = min(round(|w| / step), 2^bits - 1)

The authors' code clamps at ``2^bits`` instead, so that code 256 occurs at 8 bits, which no set of four 2-bit cells can
hold; here codes end at 255.
"""

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from bitslice.errors import BitsliceError
from bitslice.native import elementwise

SMALLEST_RANGE = 1e-5
"""Smallest ``max|w|`` for which a scale is derived (authors' code: EPS); an all-zero tensor gets its scale."""


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
        x = dense(x)
        if elementwise.applies(x):
            return elementwise.fake_quantize(x, step, largest_code, rounding is Rounding.FLOOR)
        scale, result = step.reciprocal(), torch.empty_like(x)
        if x.element_size() == 2 and x.device.type == "cpu":
            # There every pass in a 16-bit format converts to float32 and back: once for all four passes is faster.
            buffer = torch.empty(min(BLOCK, x.numel()), dtype=torch.float32)
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
    last step stays frozen.

    Args:
        bits: magnitude bits n; codes run from 0 to ``2^n - 1``, the sign is kept apart.
        rounding: see :class:`Rounding`.

    Attributes:
        headroom: highest bits of the word that stay 0, see :func:`leave_headroom`.
    """

    step: Tensor

    def __init__(self, bits: int = 8, rounding: Rounding = Rounding.NEAREST) -> None:
        super().__init__()
        if not 1 <= bits <= 16:
            raise BitsliceError(f"bits must lie between 1 and 16, not {bits}")
        self.bits = bits
        self.rounding = rounding
        self.headroom = 0
        self.register_buffer("step", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """Quantize ``x`` (any shape).

        Raises:
            BitsliceError: in evaluation mode, if no training-mode pass has set the step yet.
        """
        if self.training:
            self.step = power_of_two_step(x, self.bits - self.headroom)
        elif not self.step:
            raise BitsliceError("this quantizer has no scale yet: run one training-mode forward pass before evaluating")
        return fake_quantize(x, self.step, self.bits - self.headroom, self.rounding)

    def codes(self, x: Tensor) -> Tensor:
        """Signed integer codes of ``x`` at the present step: int32, same shape, within ``+-(2^bits - 1)``."""
        quantized = fake_quantize(x.detach(), self.step, self.bits - self.headroom, self.rounding)
        return (quantized / self.step).to(torch.int32)

    def extra_repr(self) -> str:
        return f"bits={self.bits}, rounding={self.rounding.name}, headroom={self.headroom}"


class Mask(nn.Module):
    """Parametrization that keeps pruned weights at zero; it blocks their gradient too."""

    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", mask)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.mask


def _quantize_input(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (cast(FixedPoint, module.input_quantizer)(inputs[0]), *inputs[1:])


def quantize(
    model: nn.Module, bits: int = 8, activation_bits: int = 8, rounding: Rounding = Rounding.NEAREST
) -> nn.Module:
    """Turn every ``Linear`` and ``Conv2d`` of ``model`` into its dynamic fixed-point form, in place.

    Weight and bias become parametrized (reading ``layer.weight`` gives the quantized weight, the optimizer still sees
    the full-precision one) and the layer's input passes a quantizer of its own, as a crossbar's DAC would see it.
    Batch norm stays in float.

    Returns:
        The same model, for chaining.

    Raises:
        BitsliceError: if there is no such layer, or one is quantized already.
    """
    layers = [(n, m) for n, m in model.named_modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    if not layers:
        raise BitsliceError("nothing to quantize: the model has no Linear or Conv2d layer")
    for name, layer in layers:
        if hasattr(layer, "input_quantizer"):
            raise BitsliceError(f"layer {name!r} is quantized already")
        if parametrize.is_parametrized(layer):
            raise BitsliceError(f"layer {name!r} has a parametrization of its own, which would hide its weights")
    for _, layer in layers:
        input_quantizer = FixedPoint(activation_bits, rounding).train(layer.training)
        for parameter in ("weight", "bias"):
            if getattr(layer, parameter) is not None:
                quantizer = FixedPoint(bits, rounding)
                quantizer.step = power_of_two_step(getattr(layer, parameter).detach(), bits)  # in either mode
                parametrize.register_parametrization(layer, parameter, quantizer)
        layer.input_quantizer = input_quantizer
        layer.register_forward_pre_hook(_quantize_input)
    return model


@dataclass(frozen=True)
class QuantizedTensor:
    """One quantized parameter of a model: its name, its layer, the full-precision tensor, the quantizer, the masks."""

    name: str
    layer: nn.Module
    original: nn.Parameter
    quantizer: FixedPoint
    masks: tuple[Mask, ...]

    def codes(self) -> Tensor:
        """Signed integer codes, int32, in the parameter's shape; 0 where pruned, whatever the optimizer does there."""
        codes = self.quantizer.codes(self.original)
        for mask in self.masks:
            codes = codes * mask.mask.to(torch.int32)
        return codes


def quantized_tensors(model: nn.Module) -> Iterator[QuantizedTensor]:
    """Every quantized weight and bias of ``model``, in the order of its modules."""
    for module_name, module in model.named_modules():
        if not parametrize.is_parametrized(module):
            continue
        parametrizations = cast(nn.ModuleDict, module.parametrizations)
        for parameter, chain in parametrizations.items():
            quantizer = next((p for p in cast(nn.ModuleList, chain) if isinstance(p, FixedPoint)), None)
            if quantizer is not None:
                name = f"{module_name}.{parameter}" if module_name else parameter
                masks = tuple(p for p in cast(nn.ModuleList, chain) if isinstance(p, Mask))
                yield QuantizedTensor(name, module, cast(nn.Parameter, chain.original), quantizer, masks)


def check_headroom(headroom: int, bits: int) -> None:
    """Raise unless a word of ``bits`` bits can leave ``headroom`` of them 0."""
    if not 0 <= headroom < bits:
        raise BitsliceError(f"headroom in words of {bits} bits lies between 0 and {bits - 1}, not {headroom}")


def leave_headroom(model: nn.Module, bits: int) -> None:
    """Leave the highest ``bits`` bits of every quantized weight 0, in place: its step is 2^bits times as coarse.

    Dynamic fixed point makes a tensor's largest weight fill the word. Sums on bitlines follow codes, so a coarser step
    makes them smaller, at the price of precision. Biases stay as they are: they never meet an ADC.

    Args:
        model: a quantized model; in training mode its steps go on following the weights, with this headroom.
        bits: in place of whatever headroom there was.

    >>> layer = nn.Linear(2, 1)
    >>> layer.weight.data = torch.tensor([[0.9, 0.1]])
    >>> model = quantize(nn.Sequential(layer))
    >>> leave_headroom(model, 2)
    >>> next(quantized_tensors(model)).codes().tolist()  # 230 and 26 without headroom
    [[58, 6]]

    Raises:
        BitsliceError: if the model has no quantized weight, or a word has no bit left.
    """
    weights = [tensor for tensor in quantized_tensors(model) if tensor.name.rpartition(".")[2] == "weight"]
    if not weights:
        raise BitsliceError("headroom needs a quantized model: call bitslice.quantize(model) first")
    for tensor in weights:
        quantizer = tensor.quantizer
        check_headroom(bits, quantizer.bits)
        quantizer.step = quantizer.step * 2.0 ** (bits - quantizer.headroom)
        quantizer.headroom = bits


def prune(model: nn.Module, threshold: float) -> float:
    """Set every quantized parameter below ``threshold`` in magnitude to zero, for good.

    One absolute threshold for all layers, biases included, as in the authors' code; theirs prunes batch norm too.

    Args:
        threshold: in units of the full-precision weights.

    Returns:
        The share of quantized parameters pruned, 0 to 1.

    Raises:
        BitsliceError: if the model has no quantized parameter.
    """
    tensors = list(quantized_tensors(model))
    if not tensors:
        raise BitsliceError("prune needs a quantized model: call bitslice.quantize(model) first")
    pruned = total = 0
    for tensor in tensors:
        with torch.no_grad():
            keep = tensor.original.abs() >= threshold
            tensor.original.mul_(keep)
        parameter = tensor.name.rpartition(".")[2]
        parametrize.register_parametrization(tensor.layer, parameter, Mask(keep.to(tensor.original.dtype)))
        pruned += int((~keep).sum())
        total += keep.numel()
    return pruned / total
