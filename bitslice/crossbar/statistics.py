"""Bitline sums of a network on real inputs, and the ADC resolution they ask for.

An ADC of N bits with step 1 converts sums up to 2^N - 1 without loss. The *static bound* of a bitline, the sum of its
cells times the largest digit, holds for any input; the *observed* maximum for the images seen.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bitslice.crossbar import kernel
from bitslice.crossbar.adc import adcs
from bitslice.crossbar.drive import drive
from bitslice.crossbar.kernel import Counters
from bitslice.crossbar.mapped_layer import MappedLayer
from bitslice.crossbar.mapping import check_current, observed_inputs
from bitslice.crossbar.stacked import Stacked
from bitslice.crossbar.unfold import Unfold


def resolution(bitline_sum: int) -> int:
    """Bits an ADC with step 1 needs to convert sums up to ``bitline_sum`` without loss; 0 if every sum is 0.

    >>> resolution(3), resolution(4), resolution(384)
    (2, 3, 9)
    """
    return bitline_sum.bit_length()


@dataclass(frozen=True)
class BitlineSums:
    """Bitline sums of one slice, of whatever layers, signs and tiles were pooled.

    Attributes:
        bound: largest sum that any input could cause, in cell levels.
        counts: how many conversions gave each sum, index = sum; int64.
    """

    bound: int
    counts: Tensor

    @property
    def observed(self) -> int:
        """Largest sum on the images seen, in cell levels."""
        return int(self.counts.nonzero().max()) if self.counts.any() else 0

    @property
    def bound_bits(self) -> int:
        """ADC resolution that is lossless for any input."""
        return resolution(self.bound)

    @property
    def observed_bits(self) -> int:
        """ADC resolution that was lossless on the images seen."""
        return resolution(self.observed)

    def beyond(self, full_scale: int) -> float:
        """Share of conversions (0 to 1) whose sum is larger than ``full_scale``."""
        return int(self.counts[full_scale + 1 :].sum()) / max(1, int(self.counts.sum()))

    def quantile(self, share: float) -> int:
        """Smallest sum that at least ``share`` (0 to 1) of all conversions do not exceed, in cell levels."""
        return int((self.counts.cumsum(0) < share * self.counts.sum()).sum())


@dataclass(frozen=True)
class LayerSums:
    """Bitline sums of one layer.

    Attributes:
        name: of the layer.
        bounds: largest sum that any input could cause, int64 ``(tiles, 2 signs, slices)``.
        counts: conversions by their sum, int64 ``(tiles, 2 signs, slices, largest sum + 1)``.
    """

    name: str
    bounds: Tensor
    counts: Tensor

    def of_slice(self, k: int) -> BitlineSums:
        """Slice ``k`` (0: least significant) over all tiles and both signs."""
        return BitlineSums(int(self.bounds[:, :, k].max()), self.counts[:, :, k].sum(dim=(0, 1)))


def pooled(layers: list[LayerSums]) -> list[BitlineSums]:
    """Bitline sums over all layers, one entry a slice, B0 first."""
    each = [[layer.of_slice(k) for layer in layers] for k in range(layers[0].bounds.shape[2])]
    return [BitlineSums(max(s.bound for s in sums), sum_of([s.counts for s in sums])) for sums in each]


def sum_of(counts: list[Tensor]) -> Tensor:
    """Sum of histograms, the shorter ones continued by zeros."""
    longest = max(len(c) for c in counts)
    return torch.stack([nn.functional.pad(c, (0, longest - len(c))) for c in counts]).sum(dim=0)


@torch.no_grad()
def bitline_sums(model: nn.Module, layers: list[MappedLayer], images: Tensor, batch: int = 100) -> list[LayerSums]:
    """Bitline sums of a quantized network on real inputs, layer by layer; bitlines without any weight count as 0.

    A layer that the network never calls in evaluation mode, as an auxiliary head, has no conversions.

    Args:
        model: a quantized network in evaluation mode.
        layers: what :func:`bitslice.crossbar.map_network` made of it.
        images: network inputs, float ``(images, ...)``.
        batch: images at a time, which bounds memory.

    Raises:
        BitsliceError: if an input is negative though none was when its layer was mapped, or the network has other
            weights or scales than then.
    """
    check_current(model, layers)
    found = []
    for mapped in layers:
        ideal = adcs(None, mapped.slices)
        kind = Counters if kernel.applies(mapped.codes, ideal) and kernel.counts(mapped.crossbar) else Stacked
        matrices = [
            kind(codes, each.ge(0), ideal, mapped.crossbar, mapped.bits)
            for codes, each in zip(mapped.codes, mapped.bounds, strict=True)
        ]
        found.append((mapped, matrices))
    totals = {mapped.name: torch.zeros(*mapped.bounds.shape[1:4], 1, dtype=torch.int64) for mapped in layers}
    for some in images.split(batch):
        with observed_inputs(model) as inputs:
            model(some)
        for mapped, matrices in found:
            for x in inputs.get(mapped.name, []):
                for phase in drive(mapped, mapped.layout.images(x)):
                    for each, codes in zip(matrices, phase.codes.chunk(mapped.groups, dim=1), strict=True):
                        counts = each.statistics(codes, mapped.unfold or Unfold(), phase.bits, phase.padding)
                        totals[mapped.name] = totals[mapped.name] + counts  # of length 1 at first
    return [LayerSums(mapped.name, mapped.bounds.amax(dim=(0, 4)), totals[mapped.name]) for mapped in layers]
