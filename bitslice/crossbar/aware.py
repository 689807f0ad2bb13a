"""Training through small ADCs: the forward pass gives what the crossbars give, clipped sums included.

The paper's networks never meet the ADCs that they are meant for until they are deployed. Here they train with them; of
which gradient the backward pass takes, see :class:`AdcGradient`.
"""

import enum
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from bitslice.crossbar import kernel
from bitslice.crossbar.adc import Adc, AdcBits, adcs_of
from bitslice.crossbar.drive import digits, phases, word_type
from bitslice.crossbar.geometry import Crossbar, RowOrder, SignedInputs
from bitslice.crossbar.layout import layout_of
from bitslice.crossbar.mapping import hooked, input_of, layer_name, map_layer, observed, stored_weights
from bitslice.crossbar.network import CrossbarLayer
from bitslice.crossbar.stacked import int_product
from bitslice.crossbar.unfold import Unfold
from bitslice.errors import BitsliceError
from bitslice.fixed_point import FixedPoint
from bitslice.quantizer import QuantizedTensor
from bitslice.slices import cell_levels


class AdcGradient(enum.Enum):
    """What the backward pass makes of ADCs. Their own derivative is 0 or 1: where all clip, nothing is learned."""

    STRAIGHT_THROUGH = "straight_through"
    """As if no ADC clipped: the gradient is that of the exact product. It serves where batch normalization brings
    outputs back to their scale."""
    SHARE = "share"
    """An array counts as its exact product times a constant, the share of it that its ADCs let through:

        y = sum over arrays a of  g_a * (x_a @ w_a),      g_a = converted / exact, of each vector and output

    so an output of which an array clips half feels that array's inputs and weights half as much."""
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


Transfer = Callable[[Tensor], Tensor]
"""What an ADC makes of bitline sums, as :meth:`bitslice.crossbar.Adc.convert`."""


@dataclass(frozen=True)
class Matrix:
    """One matrix on arrays, whose rows are in the order of their wordlines.

    Attributes:
        crossbar: geometry; its arrays hold consecutive rows.
        adcs: of every slice, B0 first.
        bits: magnitude bits of a weight.
        input_bits: magnitude bits of an input.
        gradient: of the backward pass, by arrays.
    """

    crossbar: Crossbar
    adcs: tuple[Adc, ...]
    bits: int
    input_bits: int
    gradient: AdcGradient

    def converted(self, words: Tensor, codes: Tensor) -> Tensor:
        """What every array gives, those of negative weights times -1: float32 ``(tiles, outputs, 2 signs, vectors)``.

        Args:
            words: non-negative input codes, int32 ``(rows of the matrix, vectors)``.
            codes: signed weights, int32 ``(rows of the matrix, outputs)``.
        """
        if not kernel.applies(codes, self.adcs):
            return self.added(words, codes, [adc.convert for adc in self.adcs])
        tiles = len(self.crossbar.tiles(len(codes)))
        every = torch.ones(tiles, 2, len(self.adcs), codes.shape[1], dtype=torch.bool)
        counters = kernel.Counters(codes, every, self.adcs, self.crossbar, self.bits).apart()
        result = torch.zeros(1, counters.outputs, 1, words.shape[1], dtype=torch.int32)
        counters.add(result, words.to(word_type(self.input_bits))[None, :, None], Unfold(), self.input_bits)
        return result.view(codes.shape[1], tiles, 2, words.shape[1]).transpose(0, 1).float()

    def felt(self, words: Tensor, codes: Tensor, converted: Tensor) -> Tensor:
        """What the gradient takes arrays to give, as :meth:`converted`."""
        if self.gradient is AdcGradient.SHARE:
            return converted
        return self.added(words, codes, [partial(_sloped, adc) for adc in self.adcs])

    def added(self, words: Tensor, codes: Tensor, transfers: Sequence[Transfer]) -> Tensor:
        """What becomes of the sums, shifted and added, as :meth:`converted`; of integers exact below 2^24."""
        crossbar, arrays = self.crossbar, []
        driven, cells = digits(words.T, crossbar, self.input_bits), cell_levels(codes, self.bits, crossbar.cell_bits)
        weights = 2.0 ** (crossbar.dac_bits * torch.arange(len(driven), device=words.device))
        for tile in crossbar.tiles(len(codes)):
            total = torch.zeros((), device=words.device)
            for k, transfer in enumerate(transfers):
                sums = int_product(driven[:, :, tile].flatten(0, 1), cells[:, k, tile].transpose(0, 1).flatten(1))
                given = transfer(sums).float().unflatten(0, (len(driven), -1))
                total = total + torch.tensordot(weights * 2.0 ** (crossbar.cell_bits * k), given, 1)
            arrays.append(total.T.unflatten(0, (2, -1)))
        positive, negative = torch.stack(arrays).unbind(1)
        return torch.stack([positive, -negative], 2)


def _sloped(adc: Adc, sums: Tensor) -> Tensor:
    return sums * slope(adc, sums)


def _by_tiles(rows: Tensor, size: int) -> Tensor:
    """``(rows of a matrix, others)`` as ``(tiles, size, others)``; the last tile is filled with zeros."""
    return cast(Tensor, nn.functional.pad(rows, (0, 0, 0, -len(rows) % size)).unflatten(0, (-1, size)))


class _Arrays(torch.autograd.Function):
    """Product of input vectors and one matrix, in codes, through arrays with ADCs; the gradient as the module says."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor, matrix: Matrix) -> Tensor:
        """``(vectors, outputs)`` of ``(vectors, rows)`` and ``(rows, outputs)``."""
        ctx.rows, ctx.signed, ctx.parts = matrix.crossbar.rows, bool((x < 0).any()), []
        codes, result = w.to(torch.int32), x.new_zeros(w.shape[1], len(x))
        weights = _by_tiles(w, ctx.rows)
        ctx.save_for_backward(x, weights, sides := torch.stack([weights.clamp_min(0), weights.clamp_max(0)], 3))
        for phase, words, _ in phases(x.T.to(torch.int32), matrix.crossbar, matrix.input_bits, ctx.signed):
            given = matrix.converted(words, codes)
            exact = (sides.flatten(2).transpose(1, 2) @ _by_tiles(words.to(x.dtype), ctx.rows)).view_as(given)
            ctx.parts.append((phase, torch.where(exact == 0, 1, matrix.felt(words, codes, given) / exact)))
            result.add_(given.sum((0, 2)), alpha=phase)
        return result.T

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        x, weights, sides = ctx.saved_tensors
        inputs = _by_tiles(x.T, ctx.rows)
        x_gradient, w_gradient = torch.zeros_like(inputs), torch.zeros_like(sides)
        for phase, gain in ctx.parts:
            felt = (gain * gradients[0].T[:, None]).flatten(1, 2)  # (tiles, outputs and signs, vectors)
            part, product = inputs, sides.flatten(2) @ felt
            if ctx.signed:  # An input of 0 may become positive or negative: it feels the mean.
                part, product = inputs * (inputs * phase > 0), product * (torch.sign(inputs * phase) + 1) / 2
            x_gradient += product
            w_gradient += (part @ felt.transpose(1, 2)).view_as(sides)
        positive, negative = w_gradient.unbind(3)
        of_zero = (positive + negative) / 2  # A weight of 0, likewise.
        w_gradient = torch.where(weights > 0, positive, torch.where(weights < 0, negative, of_zero))
        rows = x.shape[1]
        return x_gradient.flatten(0, 1)[:rows].T, w_gradient.flatten(0, 1)[:rows], None


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
    order = torch.cat(tiles).to(x.device)
    dealt = replace(crossbar, rows=len(tiles[0]), row_order=RowOrder.CONSECUTIVE)
    matrix = Matrix(dealt, converters, tensor.quantizer.bits, input_quantizer.bits, gradient)
    products = [
        cast(Tensor, _Arrays.apply(v[:, order], w[order], matrix))  # type: ignore[no-untyped-call]
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

    def convert(
        tensor: QuantizedTensor, adcs: tuple[Adc, ...], _: Any, inputs: Any, named: Any, output: Tensor
    ) -> Tensor:
        with torch.autocast(output.device.type, enabled=False):
            if gradient is not AdcGradient.STRAIGHT_THROUGH and output.numel():
                return _product(tensor, input_of(inputs, named), crossbar, adcs, gradient)
            x = input_of(inputs, named).detach().float()
            mapped = observed(map_layer(tensor, crossbar), [x])
            given = CrossbarLayer(tensor.layer, mapped, adcs).product(x)
            return cast(Tensor, _StraightThrough.apply(output.float(), given))  # type: ignore[no-untyped-call]

    hooks = {}
    for tensor in stored_weights(model, crossbar):
        converters = adcs_of(layer_name(tensor), adc_bits, tensor.quantizer.bits // crossbar.cell_bits)
        hooks[tensor.layer] = partial(convert, tensor, converters)
    with hooked(hooks):
        yield
