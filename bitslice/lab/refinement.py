"""ADC levels by what they do to the loss itself: where those of least error end, these begin."""

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

from bitslice.crossbar import Adc, CrossbarLayer, LayerAdcs, MappedLayer, deploy, images_at_a_time
from bitslice.crossbar.adc import AdcBits, adcs_of
from bitslice.crossbar.levels import candidates
from bitslice.crossbar.simulation import Simulation

PASSES = 3
"""How often all slices are gone through, at most."""


def near(adc: Adc, largest: int) -> list[Adc]:
    """The other candidates whose step and threshold are at most twice those of ``adc``, and at least half of them.

    >>> [(other.step, other.first) for other in near(Adc(3, 2), 28)]
    [(1, 1), (2, 2), (4, 1), (4, 2)]
    """
    if adc.bits is None:
        return []

    def within(mine: int, other: int) -> bool:
        return mine <= 2 * other <= 4 * mine

    return [
        other
        for other in candidates(adc.bits, largest)
        if other != adc and within(adc.step, other.step) and within(adc.first, other.first)
    ]


@torch.no_grad()
def refine_adcs(
    model: nn.Module,
    layers: list[MappedLayer],
    adc_bits: AdcBits | Mapping[str, AdcBits],
    images: Tensor,
    target: Tensor,
) -> LayerAdcs:
    """Levels that lower the cross-entropy of a classifier: slice after slice the best of those :func:`near` the present
    ones, until none is better (coordinate descent), or after ``PASSES``.

    What steps learned by gradient are elsewhere (Esser et al. 2020); steps that are powers of two have none, but few
    neighbours. The weights stay.

    Args:
        model: a quantized network in evaluation mode, whose output is logits.
        layers: what :func:`bitslice.crossbar.map_network` made of it.
        adc_bits: ADCs to begin with, as :func:`bitslice.crossbar.deploy` takes them.
        images: training inputs, float ``(images, ...)``.
        target: their classes, int64 ``(images,)``, or probabilities ``(images, classes)``.

    Returns:
        ADCs by layer.
    """
    converters = {layer.name: adcs_of(layer.name, adc_bits, layer.slices) for layer in layers}
    deployed = deploy(model, layers, LayerAdcs(converters))
    size = min(1000, images_at_a_time(layers))
    batches = list(zip(images.split(size), target.split(size), strict=True))

    def loss() -> float:
        return sum(nn.functional.cross_entropy(deployed(x), y, reduction="sum").item() for x, y in batches)

    least = loss()
    for _ in range(PASSES):
        before = least
        for layer in layers:
            own = cast(CrossbarLayer, deployed.get_submodule(layer.name))
            largest = layer.bounds.amax(dim=(0, 1, 2, 4)).tolist()
            for k in range(layer.slices):
                start = converters[layer.name]
                for adc in near(start[k], largest[k]):
                    tried = (*start[:k], adc, *start[k + 1 :])
                    own.simulation = Simulation(layer, tried)
                    if (found := loss()) < least:
                        least, converters[layer.name] = found, tried
                own.simulation = Simulation(layer, converters[layer.name])
        if least == before:
            break
    return LayerAdcs(converters)
