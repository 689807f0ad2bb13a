"""Bit slices: how a code is cut into the levels that ReRAM cells can hold.

With c-bit cells a code is written in base 2^c, ``code = B0 + 2^c B1 + 4^c B2 + ...``; slice B0 is the least
significant. With the paper's 8-bit codes and 2-bit cells there are four slices, B3 the most significant.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from bitslice.errors import BitsliceError


def slice_count(bits: int = 8, cell_bits: int = 2) -> int:
    """Number of slices of a ``bits``-bit code.

    Raises:
        BitsliceError: if cells of ``cell_bits`` do not divide the word.
    """
    if cell_bits < 1 or bits % cell_bits:
        raise BitsliceError(f"cells of {cell_bits} bits do not divide a word of {bits} bits")
    return bits // cell_bits


def magnitudes(codes: Tensor, bits: int = 8) -> Tensor:
    """Magnitudes of integer ``codes``, same shape: uint8 where ``bits`` are at most 8, else int32.

    Raises:
        BitsliceError: if a code does not fit ``bits`` bits.
    """
    magnitude = codes.abs()
    if magnitude.numel() and int(magnitude.max()) >= 2**bits:
        raise BitsliceError(f"code {int(magnitude.max())} does not fit {bits} bits")
    return magnitude.to(torch.uint8 if bits <= 8 else torch.int32)


def to_slices(codes: Tensor, bits: int = 8, cell_bits: int = 2) -> Tensor:
    """Slices of the magnitudes of integer ``codes``, B0 first: shape ``(slices, *codes.shape)``, uint8.

    Cells wider than 8 bits give int32.

    >>> to_slices(torch.tensor([228, -27])).T
    tensor([[0, 1, 2, 3],
            [3, 2, 1, 0]], dtype=torch.uint8)

    Raises:
        BitsliceError: if a code does not fit ``bits`` bits.
    """
    count, magnitude = slice_count(bits, cell_bits), magnitudes(codes, bits)
    levels = [(magnitude >> (cell_bits * k)) & (2**cell_bits - 1) for k in range(count)]
    return torch.stack([level.to(torch.uint8 if cell_bits <= 8 else torch.int32) for level in levels])


def cell_levels(codes: Tensor, bits: int = 8, cell_bits: int = 2) -> Tensor:
    """Levels of the cells that hold signed integer ``codes``: ``(2 signs, slices, *codes.shape)``.

    The array of the positive codes comes first, then that of the negative ones; B0 first.

    >>> cell_levels(torch.tensor([6, -1]))[:, :2].tolist()
    [[[2, 0], [1, 0]], [[0, 1], [0, 0]]]

    Raises:
        BitsliceError: if a code does not fit ``bits`` bits.
    """
    return torch.stack([to_slices(side, bits, cell_bits) for side in (codes.clamp_min(0), codes.clamp_max(0))])


def from_slices(slices: Tensor, cell_bits: int = 2) -> Tensor:
    """Magnitudes (int32) from slices, the inverse of :func:`to_slices`.

    >>> from_slices(torch.tensor([[0], [1], [2], [3]]))
    tensor([228], dtype=torch.int32)
    """
    total = torch.zeros(slices.shape[1:], dtype=torch.int32, device=slices.device)
    for k, level in enumerate(slices):
        total += level.to(torch.int32) << (cell_bits * k)
    return total


def nonzero_counts(codes: Tensor, bits: int = 8, cell_bits: int = 2) -> Tensor:
    """How many cells of each slice are not zero, B0 first: int64 of shape ``(slices,)``."""
    return to_slices(codes, bits, cell_bits).flatten(1).count_nonzero(dim=1)


def density(codes: Iterable[Tensor], bits: int = 8, cell_bits: int = 2) -> list[float]:
    """Share of non-zero cells per slice in percent, **most significant first** as the paper prints it (B3 B2 B1 B0).

    All tensors form one pool, so big layers dominate (authors' code).

    >>> density([torch.tensor([0, 1, 4, 255])])
    [25.0, 25.0, 50.0, 50.0]
    """
    counts = torch.zeros(slice_count(bits, cell_bits), dtype=torch.int64)
    total = 0
    for tensor in codes:
        counts += nonzero_counts(tensor, bits, cell_bits).cpu()
        total += tensor.numel()
    return [100.0 * int(c) / max(total, 1) for c in counts.flip(0)]
