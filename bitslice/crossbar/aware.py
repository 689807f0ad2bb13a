"""Training through small ADCs: the forward pass gives what the crossbars give, clipped sums included.

The paper's networks never meet the ADCs that they are meant for until they are deployed. Here they train with them; of
which gradient the backward pass takes, see :class:`AdcGradient`.
"""

import enum
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn

from bitslice.crossbar.adc import Adc, AdcBits, adcs_of
from bitslice.crossbar.drive import digits, phases
from bitslice.crossbar.geometry import Crossbar, SignedInputs
from bitslice.crossbar.layout import layout_of
from bitslice.crossbar.mapping import input_of, layer_name, map_layer, observed, stored_weights
from bitslice.crossbar.network import CrossbarLayer
from bitslice.crossbar.stacked import int_product
from bitslice.errors import BitsliceError
from bitslice.fixed_point import FixedPoint
from bitslice.quantizer import QuantizedTensor
from bitslice.slices import cell_levels


class AdcGradient(enum.Enum):
    """What the backward pass makes of ADCs. Their own derivative is 0 or 1: where all clip, nothing is learned."""

    STRAIGHT_THROUGH = "straight_through"
    """As if no ADC clipped: the gradient is that of the exact product. A step costs about two without ADCs. It serves
    where batch normalization brings outputs back to their scale."""
    SHARE = "share"
    """An array counts as its exact product times a constant, the share of it that its ADCs let through:

        y = sum over arrays a of  g_a * (x_a @ w_a),      g_a = converted / exact, of each vector and output

    so an output of which an array clips half feels that array's inputs and weights half as much. Every array's product
    is computed by itself, which takes many times as long."""
    GAUSSIAN = "gaussian"
    """As the share, but of what a small change would become: every sum counts times a :func:`slope` that is a Gaussian
    around each threshold (as of BNN-IGA's 1-bit ADCs), so that sums far beyond an ADC's range are not felt at all:

        g_a = sum of the array's sums, each times its slope / the same without slopes"""


class _StraightThrough(torch.autograd.Function):
    """``given`` in the forward pass, the gradient of ``exact`` in the backward pass."""

    @staticmethod
    def forward(ctx: Any, exact: Tensor, given: Tensor) -> Tensor:
        return torch.empty_like(exact, dtype=given.dtype).copy_(given)  # as the exact product lies in memory

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


def slope(adc: Adc, sums: Tensor) -> Tensor:
    """Derivative of an ADC's transfer function, each of its steps a Gaussian of half a step's deviation around its
    threshold: about 1 between the outermost thresholds, falling to 0 beyond; 1 if ideal.

    Args:
        adc: the converter.
        sums: bitline sums, integers of any shape; the result is float32 of the same.
    """
    if adc.bits is None:
        return torch.ones_like(sums, dtype=torch.float32)
    levels = torch.arange(int(sums.max()) + 3, device=sums.device)  # thresholds more than two steps away are not felt
    thresholds = levels[: 2**adc.bits - 1] * adc.step + adc.first
    away = (levels[:, None] - thresholds) / (adc.step / 2)
    return (2 * torch.exp(-away.square() / 2).sum(1) / math.sqrt(2 * math.pi))[sums]


def added(
    words: Tensor, cells: Tensor, crossbar: Crossbar, transfers: Sequence[Callable[[Tensor], Tensor]], bits: int
) -> Tensor:
    """What becomes of the sums of one tile, shifted and added: float32 ``(2 signs, vectors, outputs)``; of integers
    exact below 2^24.

    Args:
        words: non-negative input codes, int32 ``(vectors, rows)``.
        cells: levels, uint8 ``(2 signs, slices, rows, outputs)``.
        crossbar: geometry.
        transfers: what a slice's sums become, B0 first, as :meth:`bitslice.crossbar.Adc.convert`.
        bits: of an input word.
    """
    driven = digits(words, crossbar, bits)
    weights = 2.0 ** (crossbar.dac_bits * torch.arange(len(driven), device=words.device))
    total = torch.zeros((), device=words.device)
    for k, transfer in enumerate(transfers):
        sums = int_product(driven.flatten(0, 1), cells[:, k].transpose(0, 1).flatten(1))
        codes = transfer(sums).float().unflatten(0, (len(driven), -1))
        total = total + torch.tensordot(weights * 2.0 ** (crossbar.cell_bits * k), codes, 1)
    return cast(Tensor, total.unflatten(1, (2, -1)).transpose(0, 1))


class _Arrays(torch.autograd.Function):
    """Product of input vectors and one matrix, in codes, through arrays with ADCs; the gradient as the module says."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        w: Tensor,
        rows: int,
        crossbar: Crossbar,
        adcs: tuple[Adc, ...],
        bits: int,
        input_bits: int,
        gradient: AdcGradient,
    ) -> Tensor:
        converted = [adc.convert for adc in adcs]
        sloped = [lambda sums, adc=adc: sums * slope(adc, sums) for adc in adcs]
        result = x.new_zeros(len(x), w.shape[1])
        ctx.parts, ctx.rows, ctx.signed = [], rows, bool((x < 0).any())
        for first in range(0, len(w), rows):
            part, side = x[:, first : first + rows], w[first : first + rows]
            cells = cell_levels(side.to(torch.int32), bits, crossbar.cell_bits)
            for phase, words, _ in phases(part.to(torch.int32), crossbar, input_bits, ctx.signed):
                arrays = added(words, cells, crossbar, converted, input_bits)
                share = gradient is AdcGradient.SHARE
                let_through = arrays if share else added(words, cells, crossbar, sloped, input_bits)
                for sign, given, felt in zip((1, -1), arrays, let_through, strict=True):
                    exact = words.to(x.dtype) @ (sign * side).clamp_min(0)
                    result.add_(given, alpha=phase * sign)
                    ctx.parts.append((first, phase, sign, torch.where(exact > 0, felt / exact, 1)))
        ctx.save_for_backward(x, w)
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, w = ctx.saved_tensors
        x_gradient, w_gradient = torch.zeros_like(x), torch.zeros_like(w)
        for first, phase, sign, gain in ctx.parts:
            felt, tile = gradients[0] * gain, slice(first, first + ctx.rows)
            part, side = x[:, tile], w[tile]
            # A weight of 0 may become positive or negative, an input of 0 likewise if inputs can: it feels the mean.
            of_sign = (side * sign > 0) + 0.5 * (side == 0)
            of_phase = (part * phase > 0) + (0.5 if ctx.signed else 1.0) * (part == 0)
            x_gradient[:, tile] += felt @ (side * (side * sign > 0)).T * of_phase
            w_gradient[tile] += (part * (part * phase > 0)).T @ felt * of_sign
        return x_gradient, w_gradient, *(None,) * 6


def _product(
    tensor: QuantizedTensor, x: Tensor, crossbar: Crossbar, converters: tuple[Adc, ...], gradient: AdcGradient
) -> Tensor:
    """Output of the layer that holds ``tensor`` for its quantized input ``x``, through the ADCs."""
    layer, layout = tensor.layer, layout_of(tensor.layer)
    unfold = layout.unfold
    if layout.dimensions not in (0, 2) or layout.pad or layout.spread:
        raise BitsliceError(
            f"layer {layer_name(tensor)!r}: the share that an array lets through is known for linear layers and for "
            "convolutions in two dimensions with zero padding; take another gradient"
        )
    input_quantizer = cast(FixedPoint, layer.input_quantizer)
    weight, bias = cast(Tensor, layer.weight), cast(Tensor | None, layer.bias)
    scale = input_quantizer.step * tensor.quantizer.step
    matrices = (weight / tensor.quantizer.step).flatten(1).T
    groups = cast(int, getattr(layer, "groups", 1))
    codes = x.float() / input_quantizer.step
    if unfold is None:
        vectors = codes.flatten(0, -2)
    else:
        geometry = (unfold.kernel, unfold.dilation, unfold.padding, unfold.stride)
        vectors = nn.functional.unfold(codes, *geometry).transpose(1, 2).flatten(0, 1)
    tiles = crossbar.tiles(len(matrices))
    order, widths = torch.cat(tiles).to(x.device), (tensor.quantizer.bits, input_quantizer.bits)
    products = [
        cast(Tensor, _Arrays.apply(v[:, order], w[order], len(tiles[0]), crossbar, converters, *widths, gradient))  # type: ignore[no-untyped-call]
        for v, w in zip(vectors.chunk(groups, 1), matrices.chunk(groups, 1), strict=True)
    ]
    result = torch.cat(products, dim=1) * scale
    result = result if bias is None else result + bias
    if unfold is None:
        return cast(Tensor, result.unflatten(0, x.shape[:-1]))
    images = result.unflatten(0, (len(x), -1)).transpose(1, 2)
    return cast(Tensor, images.unflatten(2, unfold.output_size(*x.shape[2:])))


@contextmanager
def through_adcs(
    model: nn.Module,
    adc_bits: AdcBits | Mapping[str, AdcBits],
    crossbar: Crossbar | None = None,
    gradient: AdcGradient = AdcGradient.STRAIGHT_THROUGH,
) -> Iterator[None]:
    """While open, every quantized layer of ``model`` gives what its crossbars give; in evaluation mode bit for bit.

    Args:
        model: a quantized network, in either mode.
        adc_bits: ADC resolution of every slice, B0 first; one number for all; None for ideal ADCs.
        crossbar: geometry; None: the defaults.
        gradient: of the backward pass.

    Raises:
        BitsliceError: as :func:`bitslice.crossbar.map_network`; if there are not as many ADCs as slices; for
            signed inputs by offset with a gradient by arrays, as an array then sums more than a product.
    """
    crossbar = crossbar or Crossbar()
    if crossbar.signed_inputs is SignedInputs.OFFSET and gradient is not AdcGradient.STRAIGHT_THROUGH:
        raise BitsliceError("the share that an array lets through needs signed inputs in two phases, not by offset")
    handles = []
    for tensor in stored_weights(model, crossbar):
        converters = adcs_of(layer_name(tensor), adc_bits, tensor.quantizer.bits // crossbar.cell_bits)

        def replace(
            module: nn.Module,
            inputs: tuple[Tensor, ...],
            others: dict[str, Tensor],
            output: Tensor,
            tensor: QuantizedTensor = tensor,
            converters: tuple[Adc, ...] = converters,
        ) -> Tensor:
            with torch.autocast(output.device.type, enabled=False):
                if gradient is not AdcGradient.STRAIGHT_THROUGH:
                    return _product(tensor, input_of(inputs, others), crossbar, converters, gradient)
                x = input_of(inputs, others).detach().float()
                mapped = observed(map_layer(tensor, crossbar), [x])
                given = CrossbarLayer(tensor.layer, mapped, converters).product(x)
                return cast(Tensor, _StraightThrough.apply(output.float(), given))  # type: ignore[no-untyped-call]

        handles.append(tensor.layer.register_forward_hook(replace, with_kwargs=True))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
