"""Energy, latency and area of the ADCs of a whole network, from conversions counted on its mapping.

Every crossbar array has one ADC, which converts the array's used columns one after another, as in ISAAC. Only ADCs are
counted: no DACs, arrays, shift-and-add, buffers or wires, and a cycle lasts no longer than its conversions.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bitslice.costs.models import AbsoluteAdc
from bitslice.errors import BitsliceError


@dataclass(frozen=True)
class LayerLoad:
    """What one mapped layer asks of its ADCs for one image. Slices in order B0 first.

    Attributes:
        name: the layer's.
        vectors: input vectors an image: output positions of a convolution, 1 for a fully connected layer.
        cycles: input cycles a vector: digits times phases.
        columns: used columns of the widest array, the conversions that its ADC makes each cycle.
        arrays: crossbar arrays per slice, over tiles, signs and column blocks.
        conversions: conversions an image per slice, over all arrays: ``vectors * cycles`` times their used columns.
    """

    name: str
    vectors: int
    cycles: int
    columns: int
    arrays: tuple[int, ...]
    conversions: tuple[int, ...]


@dataclass(frozen=True)
class LayerCost:
    """What the ADCs of one layer cost. Slices in order B0 first.

    Attributes:
        name: the layer's.
        energy: J an image, per slice.
        latency: s an image.
        area: mm2 per slice; None if the ADC model gives no area.
    """

    name: str
    energy: tuple[float, ...]
    latency: float
    area: tuple[float, ...] | None


@dataclass(frozen=True)
class NetworkCost:
    """What the ADCs of a network cost, layer by layer."""

    layers: tuple[LayerCost, ...]

    @property
    def energy(self) -> float:
        """J an image."""
        return sum(sum(layer.energy) for layer in self.layers)

    @property
    def latency(self) -> float:
        """s from an image to its result, layers one after another."""
        return sum(layer.latency for layer in self.layers)

    @property
    def interval(self) -> float:
        """s between results where the layers form a pipeline, each at work on another image: the slowest layer's."""
        return max((layer.latency for layer in self.layers), default=0.0)

    @property
    def area(self) -> float | None:
        """mm2 of all ADCs; None if the ADC model gives no area."""
        areas = [sum(layer.area) for layer in self.layers if layer.area is not None]
        return sum(areas) if len(areas) == len(self.layers) else None


def network_cost(
    loads: Iterable[LayerLoad], bits: Sequence[int] | Mapping[str, Sequence[int]], adc: AbsoluteAdc
) -> NetworkCost:
    """Cost of a network whose slices are read by ADCs of these resolutions.

    Slices are converted side by side, so the slowest of them sets a layer's latency.

    Args:
        loads: one a layer.
        bits: ADC resolution per slice, B0 first; or that of each layer, by its name. A slice of 0 bits holds no set
            cell: it has no ADC, costs nothing and is never waited for.
        adc: cost model.

    >>> from bitslice.costs.designs import ISAAC, anchored
    >>> from bitslice.costs.models import COMPONENTS
    >>> load = LayerLoad("fc", vectors=1, cycles=8, columns=10, arrays=(2, 2), conversions=(160, 160))
    >>> cost = network_cost([load], (8, 0), anchored(COMPONENTS, ISAAC))
    >>> f"{1e12 * cost.energy:.0f} pJ, {1e9 * cost.latency:.1f} ns, {cost.area} mm2"
    '267 pJ, 66.7 ns, 0.0024 mm2'

    Raises:
        BitsliceError: if a layer has another number of slices, or a resolution is outside the model's range.
    """
    layers = []
    for load in loads:
        own = bits[load.name] if isinstance(bits, Mapping) else bits
        if not len(own) == len(load.arrays) == len(load.conversions):
            raise BitsliceError(f"layer {load.name} has {len(load.conversions)} slices, but {len(own)} ADCs are given")
        times = [adc.time(b) if b else 0.0 for b in own]
        energies = [adc.energy(b) if b else 0.0 for b in own]
        areas = [area for area in (adc.area(b) if b else 0.0 for b in own) if area is not None]
        energy = tuple(count * each for count, each in zip(load.conversions, energies, strict=True))
        latency = load.vectors * load.cycles * load.columns * max(times)
        known = len(areas) == len(own)
        area = tuple(1e-6 * count * each for count, each in zip(load.arrays, areas, strict=True)) if known else None
        layers.append(LayerCost(load.name, energy, latency, area))
    return NetworkCost(tuple(layers))
