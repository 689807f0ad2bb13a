"""The simulation in torch alone: all digits of all cycles in one int8 product per tile. The fallback of the kernel."""

import torch
from torch import Tensor, nn

from bitslice.crossbar.geometry import Adc, Crossbar
from bitslice.crossbar.mapping import Unfold
from bitslice.crossbar.reference import digits
from bitslice.slices import to_slices

#: Elements of the largest intermediate product.
CHUNK = 1 << 24


def unfolded(codes: Tensor, unfold: Unfold, padding: int) -> Tensor:
    """Input vectors ``(images * positions, wordlines)``, int32, of images ``(images, channels, height, width)``."""
    (height, width), (top, left) = unfold.kernel, unfold.padding
    padded = nn.functional.pad(codes.float(), (left, left, top, top), value=padding)
    columns = nn.functional.unfold(padded, (height, width), unfold.dilation, 0, unfold.stride)
    return columns.transpose(1, 2).flatten(0, 1).to(torch.int32)


def int_product(a: Tensor, b: Tensor) -> Tensor:
    """Exact product of small non-negative integers, int32: int8 where the CPU has it, else in float32."""
    if a.device.type == "cpu" and max(int(a.max()), int(b.max())) < 128:
        return torch._int_mm(a.to(torch.int8), b.to(torch.int8))
    return (a.float() @ b.float()).to(torch.int32)


class Stacked:
    """Adds what the simulated bitlines of one matrix give; see :class:`bitslice.crossbar.kernel.Counters`.

    Args:
        codes: signed weight codes, int32 ``(wordlines, outputs)``.
        simulated: which bitlines to simulate, bool ``(tiles, 2 signs, slices, outputs)``.
        adcs: of every slice, B0 first.
        crossbar: geometry.
        bits: magnitude bits of a weight.
    """

    def __init__(
        self, codes: Tensor, simulated: Tensor, adcs: tuple[Adc, ...], crossbar: Crossbar, bits: int
    ) -> None:
        self.crossbar, self.adcs = crossbar, adcs
        signs = [codes.clamp_min(0), (-codes).clamp_min(0)]
        cells = torch.stack([to_slices(side, bits, crossbar.cell_bits) for side in signs])
        self.tiles = []
        for tile, rows in enumerate(cells.split(crossbar.rows, dim=2)):
            sign, k, output = simulated[tile].nonzero(as_tuple=True)
            order = k.argsort(stable=True)  # so that the bitlines of one ADC lie side by side
            sign, k, output = sign[order], k[order], output[order]
            scale = (1 - 2 * sign) << (crossbar.cell_bits * k)
            counts = k.bincount(minlength=len(adcs)).tolist()
            self.tiles.append((rows[sign, k, :, output].T, output, scale, counts))

    def add(
        self, result: Tensor, codes: Tensor, unfold: Unfold, bits: int, sign: int = 1, padding: int = 0
    ) -> None:
        """Add one phase's converted product, times ``sign``, to ``result`` in place.

        Args:
            result: int32 ``(images, outputs, out_height, out_width)``.
            codes: non-negative input codes ``(images, channels, height, width)``.
            unfold: how they become input vectors.
            bits: of an input word.
            sign: +1 or -1.
            padding: code of a padding pixel.
        """
        weights = sign << torch.arange(0, bits, self.crossbar.dac_bits, device=codes.device)
        widest = max(len(output) for _, output, _, _ in self.tiles)
        positions = result.shape[2] * result.shape[3]
        images = max(1, CHUNK // max(1, len(weights) * positions * max(widest, self.crossbar.rows)))
        for some, target in zip(codes.split(images), result.split(images), strict=True):
            vectors = unfolded(some, unfold, padding)
            total = torch.zeros(len(vectors), result.shape[1], dtype=torch.int64, device=codes.device)
            driven = digits(vectors, self.crossbar, bits).split(self.crossbar.rows, dim=2)
            for tile, (cells, output, scale, counts) in zip(driven, self.tiles, strict=True):
                if len(output):
                    sums = int_product(tile.flatten(0, 1), cells).unflatten(0, (len(weights), -1))
                    parts = zip(sums.split(counts, dim=2), self.adcs, strict=True)
                    converted = torch.cat([adc.convert(part) for part, adc in parts], dim=2)
                    total.index_add_(1, output, torch.tensordot(weights, converted.long(), 1) * scale)
            target += total.unflatten(0, (-1, positions)).transpose(1, 2).reshape(target.shape).to(target.dtype)
