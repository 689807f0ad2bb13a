"""How many bits every ADC should have, layer by layer and slice by slice, as a few training images show."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bitslice.crossbar.adc import Adc, LayerAdcs
from bitslice.crossbar.geometry import Crossbar
from bitslice.crossbar.levels import SliceProducts
from bitslice.crossbar.mapped_layer import MappedLayer
from bitslice.crossbar.mapping import layer_name, map_layer, observed, run_layers, stored_weights
from bitslice.errors import BitsliceError
from bitslice.quantizer import QuantizedTensor

SIGNS = 4
"""Random signs of a network's outputs under which it is differentiated."""


@dataclass
class _Slice:
    """One slice of a layer: its resolution, what it converts, and what it spoils by resolution, from 1 bit on."""

    bits: int
    conversions: int
    errors: list[float]

    @property
    def price(self) -> float:
        """Error that one bit less adds, by conversion."""
        return (self.errors[self.bits - 2] - self.errors[self.bits - 1]) / max(1, self.conversions)


def slice_errors(mapped: MappedLayer, calls: Sequence[tuple[Tensor, Tensor]]) -> list[list[float]]:
    """What ADCs of 1, 2, ... bits on one slice spoil, each with the best of its levels: the weighted sum of squared
    errors of the layer's products. The last is the resolution that no input exceeds: it spoils nothing.

    Args:
        mapped: the layer.
        calls: of each the quantized inputs, and weights of the product's squared error, in the product's shape.

    Returns:
        Of every slice, B0 first.
    """

    def spoiled(k: int, bits: int) -> float:
        own = SliceProducts(mapped, k, Adc(bits))
        each = [own.errors @ (own.products(x) * weight.flatten().double().sqrt()) for x, weight in calls]
        return torch.cat(each, 1).square().sum(1).min().item()

    largest = mapped.bounds.amax(dim=(0, 1, 2, 4)).tolist()
    return [[*(spoiled(k, bits) for bits in range(1, most.bit_length())), 0.0] for k, most in enumerate(largest)]


def tensors_in(outputs: Any) -> list[Tensor]:
    """The tensors that a network gives: one, or those in sequences and mappings."""
    if isinstance(outputs, Tensor):
        return [outputs]
    parts = outputs.values() if isinstance(outputs, Mapping) else outputs if isinstance(outputs, list | tuple) else ()
    return [tensor for part in parts for tensor in tensors_in(part)]


def sensitivities(outputs: Any, at: Sequence[tuple[str, Tensor]]) -> list[Tensor]:
    """How much an error at each element of ``at`` changes the outputs: the sum of their squared derivatives.

    Estimated from derivatives of sums with random signs, whose products vanish on average (Hutchinson's estimator of
    the diagonal).

    Args:
        outputs: what a network gives.
        at: what they are computed from, each with the name of its layer.

    Raises:
        BitsliceError: if nothing has a gradient, or a layer none that is finite.
    """
    found = [output for output in tensors_in(outputs) if output.requires_grad]
    random = torch.Generator().manual_seed(0)
    squares = [torch.zeros_like(each) for _, each in at]
    for _ in range(SIGNS if found else 0):
        signs = [torch.randint(2, each.shape, generator=random).to(each).mul_(2).sub_(1) for each in found]
        gradients = torch.autograd.grad(found, [x for _, x in at], signs, retain_graph=True, allow_unused=True)
        felt = {name for (name, _), gradient in zip(at, gradients, strict=True) if gradient is not None}
        for (name, _), square, gradient in zip(at, squares, gradients, strict=True):
            if name not in felt or not (gradient is None or gradient.isfinite().all()):
                raise BitsliceError(f"layer {name!r} has no gradient, or one that is not finite: leave it out")
            square += 0 if gradient is None else gradient.square() / SIGNS  # of a call whose result is dropped
    if not any(square.any() for square in squares):
        raise BitsliceError("ADCs are allocated by gradients, and the network's outputs have none")
    return squares


@torch.no_grad()
def allocate_adcs(
    model: nn.Module, images: Any, mean_bits: Sequence[float], crossbar: Crossbar | None = None
) -> list[LayerAdcs]:
    """ADC resolutions by layer and slice that need so many bits on average, over all conversions of an image.

    A greedy search from lossless ADCs down: again and again the one loses a bit that adds the least error for the
    comparisons it saves. A slice's error is that of its layer's product under the best levels, on the exact network's
    inputs, weighted by what it does to the network's outputs, to first order (:func:`sensitivities`); errors are taken
    to add up. Columns without a set cell are not converted. :func:`bitslice.crossbar.calibrate_adcs` finds levels then.

    Args:
        model: a quantized network, in either mode.
        images: training inputs, float ``(images, ...)``; a tuple or dictionary of arguments where it takes several.
        mean_bits: at most so many; a choice for each. Where lossless ADCs need fewer, they are the choice.
        crossbar: geometry; None: the defaults.

    Raises:
        BitsliceError: as :func:`bitslice.crossbar.map_network`; for fewer than 1 bit; if there is no image; if the
            outputs have no gradient, or a layer has none.

    >>> from bitslice import quantize
    >>> model = nn.Linear(64, 8)
    >>> _ = quantize(model)(torch.rand(4, 64))
    >>> [setting] = allocate_adcs(model, torch.rand(4, 64), [1.0])
    >>> setting.of("")
    (1, 1, 1, 1)
    """
    for mean in mean_bits:
        if not mean >= 1:
            raise BitsliceError(f"an ADC has at least 1 bit, so on average they have no {mean:g}")
    crossbar = crossbar or Crossbar()
    called: dict[str, MappedLayer] = {}
    calls: list[tuple[str, Tensor, Tensor]] = []  # of layers: their names, inputs, and zeros added to their outputs

    def probe(tensor: QuantizedTensor, x: Tensor, output: Tensor) -> Tensor | None:
        if not x.numel():
            return None
        name, zeros = layer_name(tensor), torch.zeros_like(output, requires_grad=True)
        called[name] = observed(called.get(name) or map_layer(tensor, crossbar), [x])
        calls.append((name, x.detach(), zeros))
        return output + zeros

    tensors = stored_weights(model, crossbar)
    with torch.inference_mode(False), torch.enable_grad():
        outputs = run_layers(model, images, tensors, probe)
    if not calls:
        raise BitsliceError("the resolutions of ADCs are found on at least one image")
    felt = sensitivities(outputs, [(name, zeros) for name, _, zeros in calls])
    slices: dict[str, list[_Slice]] = {}
    for name, tensor in ((layer_name(tensor), tensor) for tensor in tensors):
        if name in called:
            own_calls = [(x, weight) for (other, x, _), weight in zip(calls, felt, strict=True) if other == name]
            errors = slice_errors(called[name], own_calls)
            pairs = zip(errors, called[name].conversions_of_used().tolist(), strict=True)
            slices[name] = [_Slice(len(own), count, own) for own, count in pairs]
        else:  # one that has no inputs, as an auxiliary head, stays lossless
            bounds = map_layer(tensor, crossbar).bounds.amax(dim=(0, 1, 2, 4)).tolist()
            slices[name] = [_Slice(max(1, bound.bit_length()), 0, []) for bound in bounds]
    every = [each for own in slices.values() for each in own if each.errors]
    found: dict[float, LayerAdcs] = {}
    for most in sorted(mean_bits, reverse=True):
        while sum(s.bits * s.conversions for s in every) > most * sum(s.conversions for s in every):
            min((s for s in every if s.bits > 1), key=lambda each: each.price).bits -= 1
        found[most] = LayerAdcs({name: tuple(each.bits for each in own) for name, own in slices.items()})
    return [found[most] for most in mean_bits]
