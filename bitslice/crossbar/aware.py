"""Training through small ADCs: the forward pass gives what the crossbars give, clipped sums included.

The paper clips nothing while it trains, so its networks learn nothing of the ADCs they are to meet. Here they do. In the
backward pass each array counts as the exact product times a constant, the share of it that its ADCs let through::

    y = sum over arrays a of  g_a * (x_a @ w_a),      g_a = converted / exact, of each vector and output

so that an output whose array clips half its sum feels its inputs and weights half as much. (The derivative of clipping is
0 for a clipped sum and 1 for any other: with it a network that clips everywhere learns nothing.)
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn

from bitslice.crossbar.geometry import Adc, AdcBits, Crossbar, SignedInputs, adcs
from bitslice.crossbar.mapping import check_fits, layer_name, unfold_of
from bitslice.crossbar.reference import digits, phases
from bitslice.crossbar.stacked import int_product
from bitslice.errors import BitsliceError
from bitslice.quantizer import FixedPoint, QuantizedTensor, quantized_tensors
from bitslice.slices import cell_levels


def converted(words: Tensor, cells: Tensor, crossbar: Crossbar, converters: tuple[Adc, ...], bits: int) -> Tensor:
    """What the ADCs of one tile's arrays of one sign give, shifted and added: float32 ``(vectors, outputs)``.

    Args:
        words: non-negative input codes, int32 ``(vectors, rows)``.
        cells: levels, uint8 ``(slices, rows, outputs)``.
        crossbar: geometry.
        converters: ADCs of every slice, B0 first.
        bits: of an input word.
    """
    driven = digits(words, crossbar, bits)
    sums = int_product(driven.flatten(0, 1), cells.transpose(0, 1).flatten(1)).unflatten(1, (len(cells), -1))
    place = 2.0 ** (crossbar.cell_bits * torch.arange(len(cells), device=sums.device))
    total = sum(adc.convert(sums[:, k]).float() * place[k] for k, adc in enumerate(converters))
    cycle = 2.0 ** (crossbar.dac_bits * torch.arange(len(driven), device=sums.device))
    return torch.tensordot(cycle, cast(Tensor, total).unflatten(0, (len(driven), -1)), 1)


class _Arrays(torch.autograd.Function):
    """Product of input vectors and one matrix, in codes, through arrays with ADCs; the gradient as the module says."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, w: Tensor, crossbar: Crossbar, converters: tuple[Adc, ...], bits: int, input_bits: int
    ) -> Tensor:
        cells = cell_levels(w.to(torch.int32), bits, crossbar.cell_bits)
        result = x.new_zeros(len(x), w.shape[1])
        ctx.parts, ctx.signed = [], bool((x < 0).any())
        for tile in crossbar.tiles(len(w)):
            for phase, words, _ in phases(x[:, tile].to(torch.int32), crossbar, input_bits, ctx.signed):
                for sign, levels in zip((1, -1), cells[:, :, tile], strict=True):
                    given = converted(words, levels, crossbar, converters, input_bits)
                    exact = words.to(x.dtype) @ (sign * w[tile]).clamp_min(0)
                    result.add_(given, alpha=phase * sign)
                    ctx.parts.append((tile, phase, sign, torch.where(exact > 0, given / exact, 1)))
        ctx.save_for_backward(x, w)
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, w = ctx.saved_tensors
        x_gradient, w_gradient = torch.zeros_like(x), torch.zeros_like(w)
        for tile, phase, sign, gain in ctx.parts:
            felt, part, side = gradients[0] * gain, x[:, tile], w[tile]
            # A weight of 0 may become positive or negative, an input of 0 likewise if inputs can: it feels the mean.
            of_sign = (side * sign > 0) + 0.5 * (side == 0)
            of_phase = (part * phase > 0) + (0.5 if ctx.signed else 1.0) * (part == 0)
            x_gradient[:, tile] += felt @ (side * (side * sign > 0)).T * of_phase
            w_gradient[tile] += (part * (part * phase > 0)).T @ felt * of_sign
        return x_gradient, w_gradient, None, None, None, None


def _product(tensor: QuantizedTensor, x: Tensor, crossbar: Crossbar, converters: tuple[Adc, ...]) -> Tensor:
    """Output of the layer that holds ``tensor`` for its quantized input ``x``, through the ADCs."""
    layer, unfold = tensor.layer, unfold_of(tensor.layer, layer_name(tensor))
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
    products = [
        cast(Tensor, _Arrays.apply(v, w, crossbar, converters, tensor.quantizer.bits, input_quantizer.bits))  # type: ignore[no-untyped-call]
        for v, w in zip(vectors.chunk(groups, 1), matrices.chunk(groups, 1), strict=True)
    ]
    result = torch.cat(products, dim=1) * scale
    result = result if bias is None else result + bias
    if unfold is None:
        return result.unflatten(0, x.shape[:-1])
    return result.unflatten(0, (len(x), -1)).transpose(1, 2).unflatten(2, unfold.output_size(*x.shape[2:]))


@contextmanager
def through_adcs(model: nn.Module, adc_bits: AdcBits, crossbar: Crossbar | None = None) -> Iterator[None]:
    """While open, every quantized layer of ``model`` gives what its crossbars give; in evaluation mode bit for bit.

    Args:
        model: a quantized network, in either mode.
        adc_bits: ADC resolution of every slice, B0 first; one number for all; None for ideal ADCs.
        crossbar: geometry; None: the defaults.

    Raises:
        BitsliceError: as :func:`bitslice.crossbar.map_network`; if there are not as many ADCs as slices; for signed
            inputs by offset, whose product is not one of inputs and weights alone.
    """
    crossbar = crossbar or Crossbar()
    if crossbar.signed_inputs is SignedInputs.OFFSET:
        raise BitsliceError("training through ADCs takes signed inputs in two phases, not by offset")
    weights = [t for t in quantized_tensors(model) if t.name.rpartition(".")[2] == "weight"]
    if not weights:
        raise BitsliceError("a crossbar needs a quantized network: call bitslice.quantize(model) first")
    handles = []
    for tensor in weights:
        check_fits(tensor, crossbar)
        converters = adcs(adc_bits, tensor.quantizer.bits // crossbar.cell_bits)

        def replace(
            module: nn.Module,
            inputs: tuple[Tensor, ...],
            output: Tensor,
            tensor: QuantizedTensor = tensor,
            converters: tuple[Adc, ...] = converters,
        ) -> Tensor:
            with torch.autocast(output.device.type, enabled=False):
                return _product(tensor, inputs[0], crossbar, converters)

        handles.append(tensor.layer.register_forward_hook(replace))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
