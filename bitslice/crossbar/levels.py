"""Where the levels of small ADCs should lie, layer by layer and slice by slice, as a few training images show."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from bitslice.crossbar.adc import Adc, AdcBits, LayerAdcs, adcs, adcs_of
from bitslice.crossbar.division import cells_on
from bitslice.crossbar.geometry import Crossbar
from bitslice.crossbar.mapped_layer import MappedLayer
from bitslice.crossbar.mapping import layer_name, map_layer, observed, run_layers, stored_weights
from bitslice.crossbar.network import CrossbarLayer
from bitslice.crossbar.simulation import Simulation
from bitslice.errors import BitsliceError
from bitslice.quantizer import QuantizedTensor

THRESHOLDS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 40, 48, 64)
"""Where the only threshold of a 1-bit ADC may lie."""

COMBINATIONS = 2**22
"""Most combinations of slices' ADCs that are compared; beyond, each slice keeps only those that serve it best alone."""

PIECE = 2**18
"""Elements of a layer's product that are compared at a time."""


def candidates(bits: int, largest: int) -> list[Adc]:
    """ADCs of ``bits`` to choose from where no sum exceeds ``largest``: every step that is a power of two, and
    thresholds at quarters of it; of 1 bit, every such step and :data:`THRESHOLDS`.

    >>> [(adc.step, adc.first) for adc in candidates(3, 14)]
    [(1, 1), (2, 1), (2, 2)]
    """
    steps = [1]
    while (2**bits - 1) * steps[-1] < largest:
        steps.append(2 * steps[-1])
    if bits == 1:
        return [Adc(1, step, t) for step in steps for t in THRESHOLDS if t <= max(1, largest)]
    return [
        Adc(bits, step, t) for step in steps for t in sorted({max(1, quarter * step // 4) for quarter in (1, 2, 3, 4)})
    ]


class SliceProducts:
    """What one slice of a layer may convert to: products of its cells alone, under each candidate.

    A product is linear in an ADC's step where its code is not: 1-bit ADCs of one threshold share their codes.
    """

    def __init__(self, mapped: MappedLayer, k: int, asked: Adc) -> None:
        chosen = torch.zeros_like(mapped.bounds, dtype=torch.bool)
        chosen[:, :, :, k] = True
        alone = replace(mapped, codes=cells_on(mapped, chosen))
        largest = int(mapped.bounds[:, :, :, k].max())
        self.adcs = candidates(asked.bits, largest) if asked.bits and asked == Adc(asked.bits) else [asked]
        coded = [Adc(1, 1, adc.first) if adc.bits == 1 else adc for adc in self.adcs]
        self.codes = list(dict.fromkeys(coded))
        ideal = adcs(None, mapped.slices)
        self.simulations = [Simulation(alone, (*ideal[:k], adc, *ideal[k + 1 :])) for adc in (Adc(None), *self.codes)]
        #: From products to errors: what each candidate adds to the layer's product.
        self.errors = torch.zeros(len(self.adcs), len(self.simulations), dtype=torch.float64)
        self.errors[:, 0] = -1
        for row, (adc, code) in enumerate(zip(self.adcs, coded, strict=True)):
            self.errors[row, 1 + self.codes.index(code)] += adc.step if adc.bits == 1 else 1

    def products(self, x: Tensor) -> Tensor:
        """Of the exact slice first, then under each code: float64 ``(1 + codes, elements)``."""
        return torch.stack([simulation.product(x).flatten().double() for simulation in self.simulations])


def best(mapped: MappedLayer, asked: tuple[Adc, ...], x: Tensor, seen: dict[str, Tensor]) -> tuple[Adc, ...]:
    """The ADCs under which a layer's products so far depart least from the exact ones, by the sum of squares.

    Errors of slices are not independent: plus and minus arrays, cycles and slices clip together. So all combinations of
    the slices' candidates are compared, by the inner products of what each adds to the product.

    Args:
        mapped: the layer.
        asked: ADCs of every slice, B0 first. One that has a step or a threshold of its own, or is ideal, stays.
        x: the layer's quantized inputs.
        seen: inner products by layer, of what earlier calls added; those of this one are added to them.
    """
    slices = [SliceProducts(mapped, k, adc) for k, adc in enumerate(asked)]
    sizes = [len(each.simulations) for each in slices]
    gram = seen.setdefault(mapped.name, torch.zeros(sum(sizes), sum(sizes), dtype=torch.float64))
    if mapped.layout.unfold is not None and x.dim() < mapped.layout.dimensions + 2:
        x = x[None]  # an image without a batch
    for piece in x.split(max(1, PIECE * len(x) // max(1, mapped.layout.vectors(x) * mapped.groups * mapped.outputs))):
        products = torch.cat([each.products(piece) for each in slices])
        gram += products @ products.T
    inner = [
        [own.errors @ part @ other.errors.T for other, part in zip(slices, row.split(sizes, 1), strict=True)]
        for own, row in zip(slices, gram.split(sizes), strict=True)
    ]
    most = int(COMBINATIONS ** (1 / len(slices)))
    kept = [table[k].diagonal().argsort(stable=True)[:most] for k, table in enumerate(inner)]
    total = torch.zeros((), dtype=torch.float64)
    for k, own in enumerate(kept):
        shape = [1] * len(slices)
        shape[k] = len(own)
        total = total + inner[k][k].diagonal()[own].view(shape)
        for j in range(k):
            shape[j] = len(kept[j])
            total = total + 2 * inner[j][k][kept[j]][:, own].view(shape)
            shape[j] = 1
    found = torch.unravel_index(total.argmin(), total.shape)
    return tuple(each.adcs[int(indices[int(at)])] for each, indices, at in zip(slices, kept, found, strict=True))


@torch.no_grad()
def calibrate_adcs(
    model: nn.Module,
    images: Any,
    adc_bits: AdcBits | Mapping[str, AdcBits],
    crossbar: Crossbar | None = None,
) -> LayerAdcs:
    """Levels of every layer's ADCs, found on a few training inputs: no labels, no gradients, no change of the network.

    Layer after layer, on what the layers before it give with the ADCs found for them, steps and thresholds are chosen
    that keep the converted product closest to the exact one (:func:`best`), over all calls of a layer that is called
    several times. One that has no inputs, as an auxiliary head, keeps what was asked for.

    Args:
        model: a quantized network, in either mode.
        images: training inputs, float ``(images, ...)``; a tuple or dictionary of arguments where it takes several.
        adc_bits: resolution of every slice, B0 first, or those by layer. One with a step or a threshold stays.
        crossbar: geometry; None: the defaults.

    Returns:
        ADCs by layer, for :func:`bitslice.crossbar.deploy` and :func:`bitslice.crossbar.through_adcs`.

    Raises:
        BitsliceError: as :func:`bitslice.crossbar.map_network`; if there are not as many ADCs as slices, or no image.
    """
    crossbar = crossbar or Crossbar()
    tensors = stored_weights(model, crossbar)
    asked = {layer_name(t): adcs_of(layer_name(t), adc_bits, t.quantizer.bits // crossbar.cell_bits) for t in tensors}
    found, seen = dict(asked), dict[str, Tensor]()

    def convert(tensor: QuantizedTensor, x: Tensor, _: Tensor) -> Tensor:
        name, mapped = layer_name(tensor), observed(map_layer(tensor, crossbar), [x])
        if x.numel():
            found[name] = best(mapped, asked[name], x, seen)
        return CrossbarLayer(tensor.layer, mapped, found[name]).product(x)

    run_layers(model, images, tensors, convert)
    if not seen:
        raise BitsliceError("the levels of ADCs are found on at least one image")
    return LayerAdcs(found)
