"""Cells and bitlines that are not ideal: programming variation, read noise, stuck cells, a finite on/off ratio."""

import math
import zlib
from dataclasses import dataclass

import torch
from torch import Tensor

from bitslice.crossbar.adc import Adc
from bitslice.crossbar.geometry import Crossbar
from bitslice.crossbar.stacked import Stacked
from bitslice.errors import BitsliceError


@dataclass(frozen=True)
class NonIdealities:
    """How cells and bitlines depart from the ideal; the defaults do not. Conductances are in cell levels.

    Attributes:
        variation: standard deviation of the logarithm of a cell's conductance, whose mean stays the ideal one; drawn
            once per cell (programming), for every cell that conducts.
        read_noise: standard deviation of each bitline sum, in cell levels; drawn at every conversion.
        stuck_off: share (0 to 1) of cells stuck at level 0.
        stuck_on: share (0 to 1) of cells stuck at the highest level.
        on_off_ratio: conductance of the highest level over that of level 0, at least 1; infinite: level 0 is open. The
            current of level 0 is not subtracted anywhere.
        seed: of everything drawn.
    """

    variation: float = 0.0
    read_noise: float = 0.0
    stuck_off: float = 0.0
    stuck_on: float = 0.0
    on_off_ratio: float = math.inf
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("variation", "read_noise"):
            if not 0 <= getattr(self, name) < math.inf:
                raise BitsliceError(f"{name} must be a finite number, 0 or larger, not {getattr(self, name)}")
        if self.stuck_off < 0 or self.stuck_on < 0 or not self.stuck_off + self.stuck_on <= 1:
            raise BitsliceError(
                f"shares of stuck cells must lie between 0 and 1 together, not {self.stuck_off} and {self.stuck_on}"
            )
        if not self.on_off_ratio >= 1:
            raise BitsliceError(f"an on/off ratio is at least 1, not {self.on_off_ratio}")

    def generator(self, name: str, device: torch.device) -> torch.Generator:
        """The random numbers of one matrix, by its name."""
        return torch.Generator(device).manual_seed(zlib.crc32(f"{self.seed} {name}".encode()))  # takes 32 bits on a CPU

    def program(self, levels: Tensor, highest: int, generator: torch.Generator) -> Tensor:
        """Conductances (float32, in cell levels) of cells meant to hold ``levels`` (any shape) of ``highest``."""
        chance = torch.rand(levels.shape, generator=generator, device=levels.device)
        levels = levels.float().masked_fill(chance < self.stuck_off, 0)
        levels = levels.masked_fill(chance >= 1 - self.stuck_on, highest)
        leak = highest / self.on_off_ratio
        conductance = leak + levels * (1 - 1 / self.on_off_ratio)
        spread = torch.randn(levels.shape, generator=generator, device=levels.device) * self.variation
        return conductance * (spread - self.variation**2 / 2).exp()


class Analog(Stacked):
    """Simulates every bitline of one matrix with cells that are not ideal, in float32.

    Args:
        name: of the matrix, which its random numbers follow from.
        codes: signed weight codes, int32 ``(wordlines, outputs)``.
        adcs: of every slice, B0 first.
        crossbar: geometry.
        bits: magnitude bits of a weight.
        cells: how cells and bitlines depart from the ideal.
    """

    def __init__(
        self, name: str, codes: Tensor, adcs: tuple[Adc, ...], crossbar: Crossbar, bits: int, cells: NonIdealities
    ) -> None:
        shape = (len(crossbar.tiles(len(codes))), 2, len(adcs), codes.shape[1])
        super().__init__(codes, torch.ones(shape, dtype=torch.bool, device=codes.device), adcs, crossbar, bits)
        self.noise, self.generator = cells.read_noise, cells.generator(name, codes.device)
        highest = 2**crossbar.cell_bits - 1
        self.programmed = [cells.program(tile.cells, highest, self.generator) for tile in self.tiles]

    def _read(self, digits: Tensor, tile: int) -> Tensor:
        sums = digits.float() @ self.programmed[tile]
        if self.noise:
            sums += self.noise * torch.randn(sums.shape, generator=self.generator, device=sums.device)
        return sums
