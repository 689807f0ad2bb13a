"""How many bits every ADC should have, layer by layer and slice by slice, as a few training images show."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bitslice.crossbar.adc import Adc, LayerAdcs, adcs
from bitslice.crossbar.geometry import Crossbar
from bitslice.crossbar.levels import SliceProducts
from bitslice.crossbar.mapped_layer import MappedLayer
from bitslice.crossbar.mapping import layer_name, map_layer, observed, run_layers, stored_weights
from bitslice.crossbar.simulation import Simulation
from bitslice.errors import BitsliceError
from bitslice.quantizer import QuantizedTensor


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


def slice_errors(mapped: MappedLayer, x: Tensor) -> list[list[float]]:
    """What ADCs of 1, 2, ... bits on one slice spoil, each with the best of its levels: the sum of squared errors of
    the layer's product, by that of its squares. The last is the resolution that no input exceeds: it spoils nothing.

    Args:
        mapped: the layer.
        x: the layer's quantized inputs.

    Returns:
        Of every slice, B0 first.
    """
    whole = Simulation(mapped, adcs(None, mapped.slices)).product(x).double().square().sum().item()

    def spoiled(k: int, bits: int) -> float:
        candidates = SliceProducts(mapped, k, Adc(bits))
        least = (candidates.errors @ candidates.products(x)).square().sum(1).min().item()
        return least / whole if whole else 0.0

    largest = mapped.bounds.amax(dim=(0, 1, 2, 4)).tolist()
    return [[*(spoiled(k, bits) for bits in range(1, most.bit_length())), 0.0] for k, most in enumerate(largest)]


@torch.no_grad()
def allocate_adcs(
    model: nn.Module, images: Any, mean_bits: Sequence[float], crossbar: Crossbar | None = None
) -> list[LayerAdcs]:
    """ADC resolutions by layer and slice that need so many bits on average, over all conversions of an image.

    A greedy search from lossless ADCs down: again and again the one loses a bit that adds the least error for the
    comparisons it saves. A slice's error is that of its layer's product under the best levels, relative to the product,
    on the exact network's inputs; errors of slices and layers are taken to add up. Columns without a set cell are not
    converted. Levels are then :func:`bitslice.crossbar.calibrate_adcs`'s to find.

    Args:
        model: a quantized network, in either mode.
        images: training inputs, float ``(images, ...)``; a tuple or dictionary of arguments where it takes several.
        mean_bits: at most so many; a choice for each. Where lossless ADCs need fewer, they are the choice.
        crossbar: geometry; None: the defaults.

    Raises:
        BitsliceError: as :func:`bitslice.crossbar.map_network`; for fewer than 1 bit; if there is no image.

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
    errors: dict[str, list[list[float]]] = {}

    def measure(tensor: QuantizedTensor, x: Tensor) -> None:
        name = layer_name(tensor)
        if x.numel():
            mapped = called[name] = observed(called.get(name) or map_layer(tensor, crossbar), [x])
            if name not in errors:  # of a layer that is called several times, the first call shows them
                errors[name] = slice_errors(mapped, x)

    tensors = stored_weights(model, crossbar)
    run_layers(model, images, tensors, measure)
    slices: dict[str, list[_Slice]] = {}
    for name, tensor in ((layer_name(tensor), tensor) for tensor in tensors):
        if name in called:
            pairs = zip(errors[name], called[name].conversions_of_used().tolist(), strict=True)
            slices[name] = [_Slice(len(own), count, own) for own, count in pairs]
        else:  # one that has no inputs, as an auxiliary head, stays lossless
            bounds = map_layer(tensor, crossbar).bounds.amax(dim=(0, 1, 2, 4)).tolist()
            slices[name] = [_Slice(max(1, bound.bit_length()), 0, []) for bound in bounds]
    every = [each for own in slices.values() for each in own if each.errors]
    if not every:
        raise BitsliceError("the resolutions of ADCs are found on at least one image")
    found: dict[float, LayerAdcs] = {}
    for most in sorted(mean_bits, reverse=True):
        while sum(s.bits * s.conversions for s in every) > most * sum(s.conversions for s in every):
            min((s for s in every if s.bits > 1), key=lambda each: each.price).bits -= 1
        found[most] = LayerAdcs({name: tuple(each.bits for each in own) for name, own in slices.items()})
    return [found[most] for most in mean_bits]
