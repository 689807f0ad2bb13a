"""Which layers of a network hold its set cells."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from bitslice.lab.records import Record


@dataclass(frozen=True)
class Layer:
    """One weight tensor of a network.

    Attributes:
        name: as in the network.
        size: number of weights.
        density: percent non-zero per slice: B3, B2, B1, B0; mean over seeds.
    """

    name: str
    size: int
    density: tuple[float, ...]

    @property
    def mean_density(self) -> float:
        """Mean of the slices, percent."""
        return statistics.fmean(self.density)

    @property
    def cells(self) -> float:
        """Set cells over all slices, mean over seeds."""
        return self.size * sum(self.density) / 100


def layers(records: Sequence[Record]) -> list[Layer]:
    """Weight tensors of equal runs, first layer first; biases are left out."""
    found = []
    for name, shown in records[0].final["layers"].items():
        if name.endswith("weight"):
            columns = zip(*(record.final["layers"][name]["density"] for record in records), strict=True)
            found.append(Layer(name, shown["size"], tuple(map(statistics.fmean, columns))))
    return found


def layers_finding(pruned: Sequence[Layer], variant: Sequence[Layer], name: str) -> str:
    """Which layers are dense, and which gave most of the cells that were emptied after pruning, in a few sentences.

    Args:
        pruned: layers of the pruned networks.
        variant: layers of the networks that are compared with them.
        name: of the method of ``variant``.
    """
    size, cells = sum(layer.size for layer in variant), sum(layer.cells for layer in variant)
    dense, sparse = (pick(variant, key=lambda layer: layer.mean_density) for pick in (max, min))
    above = [layer for layer in variant if layer.cells / layer.size > cells / size]
    text = (
        f"With {name}, densities range from {sparse.mean_density:.1f}% (`{sparse.name}`) to {dense.mean_density:.1f}% "
        f"(`{dense.name}`). The layers denser than the network as a whole hold "
        f"{100 * sum(layer.size for layer in above) / size:.0f}% of the weights and "
        f"{100 * sum(layer.cells for layer in above) / cells:.0f}% of the set cells."
    )
    lost = [before.cells - after.cells for before, after in zip(pruned, variant, strict=True)]
    if sum(lost) <= 0:
        return f"{text} It leaves no fewer cells set than pruning alone."
    most, given = max(zip(variant, lost, strict=True), key=lambda pair: pair[1])
    return (
        f"{text} It empties {100 * sum(lost) / (sum(lost) + cells):.0f}% of the cells that pruning alone leaves set; "
        f"{100 * given / sum(lost):.0f}% of these were in `{most.name}`, "
        f"which holds {100 * most.size / size:.0f}% of the weights."
    )
