"""Which simulation a matrix gets: vertical counters where the kernel was built and cells are ideal, else torch."""

from torch import Tensor

from bitslice import native
from bitslice.crossbar.geometry import Adc
from bitslice.crossbar.kernel import Counters
from bitslice.crossbar.mapping import MappedLayer
from bitslice.crossbar.nonideal import Analog, NonIdealities
from bitslice.crossbar.stacked import Stacked


def simulator(
    mapped: MappedLayer, group: int, chosen: Tensor, adcs: tuple[Adc, ...], cells: NonIdealities | None = None
) -> Counters | Stacked:
    """The simulation of one matrix of a layer, the fastest exact one where cells are ideal.

    Args:
        mapped: the layer.
        group: which of its matrices.
        chosen: bitlines to simulate, bool ``(tiles, 2 signs, slices, outputs)``; all, where cells are not ideal.
        adcs: of every slice, B0 first.
        cells: how they depart from the ideal; None: not at all.
    """
    codes = mapped.codes[group]
    if cells is not None:
        return Analog(f"{mapped.name}.{group}", codes, adcs, mapped.crossbar, mapped.bits, cells)
    kind = Counters if codes.device.type == "cpu" and native.library() is not None else Stacked
    return kind(codes, chosen, adcs, mapped.crossbar, mapped.bits)
