"""The simulation in torch alone: all digits of all cycles in one int8 product per tile. The fallback of the kernel."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from bitslice.crossbar.adc import Adc
from bitslice.crossbar.drive import digits
from bitslice.crossbar.geometry import Crossbar
from bitslice.crossbar.unfold import Unfold, unfolded
from bitslice.slices import cell_levels

#: Elements of the largest intermediate product.
CHUNK = 1 << 22


def int_product(a: Tensor, b: Tensor) -> Tensor:
    """Exact product of small non-negative integers, int32: int8 where the CPU has it, else in float32."""
    if a.device.type == "cpu" and max(int(a.max()), int(b.max())) < 128:
        return torch._int_mm(a.to(torch.int8), b.to(torch.int8))
    return (a.float() @ b.float()).to(torch.int32)


@dataclass(frozen=True)
class Tile:
    """The simulated bitlines of one tile of rows, those of one ADC side by side.

    Attributes:
        cells: their levels ``(rows, bitlines)``.
        output: which output each belongs to, int64 ``(bitlines,)``.
        scale: what its sums are multiplied by, sign included; int64 ``(bitlines,)``.
        array: its sign and slice as one number, ``sign * slices + slice``.
        counts: bitlines of each slice.
    """

    cells: Tensor
    output: Tensor
    scale: Tensor
    array: Tensor
    counts: list[int]


class Stacked:
    """Simulates chosen bitlines of one matrix; :class:`bitslice.crossbar.kernel.Counters` does the same, faster.

    Args:
        codes: signed weight codes, int32 ``(wordlines, outputs)``.
        simulated: which bitlines to simulate, bool ``(tiles, 2 signs, slices, outputs)``.
        adcs: of every slice, B0 first.
        crossbar: geometry.
        bits: magnitude bits of a weight.
    """

    def __init__(self, codes: Tensor, simulated: Tensor, adcs: tuple[Adc, ...], crossbar: Crossbar, bits: int) -> None:
        self.crossbar, self.adcs = crossbar, adcs
        self.wordlines = [tile.to(codes.device) for tile in crossbar.tiles(len(codes))]
        self.rows = len(self.wordlines[0])
        levels = cell_levels(codes, bits, crossbar.cell_bits)
        self.tiles = []
        for chosen, wordlines in zip(simulated, self.wordlines, strict=True):
            sign, k, output = chosen.nonzero(as_tuple=True)
            order = k.argsort(stable=True)
            sign, k, output = sign[order], k[order], output[order]
            scale = (1 - 2 * sign) << (crossbar.cell_bits * k)
            counts = k.bincount(minlength=len(adcs)).tolist()
            cells = levels[:, :, wordlines][sign, k, :, output].T
            self.tiles.append(Tile(cells, output, scale, sign * len(adcs) + k, counts))

    def _pieces(self, codes: Tensor, positions: int, cycles: int) -> int:
        """Images at a time, so that no intermediate product outgrows ``CHUNK``."""
        widest = max(self.rows, *(len(tile.output) for tile in self.tiles))
        return max(1, CHUNK // (cycles * positions * widest))

    def _sums(self, codes: Tensor, unfold: Unfold, bits: int, padding: int) -> Iterator[tuple[Tile, Tensor]]:
        """Bitline sums ``(cycles, vectors, bitlines)`` of every tile that has simulated bitlines."""
        driven = digits(unfolded(codes, unfold, padding), self.crossbar, bits)
        for index, (tile, wordlines) in enumerate(zip(self.tiles, self.wordlines, strict=True)):
            if len(tile.output):
                yield tile, self._read(driven[:, :, wordlines].flatten(0, 1), index).unflatten(0, (len(driven), -1))

    def _read(self, digits: Tensor, tile: int) -> Tensor:
        """Bitline sums ``(vectors, bitlines)`` of one tile for ``digits`` ``(vectors, rows)`` on its wordlines."""
        return int_product(digits, self.tiles[tile].cells)

    def add(self, result: Tensor, codes: Tensor, unfold: Unfold, bits: int, sign: int = 1, padding: int = 0) -> None:
        """Add one phase's converted product, times ``sign``, to ``result`` in place.

        Args:
            result: int32, or float32 where sums are real, ``(images, outputs, out_height, out_width)``.
            codes: non-negative input codes ``(images, channels, height, width)``.
            unfold: how they become input vectors.
            bits: of an input word.
            sign: +1 or -1.
            padding: code of a padding pixel.
        """
        kind = result.dtype if result.is_floating_point() else torch.int64
        weights = (sign << torch.arange(0, bits, self.crossbar.dac_bits, device=codes.device)).to(kind)
        pieces = self._pieces(codes, result.shape[2] * result.shape[3], len(weights))
        for some, target in zip(codes.split(pieces), result.split(pieces), strict=True):
            total = torch.zeros(target[:, 0].numel(), target.shape[1], dtype=kind, device=codes.device)
            for tile, sums in self._sums(some, unfold, bits, padding):
                parts = zip(sums.split(tile.counts, dim=2), self.adcs, strict=True)
                converted = torch.cat([adc.convert(part) for part, adc in parts], dim=2)
                total.index_add_(1, tile.output, torch.tensordot(weights, converted.to(kind), 1) * tile.scale)
            target += total.unflatten(0, (len(target), -1)).transpose(1, 2).reshape(target.shape).to(target.dtype)

    def statistics(self, codes: Tensor, unfold: Unfold, bits: int, padding: int = 0) -> Tensor:
        """How often each sum reached the ADCs: int64 ``(tiles, 2 signs, slices, largest sum + 1)``.

        Args:
            codes: as in :meth:`add`, as are the others.
            unfold: how they become input vectors.
            bits: of an input word.
            padding: code of a padding pixel.
        """
        crossbar, slices = self.crossbar, len(self.adcs)
        length = self.rows * crossbar.largest_digit * (2**crossbar.cell_bits - 1) + 1
        counts = torch.zeros(len(self.tiles), 2 * slices * length, dtype=torch.int64, device=codes.device)
        height, width = unfold.output_size(codes.shape[2], codes.shape[3])
        for some in codes.split(self._pieces(codes, height * width, crossbar.cycles(bits))):
            for (tile, sums), row in zip(self._sums(some, unfold, bits, padding), counts, strict=True):
                row += (sums + tile.array * length).flatten().bincount(minlength=len(row))
        return counts.view(len(counts), 2, slices, length)
